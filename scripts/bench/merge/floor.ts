/**
 * The least work of one step by docs/algorithms.md, C.5.2, in floating-point operations: Gram matrix, products, and
 * eigenproblem, all dense. With m <= n the sides of a matrix and r its split rank:
 *
 * | | ref | lite |
 * |---|---|---|
 * | Gram S S^T, symmetric | m^2 n | m^2 n |
 * | tridiagonal form; divide and conquer | 8/3 m^3 | 8/3 m^3 |
 * | vectors transformed back | 2 m^3 | 2 m^2 r |
 * | T S^T, or T (U_r^T S)^T with its factor | 2 m^2 n | 4 m n r |
 * | coefficients and kernel, or their r columns | 4 m^3 + 4 m r^2 | 2 m r^2 + 2 n r^2 |
 * | kernel times S | 2 m^2 n | 2 m n r |
 */

export interface Projected {
  readonly rows: number;
  readonly columns: number;
  readonly splitRank: number;
}

export type Variant = 'ref' | 'lite';
export const VARIANTS: readonly Variant[] = ['ref', 'lite'];

/** In units of 1e9 operations. */
export function floorGflop(variant: Variant, matrices: readonly Projected[]): number {
  let flop = 0;
  for (const { rows, columns, splitRank: r } of matrices) {
    const m = Math.min(rows, columns);
    const n = Math.max(rows, columns);
    flop += m * m * n + (8 / 3) * m ** 3;
    flop +=
      variant === 'ref'
        ? 6 * m ** 3 + 4 * m * m * n + 4 * m * r * r
        : 2 * m * m * r + 6 * m * n * r + 2 * (m + n) * r * r;
  }
  return flop / 1e9;
}
