import { describe, expect, it } from 'vitest';
import { type Comparison, compareMerged } from '../../../src/merge/verify-tensor.ts';
import { type FloatDtype, narrow, widen } from '../../../src/tensors/index.ts';
import { randomNumbers } from '../codec/support.ts';

const ELEMENTS = 2 ** 14;
const LAMBDA = 1.3;
const DTYPES = ['BF16', 'F16'] as const;
/** Of the significands: half a unit at 1 is 2^-BITS. */
const BITS = { BF16: 8, F16: 11 } as const;
/** Changes of 1 to 20 % of the base, in steps that meet the dtypes' grids at many places. */
const SCALES = Array.from({ length: 20 }, (_, i) => 0.0005 * (i + 1));

const round = (values: Float32Array, dtype: FloatDtype) => widen(narrow(values, dtype), dtype);

/** A base on the dtype's grid, one ternary update, and what an export stores when the change is `by` times the right one. */
function merged(dtype: FloatDtype, scale: number, by = 1): Comparison {
  const random = randomNumbers(7);
  const base = round(
    Float32Array.from({ length: ELEMENTS }, () => 0.1 * (random() - 0.5)),
    dtype,
  );
  const delta = Float32Array.from({ length: ELEMENTS }, () => {
    const at = random();
    return at < 0.1 ? scale : at < 0.2 ? -scale : 0;
  });
  const factor = 1 / LAMBDA;
  const found = round(
    base.map((weight, i) => weight + by * factor * delta[i]!),
    dtype,
  );
  return { base, delta, found, dtype, factor, lambda: LAMBDA };
}

describe.each(DTYPES)('a ternary update of a base in %s', (dtype) => {
  it('implies the lambda that made it, though rounding moves all its changes alike', () => {
    for (const scale of SCALES) {
      expect(compareMerged(merged(dtype, scale))?.lambda, `scale ${scale}`).toMatchObject({ agrees: true });
    }
  });

  it("implies it also where a backend's error turns all changes that lie at a tie", () => {
    // Of two weights the smaller holds the change exactly; at the larger one it is half a unit, but for the error.
    // (2^-24 is half a unit of the float32 in which weights are added.)
    const change = 2 ** -BITS[dtype] + 2 ** -24;
    const base = Float32Array.from({ length: ELEMENTS }, (_, i) => (i % 2 === 0 ? 1 : 0.25));
    const delta = new Float32Array(ELEMENTS).fill(change * (1 - 2e-5));
    const found = round(new Float32Array(base.map((weight) => weight + change * (1 + 2e-5))), dtype);
    const honest = round(
      base.map((weight, i) => weight + delta[i]!),
      dtype,
    );
    expect(found[0]).not.toBe(honest[0]);
    expect(compareMerged({ base, delta, found, dtype, factor: 1, lambda: 1 })?.lambda?.agrees).toBe(true);
  });

  it('implies another one when it was added 5 % too strongly', () => {
    const seen = SCALES.filter((scale) => compareMerged(merged(dtype, scale, 1.05))?.lambda?.agrees === false);
    expect(seen.length).toBeGreaterThan(SCALES.length / 2);
  });
});

it('a change that rounding undoes everywhere implies no lambda, and is no fault', () => {
  const base = new Float32Array(64).fill(1);
  const delta = new Float32Array(64).fill(1e-4);
  const comparison = compareMerged({ base, delta, found: base.slice(), dtype: 'BF16', factor: 1, lambda: 1 })!;
  expect(comparison.lambda).toBeNull();
  expect(comparison.entryExcess).toBeLessThanOrEqual(0);
  expect(comparison.difference).toBeLessThanOrEqual(comparison.differenceLimit);
});
