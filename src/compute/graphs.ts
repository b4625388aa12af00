/**
 * The products of the projection (docs/algorithms.md, C.5.2) as ONNX graphs.
 *
 * All shapes are dynamic, so each graph is built once for an element type and serves every matrix.
 */
import type { ElementType, Graph, GraphValue } from './onnx-model.ts';

/** Each is one Gemm: Y = C ± A' B', where ' is a transposition or none. */
const GRAPHS = {
  /** Y[p,q] = A[p,n] B[n,q] */
  times: { a: ['p', 'n'], b: ['n', 'q'] },
  /** Y[p,q] = A[p,n] B[q,n]^T */
  timesTransposed: { a: ['p', 'n'], b: ['q', 'n'] },
  /** Y[p,q] = C[p,q] + A[p,n] B[q,n]^T */
  addTimesTransposed: { a: ['p', 'n'], b: ['q', 'n'], c: 1 },
  /** Y[p,q] = C[p,q] + A[n,p]^T B[n,q] */
  addTransposedTimes: { a: ['n', 'p'], b: ['n', 'q'], c: 1 },
  /** Y[p,q] = C[p,q] - A[p,n] B[n,q] */
  minusTimes: { a: ['p', 'n'], b: ['n', 'q'], c: -1 },
  /** Y[p,q] = C[p,q] - A[n,p]^T B[n,q] */
  minusTransposedTimes: { a: ['n', 'p'], b: ['n', 'q'], c: -1 },
} as const satisfies Record<string, { a: readonly [string, string]; b: readonly [string, string]; c?: 1 | -1 }>;

export type GraphName = keyof typeof GRAPHS;
export const GRAPH_NAMES = Object.keys(GRAPHS) as readonly GraphName[];

/**
 * @param type - element type of all operands and results
 */
export function buildGraph(name: GraphName, type: ElementType): Graph {
  const { a, b, ...rest } = GRAPHS[name];
  const sign = 'c' in rest ? rest.c : 0;
  const value = (id: string, shape: readonly string[]): GraphValue => ({ name: id, type, shape });
  const inputs = [value('A', a), value('B', b), ...(sign === 0 ? [] : [value('C', ['p', 'q'])])];
  return {
    name,
    inputs,
    outputs: [value('Y', ['p', 'q'])],
    nodes: [
      {
        op: 'Gemm',
        inputs: inputs.map((input) => input.name),
        outputs: ['Y'],
        ints: { transA: a[0] === 'n' ? 1 : 0, transB: b[1] === 'n' ? 1 : 0 },
        floats: { alpha: sign < 0 ? -1 : 1 },
      },
    ],
  };
}
