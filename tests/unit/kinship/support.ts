import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect } from 'vitest';
import { checkPayload, encodeTernary, openPayload } from '../../../src/codec/index.ts';
import { ternaryFromSigns } from '../../../src/codec/ternary.ts';
import type {
  PayloadMeasure,
  PayloadReader,
  TensorTable,
  TernaryTensor,
  UpdateTensor,
} from '../../../src/codec/types.ts';
import { KinshipState, meanKinship } from '../../../src/kinship/index.ts';

export const FIXTURES = new URL('../../fixtures/', import.meta.url);

export interface RawTensor {
  readonly shape: readonly number[];
  readonly values: Float32Array | Int8Array;
}

/** A reader of the fixtures that shares nothing with the library's own. Tensors in code-point order. */
export function readSafetensors(path: string): Map<string, RawTensor> {
  const file = readFileSync(new URL(path, FIXTURES));
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerBytes));
  delete header.__metadata__;
  const tensors = new Map<string, RawTensor>();
  for (const name of Object.keys(header).sort()) {
    const { dtype, shape, data_offsets: offsets } = header[name];
    const bytes = Uint8Array.from(file.subarray(8 + headerBytes + offsets[0], 8 + headerBytes + offsets[1]));
    const values = dtype === 'I8' ? new Int8Array(bytes.buffer) : new Float32Array(bytes.buffer);
    tensors.set(name, { shape, values });
  }
  return tensors;
}

export interface Packed {
  readonly bytes: Uint8Array;
  readonly payload: PayloadReader;
  readonly measure: PayloadMeasure;
}

/** Encodes, opens and measures: what a node does with an update. */
export async function pack(table: TensorTable, tensors: readonly UpdateTensor[]): Promise<Packed> {
  const bytes = await encodeTernary(table, tensors);
  return { bytes, payload: await openPayload(bytes, table), measure: await checkPayload(bytes, table) };
}

/** A measure straight from signs, for scales that no payload can carry. */
export function measureOf(vectors: readonly { signs: ArrayLike<number>; scale: number }[]): PayloadMeasure {
  let [elements, nnz, squares, sum] = [0, 0, 0, 0];
  const tensors = vectors.map(({ signs, scale }, index) => {
    const plus = Array.from(signs).filter((sign) => sign > 0).length;
    const minus = Array.from(signs).filter((sign) => sign < 0).length;
    elements += signs.length;
    nnz += plus + minus;
    squares += scale * scale * (plus + minus);
    sum += scale * (plus - minus);
    return { index, scale, entries: plus + minus, sum: plus - minus, squares: plus + minus, peak: 1 };
  });
  return { bytes: 0, tensors, elements, nnz, norm: Math.sqrt(squares), sum };
}

/** Signs and one scale per tensor of a table. */
export interface SignedUpdate {
  readonly signs: readonly (readonly number[])[];
  readonly scales: readonly number[];
}

export function tableOf(lengths: readonly number[]): TensorTable {
  return lengths.map((elements, k) => ({ name: `t${String(k).padStart(3, '0')}`, shape: [elements], elements }));
}

export function ternaries({ signs, scales }: SignedUpdate): TernaryTensor[] {
  return signs.flatMap((tensor, index) => ternaryFromSigns(index, tensor, scales[index]!) ?? []);
}

const sign = fc.constantFrom(-1, 0, 0, 1);
// Three significant bits: scales are equal or far apart, so that comparing with textbook formulas is not a matter of rounding.
const scale = fc
  .tuple(fc.integer({ min: 4, max: 7 }), fc.integer({ min: -22, max: 22 }))
  .map(([mantissa, exponent]) => mantissa * 2 ** exponent);

export function updateArbitrary(lengths: readonly number[]): fc.Arbitrary<SignedUpdate> {
  return fc.record({
    signs: fc.tuple(...lengths.map((n) => fc.array(sign, { minLength: n, maxLength: n }))),
    scales: fc.tuple(...lengths.map(() => scale)),
  });
}

/** A table of a few tensors and several updates over it. */
export function communityArbitrary(updates: { min: number; max: number }) {
  return fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 4 }).chain((lengths) =>
    fc.record({
      table: fc.constant(tableOf(lengths)),
      updates: fc.array(updateArbitrary(lengths), { minLength: updates.min, maxLength: updates.max }),
    }),
  );
}

/** The entries of an update as numbers, flattened. */
export function denseOf({ signs, scales }: SignedUpdate): number[] {
  return signs.flatMap((tensor, index) => tensor.map((value) => value * Math.fround(scales[index]!)));
}

/** The neighbouring float64 above (or below) a non-zero number. */
export function neighbour(value: number, direction: 1 | -1): number {
  const cell = new DataView(new ArrayBuffer(8));
  cell.setFloat64(0, value);
  const away = value > 0 === direction > 0;
  cell.setBigUint64(0, cell.getBigUint64(0) + (away ? 1n : -1n));
  return cell.getFloat64(0);
}

/** A small seeded generator (mulberry32), so that a failing order can be had again. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const result = [...items];
  for (let k = result.length - 1; k > 0; k--) {
    const other = Math.floor(random() * (k + 1));
    [result[k], result[other]] = [result[other]!, result[k]!];
  }
  return result;
}

export async function filled(updates: readonly Packed[]): Promise<KinshipState> {
  const state = new KinshipState();
  for (const { payload, measure } of updates) await state.add(payload, measure);
  return state;
}

/**
 * The running state of all updates but the first says what the sum over pairs says, in any order, and after one is taken
 * out. Skips a fast-check run that has no such updates.
 */
export async function expectRunningSum(
  packed: readonly Packed[],
  pairSum: (probe: Packed, updates: readonly Packed[]) => Promise<bigint>,
  seed: number,
): Promise<void> {
  const [probe, ...rest] = packed.filter(({ measure }) => measure.norm > 0);
  fc.pre(probe !== undefined && rest.length > 0);
  const { payload, measure } = probe!;
  const state = await filled(rest);
  const expected = await pairSum(probe!, rest);
  expect(await state.dot(payload, measure)).toBe(expected);
  expect(await state.meanCosine(payload, measure)).toBe(meanKinship(expected, rest.length));

  const reordered = await filled(shuffled(rest, seeded(seed)));
  expect(await reordered.dot(payload, measure)).toBe(expected);

  const [first, ...others] = rest;
  await state.subtract(first!.payload, first!.measure);
  expect(state.count).toBe(others.length);
  expect(await state.dot(payload, measure)).toBe(await pairSum(probe!, others));
}
