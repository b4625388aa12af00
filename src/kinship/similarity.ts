import type { PayloadMeasure, TensorMeasure } from '../codec/types.ts';
import type { PairCounts } from './counts.ts';
import { KinshipError } from './errors.ts';

/**
 * How related two task vectors are. `cosine` and `pearson` are signed, in [-1, 1], and null where they are undefined;
 * `euclidean` is the distance, smaller meaning closer.
 */
export interface Similarity {
  readonly cosine: number | null;
  readonly pearson: number | null;
  readonly euclidean: number;
}

/** One tensor that both payloads code. */
interface CommonTensor {
  readonly a: TensorMeasure;
  readonly b: TensorMeasure;
  /** Σ K_a · K_b. */
  readonly inner: number;
}

/**
 * Joins the counts of a pair with the two measures they came from.
 *
 * @throws KinshipError TABLE_MISMATCH, COUNTS_MISMATCH
 */
export function* commonTensors(a: PayloadMeasure, b: PayloadMeasure, counts: PairCounts): Generator<CommonTensor> {
  if (a.elements !== b.elements) {
    throw new KinshipError(
      'TABLE_MISMATCH',
      `The payloads cover ${a.elements} and ${b.elements} elements: compare payloads of one charter.`,
      { elements: [a.elements, b.elements] },
    );
  }
  const inB = new Map(b.tensors.map((tensor) => [tensor.index, tensor]));
  const counted = counts.tensors[Symbol.iterator]();
  for (const left of a.tensors) {
    const right = inB.get(left.index);
    if (right === undefined) continue;
    const next = counted.next();
    const pair = next.done ? undefined : next.value;
    // |K| ≤ K² for integers, so the sum of products is at most the one's peak times the other's squares.
    const most = Math.min(left.peak * right.squares, right.peak * left.squares);
    if (pair === undefined || pair.index !== left.index || Math.abs(pair.inner) > most) {
      throw countsMismatch(left.index);
    }
    yield { a: left, b: right, inner: pair.inner };
  }
  const rest = counted.next();
  if (!rest.done) throw countsMismatch(rest.value.index);
}

function countsMismatch(index: number): KinshipError {
  return new KinshipError(
    'COUNTS_MISMATCH',
    `The counts of tensor ${index} do not belong to these two payloads: count the pair again.`,
    { index },
  );
}

/**
 * Cosine, Pearson correlation and Euclidean distance of two updates from their integers (docs/algorithms.md D.2).
 *
 * Decisions of every node rest on these values, so the arithmetic is fixed: + - * / sqrt on float64 scalars, tensors in
 * table order. The result is symmetric in a and b, bit by bit.
 *
 * @throws KinshipError TABLE_MISMATCH, COUNTS_MISMATCH
 */
export function similarity(a: PayloadMeasure, b: PayloadMeasure, counts: PairCounts): Similarity {
  let inner = 0;
  for (const common of commonTensors(a, b, counts)) inner += common.a.scale * common.b.scale * common.inner;
  const squaresA = sumOfSquares(a);
  const squaresB = sumOfSquares(b);
  return {
    // sqrt(x · x) is x exactly, so an update has cosine 1 with its copy and -1 with its negative, and not nearly so.
    cosine: squaresA > 0 && squaresB > 0 ? clamp(inner / Math.sqrt(squaresA * squaresB)) : null,
    pearson: pearson(a, squaresA, b, squaresB, inner),
    euclidean: Math.sqrt(Math.max(0, squaresA + squaresB - 2 * inner)),
  };
}

function sumOfSquares(measure: PayloadMeasure): number {
  let sum = 0;
  for (const { scale, squares } of measure.tensors) sum += scale * scale * squares;
  return sum;
}

function pearson(
  a: PayloadMeasure,
  squaresA: number,
  b: PayloadMeasure,
  squaresB: number,
  inner: number,
): number | null {
  if (isConstant(a) || isConstant(b)) return null;
  const d = a.elements;
  const meanA = sumOfEntries(a) / d;
  const meanB = sumOfEntries(b) / d;
  const varianceA = squaresA / d - meanA * meanA;
  const varianceB = squaresB / d - meanB * meanB;
  // A vector that differs from a constant one in a few of very many entries can lose its variance to rounding.
  if (!(varianceA > 0 && varianceB > 0)) return null;
  return clamp((inner / d - meanA * meanB) / Math.sqrt(varianceA * varianceB));
}

function sumOfEntries(measure: PayloadMeasure): number {
  let sum = 0;
  for (const tensor of measure.tensors) sum += tensor.scale * tensor.sum;
  return sum;
}

/**
 * Whether every entry of the whole vector has one value; decided on integers, because a variance would be rounded. By
 * Cauchy and Schwarz a tensor of d elements has (Σ K)² ≤ d · Σ K², and = exactly when all its K are equal.
 */
function isConstant(measure: PayloadMeasure): boolean {
  const coded = measure.tensors.filter(({ squares }) => squares > 0);
  if (coded.length === 0) return true;
  let elements = 0n;
  const values = new Set<number>();
  for (const { scale, sum, squares } of coded) {
    const [total, square] = [BigInt(sum), BigInt(squares)];
    // All equal to k means Σ K = d · k and Σ K² = d · k², so both divisions leave nothing.
    if (total === 0n || (total * total) % square !== 0n || square % total !== 0n) return false;
    elements += (total * total) / square;
    values.add(scale * Number(square / total));
  }
  return values.size === 1 && elements === BigInt(measure.elements);
}

/** Rounding can leave a ratio one step outside [-1, 1]. */
function clamp(ratio: number): number {
  return Math.min(1, Math.max(-1, ratio));
}

/** The similarity of a set of vectors: the mean over all its pairs; undefined as soon as one pair is (D.1). */
export function meanSimilarity(pairs: readonly Similarity[]): {
  readonly cosine: number | null;
  readonly pearson: number | null;
  readonly euclidean: number | null;
} {
  return {
    cosine: mean(pairs.map((pair) => pair.cosine)),
    pearson: mean(pairs.map((pair) => pair.pearson)),
    euclidean: mean(pairs.map((pair) => pair.euclidean)),
  };
}

function mean(values: readonly (number | null)[]): number | null {
  let sum = 0;
  for (const value of values) {
    if (value === null) return null;
    sum += value;
  }
  return values.length === 0 ? null : sum / values.length;
}
