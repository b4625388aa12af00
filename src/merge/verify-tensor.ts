/**
 * The tolerances of a verification, and the comparison of one tensor.
 *
 * All is measured on D = scale * M, the change that the merge makes: D' = found - base against D = factor * S, in
 * float64. The found weights carry one rounding to the checkpoint's dtype, at most half a unit in the last place of
 * each entry, which is allowed on top of every limit.
 */
import { type Dtype, type FloatDtype, narrow, widen } from '../tensors/index.ts';
import { mergeInto } from './merged.ts';

/**
 * Largest |D' - D| / |D| of a tensor (Frobenius). Backends that keep the eigenproblem in float64 differ by 1e-6 to
 * 1e-5: two orders of magnitude are left to them.
 */
export const RELATIVE_TOLERANCE = 1e-3;

/**
 * Largest error of one entry, in units of RELATIVE_TOLERANCE * rms(D). An error of the largest allowed norm that is
 * spread over the entries like Gaussian noise exceeds 8 of its standard deviations once in 10^15 entries, and a real
 * backend's is a hundred times smaller. A change that is small in norm but put into one weight is seen.
 */
export const ENTRY_DEVIATIONS = 8;

/** Largest relative difference between the lambdas that tensors imply, and of each to the recomputed one. */
export const LAMBDA_TOLERANCE = 1e-4;

/** Significand bits from which on rounding is taken as noise that is independent of the change. */
const NOISE_BITS = 8;

/** Rounding shifts an implied lambda like noise; this many of its standard deviations are allowed. */
const LAMBDA_DEVIATIONS = 6;

export interface LambdaEstimate {
  /**
   * The recomputed lambda times the expected change along S by the found one. What is expected is rounded as the found
   * weights are: the base is on the dtype's grid, and the changes of a ternary update take few values, so rounding
   * shifts all of them alike and would pass for another lambda.
   */
  readonly value: number;
  /** Relative uncertainty from the rounding of the checkpoint's dtype. */
  readonly uncertainty: number;
  /** Whether it is within the tolerance and its uncertainty of the recomputed lambda. */
  readonly agrees: boolean;
}

export interface TensorComparison {
  /** |D' - D|, and the most it may be: RELATIVE_TOLERANCE * |D| and the rounding. */
  readonly difference: number;
  readonly differenceLimit: number;
  /** |D' - D| / |D|, rounding included; null where D is 0. */
  readonly relative: number | null;
  /** How far the worst entry lies beyond its limit; negative or 0 when all are within. */
  readonly entryExcess: number;
  /** Flat index of that entry. */
  readonly entry: number;
  /** Null where the tensor's merged task vector is 0, or the scale is, or the dtype's rounding hides or could hide it. */
  readonly lambda: LambdaEstimate | null;
}

export interface Comparison {
  readonly base: Float32Array;
  /** S. */
  readonly delta: Float32Array;
  readonly found: Float32Array;
  readonly dtype: Dtype;
  /** scale / lambda, as recomputed. */
  readonly factor: number;
  readonly lambda: number;
}

/** @returns null when a found value is NaN or infinite */
export function compareMerged(comparison: Comparison): TensorComparison | null {
  const { base, delta, found, dtype, factor, lambda } = comparison;
  const halfUnit = halfUnitOf(dtype);
  const stored = storedWeights(comparison, factor);
  const storedLess = storedWeights(comparison, factor * (1 - LAMBDA_TOLERANCE));
  const storedMore = storedWeights(comparison, factor * (1 + LAMBDA_TOLERANCE));
  let expected = 0;
  let largest = 0;
  for (let i = 0; i < delta.length; i++) {
    const d = factor * delta[i]!;
    expected += d * d;
    largest = Math.max(largest, Math.abs(d));
  }
  // A proportional error moves the largest entries most, hence the second term.
  const rms = Math.sqrt(expected / Math.max(delta.length, 1));
  const entryLimit = RELATIVE_TOLERANCE * Math.max(ENTRY_DEVIATIONS * rms, largest);

  let squares = 0;
  let rounding = 0;
  let along = 0;
  let alongExpected = 0;
  let alongTies = 0;
  let deltaSquares = 0;
  let alongRounding = 0;
  let alongMost = 0;
  let entryExcess = Number.NEGATIVE_INFINITY;
  let entry = 0;
  for (let i = 0; i < delta.length; i++) {
    const s = delta[i]!;
    const weight = base[i]! + factor * s;
    const change = found[i]! - base[i]!;
    const error = found[i]! - weight;
    const allowed = halfUnit(Math.max(Math.abs(found[i]!), Math.abs(weight)));
    squares += error * error;
    rounding += allowed * allowed;
    along += change * s;
    alongExpected += (stored[i]! - base[i]!) * s;
    alongTies += Math.abs((storedMore[i]! - storedLess[i]!) * s);
    deltaSquares += s * s;
    alongRounding += (allowed * s) ** 2;
    alongMost += allowed * Math.abs(s);
    const excess = Math.abs(error) - allowed - entryLimit;
    if (excess > entryExcess) {
      entryExcess = excess;
      entry = i;
    }
  }
  // NaN compares false everywhere above, so it is looked for here, where it must show.
  if (!Number.isFinite(squares)) return null;

  const difference = Math.sqrt(squares);
  const norm = Math.sqrt(expected);
  const whole = deltaSquares * Math.abs(factor);
  // Where most changes are below half a unit, rounding undoes them and is no noise: the F8 forms get the worst case.
  const coarse = FORMATS[dtype as FloatDtype].bits < NOISE_BITS;
  const noise = coarse
    ? alongMost / Math.max(whole - alongMost, 0)
    : (LAMBDA_DEVIATIONS * Math.sqrt(alongRounding / 3)) / whole;
  // Equal changes of equal weights round alike: near a tie a backend's error turns all of them at once. What changes
  // without any rounding would differ by is in the tolerance already.
  const turned = alongExpected === 0 ? 0 : alongTies / Math.abs(alongExpected);
  const uncertainty = noise + Math.max(0, turned - 2 * LAMBDA_TOLERANCE);
  return {
    difference,
    differenceLimit: RELATIVE_TOLERANCE * norm + Math.sqrt(rounding),
    relative: norm === 0 ? null : difference / norm,
    entryExcess: delta.length === 0 ? 0 : entryExcess,
    entry,
    lambda:
      norm === 0 || alongExpected * factor <= 0 || (coarse && alongMost >= whole)
        ? null
        : estimate((lambda * alongExpected) / along, lambda, uncertainty),
  };
}

/** What an honest export with this factor stores: the merged weights in the checkpoint's dtype. */
function storedWeights({ base, delta, dtype }: Comparison, factor: number): Float32Array {
  const weights = new Float32Array(base.length);
  mergeInto(base, delta, factor, weights);
  return widen(narrow(weights, dtype), dtype);
}

function estimate(value: number, lambda: number, uncertainty: number): LambdaEstimate {
  return { value, uncertainty, agrees: Math.abs(value / lambda - 1) <= LAMBDA_TOLERANCE + uncertainty };
}

/** Whether one lambda can lie within the tolerance of all estimates, each widened by its own uncertainty. */
export function lambdasAgree(estimates: readonly LambdaEstimate[]): boolean {
  let low = Number.NEGATIVE_INFINITY;
  let high = Number.POSITIVE_INFINITY;
  for (const { value, uncertainty } of estimates) {
    low = Math.max(low, value * (1 - uncertainty));
    high = Math.min(high, value * (1 + uncertainty));
  }
  return low <= high * (1 + LAMBDA_TOLERANCE);
}

/** Bits of the significand, the hidden one included, and the exponent of the smallest normal number. */
const FORMATS: Readonly<Record<FloatDtype, { bits: number; minExponent: number }>> = {
  F8_E4M3: { bits: 4, minExponent: -6 },
  F8_E5M2: { bits: 3, minExponent: -14 },
  F16: { bits: 11, minExponent: -14 },
  BF16: { bits: 8, minExponent: -126 },
  F32: { bits: 24, minExponent: -126 },
  // Merged weights are computed in float32 whatever the dtype they are stored in.
  F64: { bits: 24, minExponent: -126 },
};

/** Half a unit in the last place at a magnitude, and a little for the rounding to float32 that came before. */
function halfUnitOf(dtype: Dtype): (magnitude: number) => number {
  const { bits, minExponent } = FORMATS[dtype as FloatDtype];
  const smallest = 2 ** (minExponent - bits);
  const relative = 2 ** -bits;
  return (magnitude) => Math.max(relative * magnitude, smallest) + 2 ** -24 * magnitude * (bits < 24 ? 1 : 2 ** -10);
}
