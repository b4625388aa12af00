/** The symmetric eigenproblem, in float64 on the CPU on every backend (docs/algorithms.md, C.5). */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import { ComputeError } from './errors.ts';

export interface SymmetricEigen {
  /** Eigenvalues, descending; those that rounding alone can explain are 0, so none is negative. */
  readonly values: Float64Array;
  /** n x n, row-major: row i is the unit eigenvector of `values[i]` (that is, U^T). */
  readonly vectors: Float64Array;
}

/**
 * Eigenvalues and eigenvectors of a positive semidefinite symmetric matrix.
 *
 * A symmetric solver's eigenvalues carry an absolute error of about n * 2^-52 * the largest. Values below that are
 * noise of either sign; as singular values (their roots) they would count for up to 1e-6 of the largest each and so
 * could shift a split rank. They are set to 0. This never touches the numerical rank: its own threshold,
 * sigma_0 * max(m,n) * 2^-23, is larger.
 *
 * @param g - n x n, row-major; only its symmetric part is used. Not changed.
 * @throws ComputeError `NON_FINITE` for NaN or infinite entries, `BAD_JOB` for a wrong length
 */
export function eigenSymmetric(g: Float64Array, n: number): SymmetricEigen {
  if (g.length !== n * n) {
    throw new ComputeError('BAD_JOB', `A ${n} x ${n} matrix needs ${n * n} entries, not ${g.length}.`, { n });
  }
  const rows = Array.from({ length: n }, (_, i) => {
    const row = new Float64Array(n);
    for (let j = 0; j < n; j++) row[j] = 0.5 * (g[i * n + j]! + g[j * n + i]!);
    return row;
  });
  let largest = 0;
  for (const row of rows) {
    for (const entry of row) {
      if (!Number.isFinite(entry)) {
        throw new ComputeError('NON_FINITE', 'The eigenproblem has a NaN or infinite entry.', { n });
      }
      largest = Math.max(largest, Math.abs(entry));
    }
  }
  const values = new Float64Array(n);
  const vectors = new Float64Array(n * n);
  if (largest === 0) {
    for (let i = 0; i < n; i++) vectors[i * n + i] = 1;
    return { values, vectors };
  }
  // A power of two near the largest entry: exact to apply, and squares in the solver can then neither overflow nor
  // underflow for matrices of very small or very large updates.
  const scale = 2 ** Math.floor(Math.log2(largest));
  for (const row of rows) for (let j = 0; j < n; j++) row[j] = row[j]! / scale;

  const decomposition = new EigenvalueDecomposition(new Matrix(rows), { assumeSymmetric: true });
  const found = decomposition.realEigenvalues;
  const columns = decomposition.eigenvectorMatrix;
  // Ties keep the solver's order, so equal input gives equal output.
  const order = found.map((_, i) => i).sort((a, b) => found[b]! - found[a]! || a - b);
  const floor = Math.abs(found[order[0]!]!) * n * Number.EPSILON;
  order.forEach((from, i) => {
    const value = found[from]!;
    values[i] = value > floor ? value * scale : 0;
    for (let j = 0; j < n; j++) vectors[i * n + j] = columns.get(j, from);
  });
  return { values, vectors };
}
