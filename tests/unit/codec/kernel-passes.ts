import { expect, onTestFinished } from 'vitest';
import { countEqual, measure, refine, ternarise } from '../../../src/codec/encode/passes.ts';
import { TensorInput } from '../../../src/codec/encode/tensor-input.ts';
import { FileCache } from '../../../src/codec/file-cache.ts';
import { Kernel } from '../../../src/codec/kernel/kernel.ts';
import { SUM_BLOCK } from '../../../src/codec/limits.ts';
import { cutBucket, keepCount, LOWER_BUCKETS, locate, UPPER_BUCKETS } from '../../../src/codec/select.ts';
import { maskWords } from '../../../src/codec/ternary.ts';
import { dtypeBytes } from '../../../src/tensors/index.ts';
import { differenceOf, StoredSource, type StoredTensor } from './stored.ts';

/** The kernel of a test file. */
export const kernel = new Kernel();

/** A pair of tensors in two files, at odd offsets, and the input that a kernel's passes take. */
export async function inputOf(base: StoredTensor | null, tune: StoredTensor): Promise<{ input: TensorInput }> {
  const files = new FileCache();
  onTestFinished(() => files.close());
  const place = async (t: StoredTensor, lead: number) => (await StoredSource.create({ t }, lead)).place('t');
  const elements = tune.bytes.length / dtypeBytes(tune.dtype);
  const pair = { base: base === null ? null : await place(base, 3), tune: await place(tune, 1), elements };
  return { input: new TensorInput({ kernel, files }, pair) };
}

/** The sum of docs/algorithms.md A: four lanes to a block, blocks in order. */
export function laneSum(values: ArrayLike<number>, term: (value: number) => number): number {
  let total = 0;
  for (let begin = 0; begin < values.length; begin += SUM_BLOCK) {
    const lanes: [number, number, number, number] = [0, 0, 0, 0];
    const end = Math.min(values.length, begin + SUM_BLOCK);
    for (let i = begin; i < end; i++) lanes[(i % 4) as 0]! += term(values[i]!);
    total += lanes[0] + lanes[1] + (lanes[2] + lanes[3]);
  }
  return total;
}

export function magnitudeBits(values: Float32Array): Uint32Array {
  return new Uint32Array(Float32Array.from(values).buffer).map((bits) => bits & 0x7fff_ffff);
}

function histogram(keys: Iterable<number>, buckets: number): Uint32Array {
  const counts = new Uint32Array(buckets);
  for (const key of keys) counts[key]!++;
  return counts;
}

/** Equality of long arrays, whose elements vitest would compare one by one. */
function expectSame(actual: Uint32Array, expected: Uint32Array): void {
  const bytes = ({ buffer, byteOffset, byteLength }: Uint32Array) => Buffer.from(buffer, byteOffset, byteLength);
  if (!bytes(actual).equals(bytes(expected))) expect(actual).toEqual(expected);
}

/** Compares every pass over a pair with the same in plain JavaScript, bit by bit. */
export async function expectPasses(
  base: StoredTensor | null,
  tune: StoredTensor,
  densities: readonly number[],
): Promise<void> {
  const { input } = await inputOf(base, tune);
  const values = differenceOf(base, tune);
  const { length } = values;
  const bits = magnitudeBits(values);
  const { bad, upper, sum } = measure(kernel, input, true);
  expect(bad).toBe(-1);
  expectSame(
    upper,
    histogram(
      bits.map((b) => b >>> 16),
      UPPER_BUCKETS,
    ),
  );
  expect(sum).toBe(laneSum(values, (value) => value));
  const counted = measure(kernel, input, false);
  expect([counted.bad, counted.sum]).toEqual([-1, 0]);
  expectSame(counted.upper, upper);
  for (const density of densities) {
    const keep = keepCount(density, length);
    const place = locate(upper, keep);
    const mean = length === 0 ? 0 : sum / length;
    const refined = refine(kernel, input, place.bucket, mean);
    expectSame(
      refined.lower,
      histogram(
        bits.filter((b) => b >>> 16 === place.bucket).map((b) => b & 0xffff),
        LOWER_BUCKETS,
      ),
    );
    const above = (value: number, i: number) => (bits[i]! >>> 16 > place.bucket ? Math.abs(value) : 0);
    expect(refined.magnitudes).toBe(laneSum(values.map(above), (value) => value));
    expect(refined.squares).toBe(laneSum(values, (value) => (value - mean) * (value - mean)));
    const plain = refine(kernel, input, place.bucket, null);
    expect([plain.magnitudes, plain.squares]).toEqual([refined.magnitudes, 0]);
    expectSame(plain.lower, refined.lower);
    const cut = cutBucket(refined.lower, place, keep);
    if (cut.threshold > 0) {
      expect(countEqual(kernel, input, cut.threshold)).toBe(bits.filter((b) => b === cut.threshold).length);
    }
    const expected = { plus: new Uint32Array(maskWords(length)), minus: new Uint32Array(maskWords(length)) };
    let ties = cut.ties;
    let kept = 0;
    for (const [i, b] of bits.entries()) {
      if (b < cut.threshold || b === 0 || (b === cut.threshold && ties-- <= 0)) continue;
      (values[i]! > 0 ? expected.plus : expected.minus)[i >>> 5]! |= 1 << (i & 31);
      kept++;
    }
    const masks = ternarise(kernel, input, length, cut);
    expect({ nnz: masks.nnz, kept: cut.kept }).toEqual({ nnz: kept, kept });
    expectSame(kernel.u32(masks.plus, maskWords(length)), expected.plus);
    expectSame(kernel.u32(masks.minus, maskWords(length)), expected.minus);
  }
}
