/** The eigenproblem with nothing but JavaScript. */
import { EigenvalueDecomposition, Matrix } from 'ml-matrix';
import { type Eigensolver, solveBy } from './solver.ts';

export const PORTABLE_ORDER_MAX = 8192;

export function openPortable(): Eigensolver {
  return {
    name: 'portable',
    description: 'portable eigensolver (ml-matrix)',
    solve: (g, n, request) => solveBy(solve, PORTABLE_ORDER_MAX, g, n, request),
  };
}

function solve(g: Float64Array, n: number, wanted: (ascending: Float64Array) => number): Float64Array {
  const rows = Array.from({ length: n }, (_, i) => {
    return Float64Array.from({ length: n }, (_, j) => g[Math.min(i, j) * n + Math.max(i, j)]!);
  });
  const decomposition = new EigenvalueDecomposition(new Matrix(rows), { assumeSymmetric: true });
  const found = decomposition.realEigenvalues;
  // Ties keep the solver's order, so equal input gives equal output.
  const order = found.map((_, i) => i).sort((a, b) => found[b]! - found[a]! || a - b);
  const count = wanted(Float64Array.from(order, (from) => found[from]!).reverse());
  const columns = decomposition.eigenvectorMatrix;
  return Float64Array.from({ length: count * n }, (_, at) => columns.get(at % n, order[Math.floor(at / n)]!));
}
