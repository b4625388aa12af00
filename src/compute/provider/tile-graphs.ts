/** The graphs that products of tiled matrices are put together from, beside those of `graphs.ts`. */
import { buildGraph, type GraphName } from '../graphs.ts';
import type { ElementType, Graph, GraphValue } from '../onnx-model.ts';

export type TileGraphName = GraphName | 'addTimes' | 'copy';

export function buildTileGraph(name: TileGraphName, type: ElementType): Graph {
  const value = (id: string, ...shape: string[]): GraphValue => ({ name: id, type, shape });
  switch (name) {
    // Y[p,q] = C[p,q] + A[p,n] B[n,q]
    case 'addTimes':
      return {
        name,
        inputs: [value('A', 'p', 'n'), value('B', 'n', 'q'), value('C', 'p', 'q')],
        outputs: [value('Y', 'p', 'q')],
        nodes: [{ op: 'Gemm', inputs: ['A', 'B', 'C'], outputs: ['Y'] }],
      };
    // Y = A: brings a matrix to the device or back.
    case 'copy':
      return {
        name,
        inputs: [value('A', 'p', 'q')],
        outputs: [value('Y', 'p', 'q')],
        nodes: [{ op: 'Identity', inputs: ['A'], outputs: ['Y'] }],
      };
    default:
      return buildGraph(name, type);
  }
}

/** How a graph of the projection is put together from tiles. */
export interface TilePlan {
  /** Whether tile (i, j) of the operand is read at (j, i). */
  readonly aTransposed: boolean;
  readonly bTransposed: boolean;
  /** The graph that adds a further product to a tile of the result; the first one is the graph itself. */
  readonly next: TileGraphName;
}

export const TILE_PLANS: Readonly<Record<GraphName, TilePlan>> = {
  times: { aTransposed: false, bTransposed: false, next: 'addTimes' },
  timesTransposed: { aTransposed: false, bTransposed: true, next: 'addTimesTransposed' },
  addTimesTransposed: { aTransposed: false, bTransposed: true, next: 'addTimesTransposed' },
  addTransposedTimes: { aTransposed: true, bTransposed: false, next: 'addTransposedTimes' },
  minusTimes: { aTransposed: false, bTransposed: false, next: 'minusTimes' },
  minusTransposedTimes: { aTransposed: true, bTransposed: false, next: 'minusTransposedTimes' },
};
