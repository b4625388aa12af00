import { KinmergeError } from '../errors.ts';

/** The dtypes that kinmerge reads and writes. */
export type Dtype =
  | 'BOOL'
  | 'U8'
  | 'I8'
  | 'F8_E5M2'
  | 'F8_E4M3'
  | 'I16'
  | 'U16'
  | 'F16'
  | 'BF16'
  | 'I32'
  | 'U32'
  | 'F32'
  | 'F64'
  | 'I64'
  | 'U64';

/** The dtypes whose values can be widened to float32 and merged. */
export type FloatDtype = 'F8_E5M2' | 'F8_E4M3' | 'F16' | 'BF16' | 'F32' | 'F64';

/**
 * Tensors of these dtypes take part in updates; all others are copied from the base (docs/algorithms.md A). The tensor
 * table of payloads and of charters is made by it, so another entry is another format (docs/log-format.md).
 */
export const FLOAT_DTYPES: ReadonlySet<string> = new Set<FloatDtype>([
  'F8_E5M2',
  'F8_E4M3',
  'F16',
  'BF16',
  'F32',
  'F64',
]);

/** Bytes per element. The order is that of the format's reference implementation, which sorts files by it. */
const SIZES: ReadonlyMap<string, number> = new Map<Dtype, number>([
  ['BOOL', 1],
  ['U8', 1],
  ['I8', 1],
  ['F8_E5M2', 1],
  ['F8_E4M3', 1],
  ['I16', 2],
  ['U16', 2],
  ['F16', 2],
  ['BF16', 2],
  ['I32', 4],
  ['U32', 4],
  ['F32', 4],
  ['F64', 8],
  ['I64', 8],
  ['U64', 8],
]);

const RANKS: ReadonlyMap<string, number> = new Map([...SIZES.keys()].map((dtype, rank) => [dtype, rank]));

/** Dtypes of the format that are refused by name: below one byte, complex, or scale-only F8 forms. */
const UNSUPPORTED: ReadonlySet<string> = new Set([
  'F4',
  'F6_E2M3',
  'F6_E3M2',
  'F8_E8M0',
  'F8_E4M3FNUZ',
  'F8_E5M2FNUZ',
  'C64',
]);

if (new Uint8Array(Uint16Array.of(1).buffer)[0] !== 1) {
  // Tensors are little-endian and are viewed, not converted.
  throw new KinmergeError('BIG_ENDIAN_HOST', 'kinmerge needs a little-endian machine.');
}

export function isDtype(name: string): name is Dtype {
  return SIZES.has(name);
}

export function isUnsupportedDtype(name: string): boolean {
  return UNSUPPORTED.has(name);
}

/** Bytes per element. */
export function dtypeBytes(dtype: Dtype): number {
  return SIZES.get(dtype)!;
}

/** The place of a dtype in the format's list; files are written with the highest first. */
export function dtypeRank(dtype: Dtype): number {
  return RANKS.get(dtype)!;
}

/** Whether the tensor takes part in merging: one of FLOAT_DTYPES. */
export function isFloat(dtype: Dtype): dtype is FloatDtype {
  return FLOAT_DTYPES.has(dtype);
}

/**
 * Orders names by code point, which is also the order of their UTF-8 bytes. JavaScript's own comparison goes by
 * UTF-16 units and differs for characters beyond the basic plane.
 */
export function compareNames(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return x >= 0xd800 && y >= 0xd800 ? aboveSurrogates(x) - aboveSurrogates(y) : x - y;
  }
  return a.length - b.length;
}

/** Moves surrogates above U+E000..U+FFFF, where the characters that they stand for belong. */
function aboveSurrogates(unit: number): number {
  return unit >= 0xe000 ? unit - 0x2000 : unit + 0x2000;
}
