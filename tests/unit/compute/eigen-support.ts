/** Matrices with known spectra, and measures of a solver's result. */
import {
  type Eigensolver,
  type EigensolverName,
  openEigensolver,
  type SymmetricEigen,
} from '../../../src/compute/index.ts';
import { gaussian } from './random.ts';

const NO_LAPACK = 'the tests of the LAPACK eigensolver: to get a library, sudo apt install libopenblas0';

let lapack: Eigensolver | string | undefined;

/** Null where no LAPACK is installed, said once in a line; there must be one in CI. */
export function solverHere(name: EigensolverName): Eigensolver | null {
  if (name === 'portable') return openEigensolver(name);
  if (lapack === undefined) {
    try {
      lapack = openEigensolver(name);
    } catch (error) {
      if (process.env.CI) throw error;
      lapack = `Skipped ${NO_LAPACK}`;
      process.stderr.write(`${lapack}\n`);
    }
  }
  return typeof lapack === 'string' ? null : lapack;
}

/** X X^T of a rows x columns matrix. */
export function gram(x: Float64Array, rows: number, columns: number): Float64Array {
  const g = new Float64Array(rows * rows);
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += x[i * columns + k]! * x[j * columns + k]!;
      g[i * rows + j] = sum;
      g[j * rows + i] = sum;
    }
  }
  return g;
}

/** A dense matrix with these eigenvalues: their diagonal between a few random reflections. */
export function withSpectrum(spectrum: readonly number[], seed: number): Float64Array {
  const n = spectrum.length;
  const g = new Float64Array(n * n);
  for (let i = 0; i < n; i++) g[i * n + i] = spectrum[i]!;
  for (let turn = 0; turn < 4; turn++) {
    const v = gaussian(n, 100 * seed + turn);
    const square = dot(v, v);
    // H G H = G - v w^T - w v^T with w = (2 / v.v) (G v - (v.G v / v.v) v)
    const gv = Float64Array.from({ length: n }, (_, i) => dot(g.subarray(i * n, (i + 1) * n), v));
    const share = dot(v, gv) / square;
    const w = gv.map((x, i) => (2 / square) * (x - share * v[i]!));
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) g[i * n + j]! -= v[i]! * w[j]! + w[i]! * v[j]!;
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) g[i * n + j] = g[j * n + i]!;
  return g;
}

/** Wilkinson's tridiagonal matrices of order 21, glued by tiny entries: clusters that are close but not equal. */
export function gluedWilkinson(n: number): Float64Array {
  const g = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    g[i * n + i] = 11 + Math.abs((i % 21) - 10);
    if (i === 0) continue;
    g[i * n + i - 1] = i % 21 === 0 ? 1e-9 : 1;
    g[(i - 1) * n + i] = g[i * n + i - 1]!;
  }
  return g;
}

/** Largest |G v - lambda v| as a share of the largest eigenvalue, and largest |V V^T - I|. */
export function defects(g: Float64Array, n: number, { values, vectors }: SymmetricEigen) {
  const norm = values[0] || 1;
  const count = vectors.length / n;
  let residual = 0;
  let orthogonality = 0;
  for (let i = 0; i < count; i++) {
    const v = vectors.subarray(i * n, (i + 1) * n);
    for (let row = 0; row < n; row++) {
      const product = dot(g.subarray(row * n, (row + 1) * n), v);
      residual = Math.max(residual, Math.abs(product - values[i]! * v[row]!) / norm);
    }
    for (let j = 0; j <= i; j++) {
      const product = dot(v, vectors.subarray(j * n, (j + 1) * n));
      orthogonality = Math.max(orthogonality, Math.abs(product - (i === j ? 1 : 0)));
    }
  }
  return { residual, orthogonality };
}

/** Largest entry of the difference of V^T V for the rows `from` to `to` of two results: of their invariant subspaces. */
export function subspaceDifference(a: Float64Array, b: Float64Array, n: number, from: number, to: number): number {
  let largest = 0;
  for (let row = 0; row < n; row++) {
    const difference = new Float64Array(n);
    for (let i = from; i < to; i++) {
      const [x, y] = [a[i * n + row]!, b[i * n + row]!];
      for (let j = 0; j < n; j++) difference[j]! += x * a[i * n + j]! - y * b[i * n + j]!;
    }
    for (const x of difference) largest = Math.max(largest, Math.abs(x));
  }
  return largest;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}
