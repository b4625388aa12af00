import type { PayloadMeasure, TensorMeasure } from '../codec/types.ts';
import type { PairCounts } from './counts.ts';
import { KinshipError } from './errors.ts';
import { commonTensors } from './similarity.ts';

/** What the value 1 of a normalised entry is in fixed point: 32 fractional bits (docs/algorithms.md D.2). */
export const FIXED_ONE = 2 ** 32;

/**
 * The value of K = 1 of one tensor in the normalised update, in fixed point: round(2³² · scale / norm), halves up.
 *
 * An integer in 0..2³² for a tensor that is not zero: scale² · squares is one term of norm², so scale · peak ≤ norm, and
 * correctly rounded products, sums and roots keep scale ≤ norm. An entry, this times K, is then at most 2³² + peak / 2:
 * rounding adds half a unit for each.
 *
 * @throws KinshipError ZERO_UPDATE when the norm is not above 0; MEASURE_MISMATCH when the tensor exceeds the norm
 */
export function fixedScale({ scale, peak }: Pick<TensorMeasure, 'scale' | 'peak'>, norm: number): number {
  if (!(norm > 0)) throw zeroUpdate();
  const fixed = Math.round((FIXED_ONE * scale) / norm);
  if (!(fixed >= 0 && fixed * peak <= FIXED_ONE + peak / 2)) {
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
 * Σ_t q_t(a) · q_t(b) · Σ K_a · K_b. It is the same integer that `KinshipState.dot` gives for a state that
 * holds b alone, so the mean over N accepted updates can be had either way. 0 when one of them is the zero update.
 *
 * @throws KinshipError TABLE_MISMATCH, COUNTS_MISMATCH, MEASURE_MISMATCH
 */
export function pairFixed(a: PayloadMeasure, b: PayloadMeasure, counts: PairCounts): bigint {
  let sum = 0n;
  for (const common of commonTensors(a, b, counts)) {
    // A tensor whose terms cancel everywhere adds nothing, and its scale need not fit the norm.
    if (common.inner === 0) continue;
    const left = BigInt(fixedScale(common.a, a.norm));
    const right = BigInt(fixedScale(common.b, b.norm));
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
