import { aligned, type Kernel } from '../kernel/kernel.ts';
import type { PlacedMasks } from '../section-choice.ts';
import { LOWER_BUCKETS, type Threshold, UPPER_BUCKETS } from '../select.ts';
import { maskWords } from '../ternary.ts';

/** Elements of a pair of tensors in a kernel's memory. */
export interface Piece {
  readonly base: number;
  readonly baseDtype: number;
  readonly tune: number;
  readonly tuneDtype: number;
  /** Position of the first element in the tensor; a multiple of 65,536 in `pieces`. */
  readonly from: number;
  readonly count: number;
}

/** The elements of a tensor, as often as the passes over them need. */
export interface Elements {
  /** All elements in order. A piece is good until the next one. */
  pieces(): Iterable<Piece>;
  /** The first free address behind what the pieces use. */
  readonly end: number;
}

/** Upper halves of the magnitudes, and the sum of the entries where it was asked for. */
export interface Measured {
  /** Position of the first NaN or infinity, or -1; the rest counts only then. */
  readonly bad: number;
  readonly upper: Uint32Array;
  readonly sum: number;
}

/** Lower halves inside a bucket, the sum of the magnitudes above it, and the squared distances from the mean. */
export interface Refined {
  readonly lower: Uint32Array;
  readonly magnitudes: number;
  readonly squares: number;
}

/** First pass. */
export function measure(kernel: Kernel, input: Elements, sums: boolean): Measured {
  const { calls } = kernel;
  calls.select_begin();
  for (const { base, baseDtype, tune, tuneDtype, from, count } of input.pieces()) {
    const bad = calls.measure(base, baseDtype, tune, tuneDtype, count, Number(sums));
    if (bad >= 0) return { bad: from + bad, upper: new Uint32Array(0), sum: 0 };
  }
  calls.measure_end();
  return { bad: -1, upper: kernel.u32(calls.upper_counts(), UPPER_BUCKETS).slice(), sum: calls.get_total() };
}

/** Second pass. `mean` asks for squared distances from it. */
export function refine(kernel: Kernel, input: Elements, bucket: number, mean: number | null): Refined {
  const { calls } = kernel;
  calls.select_begin();
  for (const { base, baseDtype, tune, tuneDtype, count } of input.pieces()) {
    calls.refine(base, baseDtype, tune, tuneDtype, count, bucket, Number(mean !== null), mean ?? 0);
  }
  const lower = kernel.u32(calls.lower_counts(), LOWER_BUCKETS).slice();
  return { lower, magnitudes: calls.get_total(), squares: calls.get_squares() };
}

/** Entries with magnitude bits equal to `threshold`, which is above 0. */
export function countEqual(kernel: Kernel, input: Elements, threshold: number): number {
  let equal = 0;
  for (const { base, baseDtype, tune, tuneDtype, count } of input.pieces()) {
    equal += kernel.calls.count_equal(base, baseDtype, tune, tuneDtype, count, threshold);
  }
  return equal;
}

/** Third pass: the masks of the selected entries, behind the elements. */
export function ternarise(
  kernel: Kernel,
  input: Elements,
  elements: number,
  { threshold, ties }: Threshold,
): PlacedMasks {
  const bytes = aligned(4 * maskWords(elements));
  const plus = input.end;
  const minus = plus + bytes;
  const end = minus + bytes;
  kernel.reach(end);
  const { calls } = kernel;
  calls.ternarise_begin(ties);
  for (const { base, baseDtype, tune, tuneDtype, from, count } of input.pieces()) {
    calls.ternarise(base, baseDtype, tune, tuneDtype, count, threshold, plus + from / 8, minus + from / 8);
  }
  return { plus, minus, elements, nnz: calls.kept(), end };
}
