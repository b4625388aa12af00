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

/** <a, b> in float64, in flat order by blocks of SUM_BLOCK_ELEMENTS. */
export function innerProduct(a: Float32Array, b: Float32Array): number {
  let total = 0;
  for (let start = 0; start < a.length; start += SUM_BLOCK_ELEMENTS) {
    const end = Math.min(start + SUM_BLOCK_ELEMENTS, a.length);
    let block = 0;
    for (let i = start; i < end; i++) block += a[i]! * b[i]!;
    total += block;
  }
  return total;
}
