/** What an eigensolver is, and the treatment before and after that is the same for every one. */
import type { Buffers } from '../buffers.ts';
import { ComputeError } from '../errors.ts';

export type EigensolverName = 'lapack' | 'portable';

/** Where a solver takes its work areas from. */
export type WorkMemory = Pick<Buffers, 'float64' | 'give'>;

/** Arrays that nobody takes back. */
const NEW_MEMORY: WorkMemory = { float64: (length) => new Float64Array(length), give: () => undefined };

export interface EigenRequest {
  /**
   * How many eigenvectors are wanted, told from all n eigenvalues (descending, noise set to 0): an integer from 0 to n.
   * Default: all.
   */
  readonly vectors?: (values: Float64Array) => number;
  /** Where work areas and the vectors are taken from; the vectors are the caller's to give back. Default: new memory. */
  readonly buffers?: WorkMemory;
}

export interface SymmetricEigen {
  /** All n eigenvalues, descending; those that rounding alone explains (below largest * n * 2^-52) are 0. */
  readonly values: Float64Array;
  /** count x n, row-major: row i is the unit eigenvector of `values[i]`. Shares no memory with the input. */
  readonly vectors: Float64Array<ArrayBuffer>;
}

/** Solves the eigenproblem of symmetric positive semidefinite matrices in float64 (docs/algorithms.md, C.5). */
export interface Eigensolver {
  readonly name: EigensolverName;
  /** For people: the library, its version where it can say, and its threads. */
  readonly description: string;
  /**
   * Residual |G v - lambda v| <= 1e-12 |G| and |V V^T - I| <= 1e-12. Equal input gives equal bytes. Blocks its thread.
   *
   * @param g - n x n, row-major. Only the diagonal and the entries above it are read; all of it may be overwritten
   * @throws ComputeError `NON_FINITE` for NaN or infinite entries; `BAD_JOB` for a wrong length or a matrix that is too
   *   large for this solver; `RUNTIME_FAILED` when the iteration does not converge
   */
  solve(g: Float64Array, n: number, request?: EigenRequest): SymmetricEigen;
  /**
   * G <- G + X X^T, the diagonal and above, where the library has the routine that makes only these: half the work.
   *
   * @param g - n x n, row-major
   * @param x - n x columns, row-major
   */
  addGram?(g: Float64Array, x: Float64Array, n: number, columns: number): void;
}

/**
 * The part of a solver that differs: takes a matrix whose entries are below 2 and gives the wanted vectors as rows, that
 * of the largest eigenvalue first. It calls `wanted` once, with all eigenvalues ascending, for the number of vectors.
 */
export type EigenKernel = (
  g: Float64Array,
  n: number,
  wanted: (ascending: Float64Array) => number,
  buffers: WorkMemory,
) => Float64Array<ArrayBuffer>;

/**
 * Checks and scales g, solves it by `kernel` and sets the noise to 0.
 *
 * A symmetric solver's eigenvalues carry an absolute error of about n * 2^-52 * the largest. Values below that are
 * noise of either sign; as singular values (their roots) they would count for up to 1e-6 of the largest each and so
 * could shift a split rank. They are set to 0. This never touches the numerical rank: its own threshold,
 * sigma_0 * max(m,n) * 2^-23, is larger.
 *
 * @param orderMax - the largest n that the kernel takes
 */
export function solveBy(
  kernel: EigenKernel,
  orderMax: number,
  g: Float64Array,
  n: number,
  request: EigenRequest = {},
): SymmetricEigen {
  check(g, n, orderMax);
  const largest = largestEntry(g, n);
  const values = new Float64Array(n);
  const wanted = (): number => {
    const count = request.vectors?.(values) ?? n;
    if (Number.isInteger(count) && count >= 0 && count <= n) return count;
    throw new ComputeError('BAD_JOB', `A matrix of order ${n} has no ${count} eigenvectors.`, { n, count });
  };
  if (largest === 0) return { values, vectors: identityRows(wanted(), n) };
  // A power of two near the largest entry: exact to apply, and squares in the solver can then neither overflow nor
  // underflow for matrices of very small or very large updates.
  const exponent = Math.floor(Math.log2(largest));
  scaleBy(g, -exponent);
  const taken = (ascending: Float64Array): number => {
    const floor = Math.abs(ascending[n - 1]!) * n * Number.EPSILON;
    for (let i = 0; i < n; i++) {
      const value = ascending[n - 1 - i]!;
      values[i] = value > floor ? value : 0;
    }
    scaleBy(values, exponent);
    return wanted();
  };
  const vectors = kernel(g, n, taken, request.buffers ?? NEW_MEMORY);
  return { values, vectors };
}

function check(g: Float64Array, n: number, orderMax: number): void {
  if (!Number.isInteger(n) || n < 1 || n > orderMax) {
    const message = `This eigensolver takes matrices of order 1 to ${orderMax}, not ${n}: list a larger tensor as not linear.`;
    throw new ComputeError('BAD_JOB', message, { n, orderMax });
  }
  if (g.length === n * n) return;
  throw new ComputeError('BAD_JOB', `A ${n} x ${n} matrix needs ${n * n} entries, not ${g.length}.`, { n });
}

function largestEntry(g: Float64Array, n: number): number {
  let largest = 0;
  for (let i = 0; i < n; i++) {
    for (let at = i * n + i; at < (i + 1) * n; at++) {
      const size = Math.abs(g[at]!);
      if (size > largest) largest = size;
      else if (!(size <= largest)) largest = Number.POSITIVE_INFINITY;
    }
  }
  if (largest < Number.POSITIVE_INFINITY) return largest;
  throw new ComputeError('NON_FINITE', 'The eigenproblem has a NaN or infinite entry.', { n });
}

/** Times 2^exponent, in two steps where one factor would not be a normal number. */
function scaleBy(data: Float64Array, exponent: number): void {
  if (exponent === 0) return;
  const first = 2 ** Math.trunc(exponent / 2);
  const second = 2 ** (exponent - Math.trunc(exponent / 2));
  for (let i = 0; i < data.length; i++) data[i] = data[i]! * first * second;
}

function identityRows(count: number, n: number): Float64Array<ArrayBuffer> {
  const rows = new Float64Array(count * n);
  for (let i = 0; i < count; i++) rows[i * n + i] = 1;
  return rows;
}

/** Reverses the order of rows of length n, in place. */
export function reverseRows<Rows extends Float64Array>(rows: Rows, n: number): Rows {
  for (let low = 0, high = rows.length - n; low < high; low += n, high -= n) {
    const row = rows.slice(low, low + n);
    rows.copyWithin(low, high, high + n);
    rows.set(row, high);
  }
  return rows;
}
