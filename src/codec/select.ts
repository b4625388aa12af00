/**
 * Exact top-k from two histograms of magnitude bits (docs/algorithms.md B.1): magnitudes of float32 order as their bit
 * patterns do. The kernel counts the upper 15 magnitude bits, and then the lower 16 inside the one bucket that holds
 * the threshold.
 */
export const UPPER_BUCKETS = 1 << 15;
export const LOWER_BUCKETS = 1 << 16;

/** Entries to keep: all with magnitude bits above `threshold`, and the first `ties` of those equal to it. */
export interface Threshold {
  readonly threshold: number;
  readonly ties: number;
}

/** How many entries density `k` keeps of `d`, zeros among them not yet left out. */
export function keepCount(k: number, d: number): number {
  return Math.max(1, Math.floor(k * d));
}

/** The bucket of upper halves in which the last kept entry lies, and how many entries lie above it. */
export function locate(upper: ArrayLike<number>, keep: number): { readonly bucket: number; readonly above: number } {
  let above = 0;
  let bucket = UPPER_BUCKETS - 1;
  while (bucket > 0 && above + upper[bucket]! < keep) above += upper[bucket--]!;
  return { bucket, above };
}

/** Where in the bucket the selection ends. */
export interface Cut extends Threshold {
  readonly kept: number;
  /** Entries with magnitude bits equal to the threshold, kept or not. */
  readonly equal: number;
  /** Sum of the magnitudes of the kept entries of the bucket, float64, the largest first. */
  readonly magnitudes: number;
}

/** An exact zero is never kept, so the threshold stops above it. */
export function cutBucket(
  lower: ArrayLike<number>,
  { bucket, above }: { readonly bucket: number; readonly above: number },
  keep: number,
): Cut {
  let kept = above;
  let magnitudes = 0;
  let low = LOWER_BUCKETS - 1;
  for (; low > 0 && kept + lower[low]! < keep; low--) {
    const count = lower[low]!;
    if (count === 0) continue;
    kept += count;
    magnitudes += count * magnitudeOf(bucket, low);
  }
  const threshold = bucket * LOWER_BUCKETS + low;
  if (threshold === 0) return { threshold: 0, ties: 0, kept, equal: 0, magnitudes };
  const ties = Math.min(keep - kept, lower[low]!);
  magnitudes += ties * magnitudeOf(bucket, low);
  return { threshold, ties, kept: kept + ties, equal: lower[low]!, magnitudes };
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

function magnitudeOf(bucket: number, low: number): number {
  bits[0] = bucket * LOWER_BUCKETS + low;
  return float[0]!;
}

/** Sample standard deviation from Σ (x - mean)² over d entries: n-1 in the denominator, 0 below two entries. */
export function sampleDeviation(squares: number, d: number): number {
  return d < 2 ? 0 : Math.sqrt(squares / (d - 1));
}
