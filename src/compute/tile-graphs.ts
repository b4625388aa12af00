/** The graphs that products of tiled matrices are put together from, beside those of `graphs.ts`. */
import { buildGraph, type GraphName } from './graphs.ts';
import type { ElementType, Graph, GraphNode, GraphValue } from './onnx-model.ts';

/** A product of tiles. Each takes A, B and, all but the first two, C; the result is Y. */
export type TileGraphName = GraphName | 'addTimes' | 'addTimesTransposed' | 'copy';

export function buildTileGraph(name: TileGraphName, type: ElementType): Graph {
  const value = (id: string, ...shape: string[]): GraphValue => ({ name: id, type, shape });
  const y = value('Y', 'p', 'q');
  const added = (b: GraphValue, ints: NonNullable<GraphNode['ints']>): Graph => ({
    name,
    inputs: [value('A', 'p', 'n'), b, value('C', 'p', 'q')],
    outputs: [y],
    nodes: [{ op: 'Gemm', inputs: ['A', 'B', 'C'], outputs: ['Y'], ints }],
  });
  switch (name) {
    // Y[p,q] = C[p,q] + A[p,n] B[n,q]
    case 'addTimes':
      return added(value('B', 'n', 'q'), {});
    // Y[p,q] = C[p,q] + A[p,n] B[q,n]^T
    case 'addTimesTransposed':
      return added(value('B', 'q', 'n'), { transB: 1 });
    // Y = A: brings a matrix to the device or back.
    case 'copy':
      return {
        name,
        inputs: [value('A', 'p', 'q')],
        outputs: [y],
        nodes: [{ op: 'Identity', inputs: ['A'], outputs: ['Y'] }],
      };
    default:
      return buildGraph(name, type);
  }
}

/** How the graphs of the projection are put together from tiles. */
export interface TilePlan {
  /** Whether tile (i, j) of the operand is read at (j, i). */
  readonly aTransposed: boolean;
  readonly bTransposed: boolean;
  /** The graph of the first product of a tile of the result, where the graph itself has no C. */
  readonly first: TileGraphName;
  /** The graph that adds a product to what is there. */
  readonly next: TileGraphName;
}

export const TILE_PLANS: Readonly<Record<GraphName, TilePlan>> = {
  times: { aTransposed: false, bTransposed: false, first: 'times', next: 'addTimes' },
  timesTransposed: { aTransposed: false, bTransposed: true, first: 'timesTransposed', next: 'addTimesTransposed' },
  addTransposedTimes: {
    aTransposed: true,
    bTransposed: false,
    first: 'addTransposedTimes',
    next: 'addTransposedTimes',
  },
  minusTimes: { aTransposed: false, bTransposed: false, first: 'minusTimes', next: 'minusTimes' },
};
