/** Dtypes whose tensors take part in updates; all others are copied from the base (docs/algorithms.md A). */
export const FLOAT_DTYPES: ReadonlySet<string> = new Set(['F32', 'F16', 'BF16', 'F64']);

/** Dtypes that are copied. */
const OTHER_DTYPES: ReadonlySet<string> = new Set([
  'BOOL',
  'U8',
  'I8',
  'F8_E5M2',
  'F8_E4M3',
  'I16',
  'U16',
  'I32',
  'U32',
  'I64',
  'U64',
]);

/** True for a dtype that a charter may name. */
export function isKnownDtype(dtype: string): boolean {
  return FLOAT_DTYPES.has(dtype) || OTHER_DTYPES.has(dtype);
}
