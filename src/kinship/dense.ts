import { KinshipError } from './errors.ts';
import type { Similarity } from './similarity.ts';

/** Two-pass sums over blocks of this many entries, merged pairwise: the block of docs/algorithms.md A. */
const BLOCK = 65_536;

/** A similarity averaged over tensors; null where no tensor defines it. */
export interface SplitSimilarity {
  readonly cosine: number | null;
  readonly pearson: number | null;
  readonly euclidean: number | null;
}

export interface DensePair {
  /** Indices of the two vectors, the smaller first. */
  readonly pair: readonly [number, number];
  /** Over the whole flattened vectors. */
  readonly whole: Similarity;
  /** Per tensor, averaged with weight = element count, undefined tensors skipped (D.3, `--split-calculation`). */
  readonly split: SplitSimilarity;
}

/**
 * Kinship of uncompressed task vectors, tensor by tensor, so that memory follows the largest tensor. Float64
 * arithmetic on float32 entries, for people to look at: admission never reads it.
 */
export class DenseKinship {
  readonly #vectors: number;
  readonly #pairs: DensePairing[] = [];

  /** @param vectors - how many task vectors are compared */
  constructor(vectors: number) {
    this.#vectors = vectors;
    for (let i = 0; i < vectors; i++) {
      for (let j = i + 1; j < vectors; j++) this.#pairs.push(new DensePairing(i, j));
    }
  }

  /**
   * Takes the next tensor of every vector, flattened.
   *
   * @param tensors - one array per vector, all of one length
   * @throws KinshipError TABLE_MISMATCH, NOT_FINITE
   */
  add(tensors: readonly Float32Array[]): void {
    const lengths = tensors.map((tensor) => tensor.length);
    if (lengths.length !== this.#vectors || lengths.some((length) => length !== lengths[0])) {
      throw new KinshipError(
        'TABLE_MISMATCH',
        `A tensor needs ${this.#vectors} arrays of one length, not lengths ${lengths.join(', ')}: compare task vectors of one base.`,
        { lengths },
      );
    }
    for (const [vector, tensor] of tensors.entries()) {
      const entry = tensor.findIndex((value) => !Number.isFinite(value));
      if (entry >= 0) {
        throw new KinshipError('NOT_FINITE', `Task vector ${vector} holds ${tensor[entry]} at entry ${entry}.`, {
          vector,
          entry,
        });
      }
    }
    for (const pair of this.#pairs) pair.add(tensors[pair.i]!, tensors[pair.j]!);
  }

  /** Every pair i < j, in that order. */
  result(): DensePair[] {
    return this.#pairs.map((pair) => pair.result());
  }
}

class DensePairing {
  readonly i: number;
  readonly j: number;
  readonly #whole = new Moments();
  readonly #split = { cosine: new WeightedMean(), pearson: new WeightedMean(), euclidean: new WeightedMean() };

  constructor(i: number, j: number) {
    this.i = i;
    this.j = j;
  }

  add(a: Float32Array, b: Float32Array): void {
    if (a.length === 0) return;
    const tensor = new Moments();
    for (let from = 0; from < a.length; from += BLOCK) {
      tensor.merge(Moments.of(a.subarray(from, from + BLOCK), b.subarray(from, from + BLOCK)));
    }
    this.#whole.merge(tensor);
    const { cosine, pearson, euclidean } = tensor.similarity();
    this.#split.cosine.add(cosine, a.length);
    this.#split.pearson.add(pearson, a.length);
    this.#split.euclidean.add(euclidean, a.length);
  }

  result(): DensePair {
    return {
      pair: [this.i, this.j],
      whole: this.#whole.similarity(),
      split: {
        cosine: this.#split.cosine.value(),
        pearson: this.#split.pearson.value(),
        euclidean: this.#split.euclidean.value(),
      },
    };
  }
}

class WeightedMean {
  #sum = 0;
  #weight = 0;

  add(value: number | null, weight: number): void {
    if (value === null) return;
    this.#sum += value * weight;
    this.#weight += weight;
  }

  value(): number | null {
    return this.#weight === 0 ? null : this.#sum / this.#weight;
  }
}

/** Smallest and largest entry tell a constant vector exactly, which a rounded variance does not. */
interface Range {
  min: number;
  max: number;
}

/**
 * First and second moments of two vectors. Pearson's sums are kept centred and merged with the means' difference
 * (Chan, Golub and LeVeque 1979), because Σx² - (Σx)²/n cancels when a mean is large.
 */
class Moments {
  #n = 0;
  #meanA = 0;
  #meanB = 0;
  #centredAA = 0;
  #centredBB = 0;
  #centredAB = 0;
  #dotAA = 0;
  #dotBB = 0;
  #dotAB = 0;
  #distance = 0;
  #rangeA: Range = { min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY };
  #rangeB: Range = { min: Number.POSITIVE_INFINITY, max: Number.NEGATIVE_INFINITY };

  static of(a: Float32Array, b: Float32Array): Moments {
    const moments = new Moments();
    let [sumA, sumB, dotAA, dotBB, dotAB, distance] = [0, 0, 0, 0, 0, 0];
    let [minA, maxA, minB, maxB] = [a[0]!, a[0]!, b[0]!, b[0]!];
    for (let k = 0; k < a.length; k++) {
      const x = a[k]!;
      const y = b[k]!;
      sumA += x;
      sumB += y;
      dotAA += x * x;
      dotBB += y * y;
      dotAB += x * y;
      distance += (x - y) * (x - y);
      if (x < minA) minA = x;
      if (x > maxA) maxA = x;
      if (y < minB) minB = y;
      if (y > maxB) maxB = y;
    }
    const meanA = sumA / a.length;
    const meanB = sumB / a.length;
    let [centredAA, centredBB, centredAB] = [0, 0, 0];
    for (let k = 0; k < a.length; k++) {
      const x = a[k]! - meanA;
      const y = b[k]! - meanB;
      centredAA += x * x;
      centredBB += y * y;
      centredAB += x * y;
    }
    moments.#n = a.length;
    moments.#meanA = meanA;
    moments.#meanB = meanB;
    moments.#centredAA = centredAA;
    moments.#centredBB = centredBB;
    moments.#centredAB = centredAB;
    moments.#dotAA = dotAA;
    moments.#dotBB = dotBB;
    moments.#dotAB = dotAB;
    moments.#distance = distance;
    moments.#rangeA = { min: minA, max: maxA };
    moments.#rangeB = { min: minB, max: maxB };
    return moments;
  }

  merge(other: Moments): void {
    const n = this.#n + other.#n;
    const shiftA = other.#meanA - this.#meanA;
    const shiftB = other.#meanB - this.#meanB;
    const weight = (this.#n * other.#n) / n;
    this.#centredAA += other.#centredAA + shiftA * shiftA * weight;
    this.#centredBB += other.#centredBB + shiftB * shiftB * weight;
    this.#centredAB += other.#centredAB + shiftA * shiftB * weight;
    this.#meanA += (shiftA * other.#n) / n;
    this.#meanB += (shiftB * other.#n) / n;
    this.#dotAA += other.#dotAA;
    this.#dotBB += other.#dotBB;
    this.#dotAB += other.#dotAB;
    this.#distance += other.#distance;
    this.#rangeA = join(this.#rangeA, other.#rangeA);
    this.#rangeB = join(this.#rangeB, other.#rangeB);
    this.#n = n;
  }

  similarity(): Similarity {
    const varied = this.#rangeA.min < this.#rangeA.max && this.#rangeB.min < this.#rangeB.max;
    return {
      cosine: ratio(this.#dotAB, this.#dotAA, this.#dotBB),
      pearson: varied ? ratio(this.#centredAB, this.#centredAA, this.#centredBB) : null,
      euclidean: Math.sqrt(this.#distance),
    };
  }
}

function join(a: Range, b: Range): Range {
  return { min: Math.min(a.min, b.min), max: Math.max(a.max, b.max) };
}

function ratio(inner: number, squaresA: number, squaresB: number): number | null {
  if (!(squaresA > 0 && squaresB > 0)) return null;
  return Math.min(1, Math.max(-1, inner / Math.sqrt(squaresA * squaresB)));
}
