/**
 * The five matrix products of the projection (docs/algorithms.md, C.5.2) as ONNX graphs.
 *
 * All shapes are dynamic, so each graph is built once and serves every matrix. `wide` graphs take an operand of shape
 * m x n with m <= n as it lies in memory, `tall` graphs one with m > n; neither ever transposes a large operand. Every
 * graph works on a panel of rows of one operand, so that long products can be cut into slices.
 */
import type { ElementType, Graph, GraphValue } from './onnx-model.ts';

export const GRAPH_NAMES = ['crossWide', 'crossTall', 'sandwich', 'applyWide', 'applyTall'] as const;
export type GraphName = (typeof GRAPH_NAMES)[number];

/**
 * @param type - element type of all operands and results
 */
export function buildGraph(name: GraphName, type: ElementType): Graph {
  const value = (id: string, ...shape: string[]): GraphValue => ({ name: id, type, shape });
  switch (name) {
    // Y[p,m] = A[p,n] . S[m,n]^T: a panel of rows of the Gram matrix, or of the cross product with the update.
    case 'crossWide':
      return {
        name,
        inputs: [value('A', 'p', 'n'), value('S', 'm', 'n')],
        outputs: [value('Y', 'p', 'm')],
        nodes: [{ op: 'Gemm', inputs: ['A', 'S'], outputs: ['Y'], ints: { transB: 1 } }],
      };
    // Y[n,n] = A[p,n]^T . S[p,n] + C[n,n]: adds one panel of rows to the same products of a tall matrix.
    case 'crossTall':
      return {
        name,
        inputs: [value('A', 'p', 'n'), value('S', 'p', 'n'), value('C', 'n', 'n')],
        outputs: [value('Y', 'n', 'n')],
        nodes: [{ op: 'Gemm', inputs: ['A', 'S', 'C'], outputs: ['Y'], ints: { transA: 1 } }],
      };
    // Y[p,k] = A[p,k] . X[k,k] . B[k,k]^T: into the eigenbasis (A = B = U^T) and out of it again (A = B = U).
    case 'sandwich':
      return {
        name,
        inputs: [value('A', 'p', 'k'), value('X', 'k', 'k'), value('B', 'k', 'k')],
        outputs: [value('Y', 'p', 'k')],
        nodes: [
          { op: 'Gemm', inputs: ['A', 'X'], outputs: ['AX'] },
          { op: 'Gemm', inputs: ['AX', 'B'], outputs: ['Y'], ints: { transB: 1 } },
        ],
      };
    // Y[p,n] = T[p,n] - K[p,m] . S[m,n]
    case 'applyWide':
      return {
        name,
        inputs: [value('K', 'p', 'm'), value('S', 'm', 'n'), value('T', 'p', 'n')],
        outputs: [value('Y', 'p', 'n')],
        nodes: [{ op: 'Gemm', inputs: ['K', 'S', 'T'], outputs: ['Y'], floats: { alpha: -1 } }],
      };
    // Y[p,n] = T[p,n] - S[p,n] . K[n,n]^T
    case 'applyTall':
      return {
        name,
        inputs: [value('S', 'p', 'n'), value('K', 'n', 'n'), value('T', 'p', 'n')],
        outputs: [value('Y', 'p', 'n')],
        nodes: [{ op: 'Gemm', inputs: ['S', 'K', 'T'], outputs: ['Y'], floats: { alpha: -1 }, ints: { transB: 1 } }],
      };
  }
}
