/**
 * The products of the projection (docs/algorithms.md, C.5.2) as ONNX graphs.
 *
 * All shapes are dynamic, so each graph is built once for an element type and serves every matrix. Each works on a panel
 * of rows, so long products can be cut into slices; none transposes a large operand.
 */
import type { ElementType, Graph, GraphValue } from './onnx-model.ts';

export const GRAPH_NAMES = ['times', 'timesTransposed', 'addTransposedTimes', 'minusTimes'] as const;
export type GraphName = (typeof GRAPH_NAMES)[number];

/**
 * @param type - element type of all operands and results
 */
export function buildGraph(name: GraphName, type: ElementType): Graph {
  const value = (id: string, ...shape: string[]): GraphValue => ({ name: id, type, shape });
  const y = value('Y', 'p', 'q');
  switch (name) {
    // Y[p,q] = A[p,n] B[n,q]
    case 'times':
      return {
        name,
        inputs: [value('A', 'p', 'n'), value('B', 'n', 'q')],
        outputs: [y],
        nodes: [{ op: 'Gemm', inputs: ['A', 'B'], outputs: ['Y'] }],
      };
    // Y[p,q] = A[p,n] B[q,n]^T
    case 'timesTransposed':
      return {
        name,
        inputs: [value('A', 'p', 'n'), value('B', 'q', 'n')],
        outputs: [y],
        nodes: [{ op: 'Gemm', inputs: ['A', 'B'], outputs: ['Y'], ints: { transB: 1 } }],
      };
    // Y[p,q] = C[p,q] + A[n,p]^T B[n,q]: adds one panel of rows of both operands.
    case 'addTransposedTimes':
      return {
        name,
        inputs: [value('A', 'n', 'p'), value('B', 'n', 'q'), value('C', 'p', 'q')],
        outputs: [y],
        nodes: [{ op: 'Gemm', inputs: ['A', 'B', 'C'], outputs: ['Y'], ints: { transA: 1 } }],
      };
    // Y[p,q] = C[p,q] - A[p,n] B[n,q]
    case 'minusTimes':
      return {
        name,
        inputs: [value('A', 'p', 'n'), value('B', 'n', 'q'), value('C', 'p', 'q')],
        outputs: [y],
        nodes: [{ op: 'Gemm', inputs: ['A', 'B', 'C'], outputs: ['Y'], floats: { alpha: -1 } }],
      };
  }
}
