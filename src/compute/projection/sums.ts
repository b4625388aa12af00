/** Sums that every part of the merge takes in the same order, so that equal data gives equal bits. */

import { SUM_BLOCK_ELEMENTS } from '../../tensors/limits.ts';

/**
 * The sum of squares in float64, in flat order by blocks of SUM_BLOCK_ELEMENTS (docs/algorithms.md, A).
 *
 * It is finite exactly when every value is: no sum of float32 squares overflows float64.
 */
export function sumSquares(values: Float32Array): number {
  let total = 0;
  for (let start = 0; start < values.length; start += SUM_BLOCK_ELEMENTS) {
    const end = Math.min(start + SUM_BLOCK_ELEMENTS, values.length);
    let block = 0;
    for (let i = start; i < end; i++) {
      const value = values[i]!;
      block += value * value;
    }
    total += block;
  }
  return total;
}

/** |a|^2, |b|^2 and <a, b> in float64, in one pass; the squares are those of `sumSquares`. */
export function sumsOf(a: Float32Array, b: Float32Array): { a: number; b: number; inner: number } {
  const total = { a: 0, b: 0, inner: 0 };
  for (let start = 0; start < a.length; start += SUM_BLOCK_ELEMENTS) {
    const end = Math.min(start + SUM_BLOCK_ELEMENTS, a.length);
    let aa = 0;
    let bb = 0;
    let ab = 0;
    for (let i = start; i < end; i++) {
      const x = a[i]!;
      const y = b[i]!;
      aa += x * x;
      bb += y * y;
      ab += x * y;
    }
    total.a += aa;
    total.b += bb;
    total.inner += ab;
  }
  return total;
}
