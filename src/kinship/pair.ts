import type { PayloadMeasure } from '../codec/types.ts';
import type { RunOptions } from '../run-options.ts';
import { countPairs, type TernarySource } from './counts.ts';
import { pairFixed } from './fixed.ts';
import { similarity } from './similarity.ts';

/** All that admission asks of two updates; worth caching, because neither update can ever change. */
export interface Pair {
  /** Signed cosine, null when undefined. */
  readonly cosine: number | null;
  /** Inner product of the normalised updates, an integer with 64 fractional bits. */
  readonly fixed: bigint;
}

/** An update's payload together with its measure. */
export interface MeasuredPayload {
  readonly payload: TernarySource;
  readonly measure: PayloadMeasure;
}

/**
 * Compares two updates for admission. The same in either order.
 *
 * @throws KinshipError TABLE_MISMATCH, MEASURE_MISMATCH
 * @throws CodecError when a payload does not decode
 */
export async function measurePair(a: MeasuredPayload, b: MeasuredPayload, options: RunOptions = {}): Promise<Pair> {
  const counts = await countPairs(a.payload, b.payload, options);
  return {
    cosine: similarity(a.measure, b.measure, counts).cosine,
    fixed: pairFixed(a.measure, b.measure, counts),
  };
}
