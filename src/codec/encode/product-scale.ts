import type { RunOptions } from '../../run-options.ts';
import { SLICE_ELEMENTS } from '../limits.ts';
import { Pacer } from '../pacer.ts';
import type { SignMasks } from '../types.ts';

/**
 * The scale s of least square error of s · K for a product of two factors, where K is the product of their signs:
 * s = <L·R, K> / <K, K>. Both are Σ (aᵀ·b) ∘ (c·dᵀ) over rank x rank matrices, so neither product is computed; what is
 * not kept takes no time. All sums float64. 0 where K is zero or opposed to the product.
 *
 * @param values - the factors, rows x rank and rank x columns, row-major
 * @param signs - what is kept of them
 */
export async function productScale(
  { rows, columns, rank }: { readonly rows: number; readonly columns: number; readonly rank: number },
  values: { readonly left: Float32Array; readonly right: Float32Array },
  signs: { readonly left: SignMasks; readonly right: SignMasks },
  { signal }: RunOptions,
): Promise<number> {
  const pacer = new Pacer(SLICE_ELEMENTS, signal);
  const left = signsOf(signs.left, rows * rank);
  const right = transposed(signsOf(signs.right, rank * columns), rank, columns);
  const rightValues = transposed(values.right, rank, columns);
  const inner = together(await gram(values.left, left, rank, pacer), await gram(rightValues, right, rank, pacer));
  const squares = together(await gram(left, left, rank, pacer), await gram(right, right, rank, pacer));
  return squares > 0 && inner > 0 ? inner / squares : 0;
}

/** aᵀ·b of two matrices with rows of `rank` entries, row by row, for each entry of b that is not zero. */
async function gram(a: Int8Array | Float32Array, b: Int8Array, rank: number, pacer: Pacer): Promise<Float64Array> {
  const sums = new Float64Array(rank * rank);
  for (let at = 0; at < b.length; at += rank) {
    for (let l = 0; l < rank; l++) {
      const sign = b[at + l]!;
      if (sign === 0) continue;
      const row = l * rank;
      for (let k = 0; k < rank; k++) sums[row + k]! += a[at + k]! * sign;
    }
    await pacer.add(rank * (1 + rank / 8));
  }
  return sums;
}

function together(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

/** A rank x columns matrix as columns x rank. */
function transposed<T extends Int8Array | Float32Array>(matrix: T, rank: number, columns: number): T {
  const out = matrix.slice() as T;
  for (let k = 0; k < rank; k++) {
    for (let j = 0; j < columns; j++) out[j * rank + k] = matrix[k * columns + j]!;
  }
  return out;
}

function signsOf({ plus, minus }: SignMasks, elements: number): Int8Array {
  const signs = new Int8Array(elements);
  for (let i = 0; i < elements; i++) {
    signs[i] = ((plus[i >>> 5]! >>> (i & 31)) & 1) - ((minus[i >>> 5]! >>> (i & 31)) & 1);
  }
  return signs;
}
