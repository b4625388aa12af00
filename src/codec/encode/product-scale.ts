import type { SignMasks } from '../types.ts';

/**
 * The scale s of least square error of s · K for a product of two factors, where K is the product of their signs:
 * s = <L·R, K> / <K, K>. Both are Σ (aᵀ·b) ∘ (c·dᵀ) over rank x rank matrices, so neither product is computed. All sums
 * float64. 0 where K is zero or opposed to the product.
 *
 * @param values - the factors, rows x rank and rank x columns, row-major
 * @param signs - what is kept of them
 */
export function productScale(
  { rows, columns, rank }: { readonly rows: number; readonly columns: number; readonly rank: number },
  values: { readonly left: Float32Array; readonly right: Float32Array },
  signs: { readonly left: SignMasks; readonly right: SignMasks },
): number {
  const left = signsOf(signs.left, rows * rank);
  const right = signsOf(signs.right, rank * columns);
  const inner = together(gramOfColumns(values.left, left, rows, rank), gramOfRows(values.right, right, rank, columns));
  const squares = together(gramOfColumns(left, left, rows, rank), gramOfRows(right, right, rank, columns));
  return squares > 0 && inner > 0 ? inner / squares : 0;
}

/** aᵀ·b of two rows x rank matrices. */
function gramOfColumns(a: ArrayLike<number>, b: Int8Array, rows: number, rank: number): Float64Array {
  const gram = new Float64Array(rank * rank);
  for (let row = 0; row < rows; row++) {
    const at = row * rank;
    for (let l = 0; l < rank; l++) {
      const sign = b[at + l]!;
      if (sign === 0) continue;
      for (let k = 0; k < rank; k++) gram[k * rank + l]! += a[at + k]! * sign;
    }
  }
  return gram;
}

/** a·bᵀ of two rank x columns matrices. */
function gramOfRows(a: ArrayLike<number>, b: Int8Array, rank: number, columns: number): Float64Array {
  const gram = new Float64Array(rank * rank);
  for (let k = 0; k < rank; k++) {
    for (let l = 0; l < rank; l++) {
      let sum = 0;
      for (let j = 0; j < columns; j++) sum += a[k * columns + j]! * b[l * columns + j]!;
      gram[k * rank + l] = sum;
    }
  }
  return gram;
}

function together(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function signsOf({ plus, minus }: SignMasks, elements: number): Int8Array {
  const signs = new Int8Array(elements);
  for (let i = 0; i < elements; i++)
    signs[i] = ((plus[i >>> 5]! >>> (i & 31)) & 1) - ((minus[i >>> 5]! >>> (i & 31)) & 1);
  return signs;
}
