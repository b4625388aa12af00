import { aligned, type Kernel, outOfMemory } from '../kernel/kernel.ts';
import type { PlacedMasks } from '../section-choice.ts';
import { keepCount, LOWER_BUCKETS, locate, UPPER_BUCKETS } from '../select.ts';
import { maskWords } from '../ternary.ts';
import type { Elements, Piece } from './passes.ts';

/** Elements from which on a tensor is sampled. Below, all its entries are candidates: the counters of a sample cost more. */
export const MIN_SAMPLED_ELEMENTS = 2 ** 17;
/** A sample is the first `SAMPLE_RUN` of every `SAMPLE_STRIDE` elements: an eighth, from everywhere. */
export const SAMPLE_RUN = 4_096;
export const SAMPLE_STRIDE = 8 * SAMPLE_RUN;
/** Share of a sampled tensor that may be candidates: they take 4 bytes each. Where more are alike, the passes select. */
export const MAX_CANDIDATE_SHARE = 1 / 8;
/** Bytes of the list per element, usually: 3 % of the elements are candidates, or all of a tensor too small for a sample. */
const USUAL_CANDIDATE_BYTES = 1 / 8;
/**
 * How far the sample's rank of the threshold may be off, in deviations of a sample of independent elements. Elements of
 * a row resemble one another, so a sample is worth less than its size: 24 leaves room for rows that count as one in
 * sixteen. A miss costs time and nothing else.
 */
const RANK_MARGIN = 24;

/** Elements that can also be looked at here and there. */
export interface SampledElements extends Elements {
  sample(): Iterable<Piece>;
}

/** What was selected. */
export interface Selected {
  /** Position of the first NaN or infinity, or -1; the rest counts only then. */
  readonly bad: number;
  readonly masks: PlacedMasks;
  /** Sum of the kept magnitudes, float64. */
  readonly magnitudes: number;
}

/**
 * The exact top-k in one pass: a sample says between which magnitudes the threshold should lie, and the counts say
 * afterwards whether it does. Null where it does not; the passes of `passes.ts` then select the same entries.
 */
export function selectBySplit(
  kernel: Kernel,
  input: SampledElements,
  elements: number,
  density: number,
): Selected | null {
  const keep = keepCount(density, elements);
  const bracket = elements < MIN_SAMPLED_ELEMENTS ? EVERYTHING : bracketOf(kernel, input, keep / elements);
  if (bracket === null) return null;
  const { calls } = kernel;
  const words = maskWords(elements);
  const bytes = aligned(4 * words);
  const plus = input.end;
  const minus = plus + bytes;
  const candidates = minus + bytes;
  const list = candidates + bytes;
  // Room for what the list usually holds: growing the memory bit by bit costs more.
  kernel.reach(list + Math.ceil(elements * USUAL_CANDIDATE_BYTES));
  calls.split_begin(list, Math.max(MIN_SAMPLED_ELEMENTS, Math.floor(elements * MAX_CANDIDATE_SHARE)));
  for (const { base, baseDtype, tune, tuneDtype, from, count } of input.pieces()) {
    const [p, m, c] = [plus + from / 8, minus + from / 8, candidates + from / 8];
    const bad = calls.split(base, baseDtype, tune, tuneDtype, count, bracket.low, bracket.high, p, m, c);
    // Too many are alike. The other passes need no list.
    if (bad === -2) return null;
    if (bad === -3) throw outOfMemory(kernel.bytes);
    if (bad >= 0) return { bad: from + bad, masks: { plus, minus, elements, nnz: 0, end: list }, magnitudes: 0 };
  }
  const left = keep - calls.split_above();
  const found = calls.split_candidates();
  // With zero as the lower end every entry that can be kept was seen, so there may be fewer than asked for.
  if (left <= 0 || (found < left && bracket.low > 0)) return null;
  const threshold = left > found ? 0 : calls.split_select(left, bracket.low, bracket.high);
  const nnz = calls.split_settle(words, threshold, calls.split_ties(), plus, minus, candidates);
  return { bad: -1, masks: { plus, minus, elements, nnz, end: candidates }, magnitudes: calls.split_sum() };
}

/** Every entry that is not zero. A NaN or an infinity ends the pass whatever the bracket. */
const EVERYTHING = { low: 0, high: 0x7fffffff };

/** Magnitude bits: the threshold should lie above `low`, at or below `high`. Null when the sample has a NaN or infinity. */
function bracketOf(kernel: Kernel, input: SampledElements, share: number): { low: number; high: number } | null {
  const { calls } = kernel;
  calls.select_begin();
  let size = 0;
  for (const { base, baseDtype, tune, tuneDtype, count } of input.sample()) {
    if (calls.measure(base, baseDtype, tune, tuneDtype, count, 0) >= 0) return null;
    size += count;
  }
  calls.measure_end();
  const upper = kernel.u32(calls.upper_counts(), UPPER_BUCKETS);
  const rank = share * size;
  const margin = RANK_MARGIN * Math.sqrt(rank * (1 - share)) + 1;
  const lowest = locate(upper, Math.min(size, Math.ceil(rank + margin))).bucket;
  const highest = locate(upper, Math.max(1, Math.floor(rank - margin))).bucket;
  return { low: Math.max(0, lowest * LOWER_BUCKETS - 1), high: highest * LOWER_BUCKETS + LOWER_BUCKETS - 1 };
}
