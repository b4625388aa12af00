import type { PayloadMeasure } from '../codec/types.ts';
import type { PairCounts } from './counts.ts';
import { KinshipError } from './errors.ts';
import { commonTensors } from './similarity.ts';

/** What the value 1 of a normalised entry is in fixed point: 32 fractional bits (docs/algorithms.md D.2). */
export const FIXED_ONE = 2 ** 32;

/**
 * One tensor's magnitude in the normalised update, in fixed point: round(2³² · scale / norm), halves up.
 *
 * An integer in 0..2³²: a coded tensor has at least one entry, so scale² is one term of norm² and scale ≤ norm, and
 * correctly rounded products, sums and roots keep that order.
 *
 * @throws KinshipError ZERO_UPDATE when the norm is not above 0; MEASURE_MISMATCH when the scale exceeds the norm
 */
export function fixedScale(scale: number, norm: number): number {
  if (!(norm > 0)) throw zeroUpdate();
  const fixed = Math.round((FIXED_ONE * scale) / norm);
  if (!(fixed >= 0 && fixed <= FIXED_ONE)) {
    throw new KinshipError('MEASURE_MISMATCH', `A scale of ${scale} does not fit the update's norm ${norm}.`, {
      scale,
      norm,
    });
  }
  return fixed;
}

export function zeroUpdate(): KinshipError {
  return new KinshipError('ZERO_UPDATE', 'A zero update has no direction: admission declines it before kinship.');
}

/**
 * The inner product of two normalised updates as an exact integer with 64 fractional bits:
 * Σ_t q_t(a) · q_t(b) · (agree_t - disagree_t). It is the same integer that `KinshipState.dot` gives for a state that
 * holds b alone, so the mean over N accepted updates can be had either way. 0 when one of them is the zero update.
 *
 * @throws KinshipError TABLE_MISMATCH, COUNTS_MISMATCH, MEASURE_MISMATCH
 */
export function pairFixed(a: PayloadMeasure, b: PayloadMeasure, counts: PairCounts): bigint {
  let sum = 0n;
  for (const common of commonTensors(a, b, counts)) {
    const left = BigInt(fixedScale(common.a.scale, a.norm));
    const right = BigInt(fixedScale(common.b.scale, b.norm));
    sum += left * right * BigInt(common.inner);
  }
  return sum;
}

/**
 * The mean pairwise cosine to `count` updates, from the exact sum with 64 fractional bits. Number(bigint) rounds to
 * nearest by definition and 2⁶⁴ is a power of two, so every machine gets the same float64. Null for `count` 0.
 */
export function meanKinship(sum: bigint, count: number): number | null {
  return count > 0 ? Number(sum) / 2 ** 64 / count : null;
}
