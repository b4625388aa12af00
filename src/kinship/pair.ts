import type { PayloadMeasure } from '../codec/types.ts';
import type { RunOptions } from '../run-options.ts';
import { countPairsOf, type UpdateSource } from './counts.ts';
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
  readonly payload: UpdateSource;
  readonly measure: PayloadMeasure;
}

/**
 * Compares two updates for admission. The same in either order.
 *
 * @throws KinshipError TABLE_MISMATCH, MEASURE_MISMATCH
 * @throws CodecError when a payload does not decode
 */
export async function measurePair(a: MeasuredPayload, b: MeasuredPayload, options: RunOptions = {}): Promise<Pair> {
  const [pair] = await measurePairs(a, [b], options);
  return pair!;
}

/**
 * Compares one update with many others, to the same bits as one after another; it is decoded only once.
 *
 * @returns one result per other update, in their order
 * @throws KinshipError TABLE_MISMATCH, MEASURE_MISMATCH
 * @throws CodecError when a payload does not decode
 */
export async function measurePairs(
  one: MeasuredPayload,
  others: readonly MeasuredPayload[],
  options: RunOptions = {},
): Promise<Pair[]> {
  const counts = await countPairsOf(
    one.payload,
    others.map(({ payload }) => payload),
    options,
  );
  return others.map(({ measure }, place) => ({
    cosine: similarity(one.measure, measure, counts[place]!).cosine,
    fixed: pairFixed(one.measure, measure, counts[place]!),
  }));
}
