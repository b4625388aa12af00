import { maskWords } from './ternary.ts';
import type { TernaryTensor } from './types.ts';

/**
 * Exact top-k without sorting and without holding the vector (docs/algorithms.md B.1): magnitudes of float32 order as
 * their bit patterns do. One pass counts the upper 15 magnitude bits, a second the lower 16 inside the one bucket that
 * holds the threshold; that gives the exact threshold and how many entries equal to it are kept.
 */
const MAGNITUDE = 0x7fffffff;
const INFINITY_BITS = 0x7f800000;

export function magnitudeBits(values: Float32Array): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset, values.length);
}

/** Entries to keep: all with magnitude bits above `threshold`, and the first `ties` of those equal to it. */
export interface Threshold {
  readonly threshold: number;
  readonly ties: number;
}

/** How many entries density `k` keeps of `d`, zeros among them not yet left out. */
export function keepCount(k: number, d: number): number {
  return Math.max(1, Math.floor(k * d));
}

export class TopK {
  readonly #keep: number;
  readonly #upper = new Float64Array(1 << 15);
  readonly #lower = new Float64Array(1 << 16);
  #bucket = -1;
  #above = 0;

  constructor(keep: number) {
    this.#keep = keep;
  }

  /** First pass. Returns the position of the first NaN or infinity, or -1. */
  countUpper(values: Float32Array, start: number, end: number): number {
    const bits = magnitudeBits(values);
    const upper = this.#upper;
    for (let i = start; i < end; i++) {
      const magnitude = bits[i]! & MAGNITUDE;
      if (magnitude >= INFINITY_BITS) return i;
      upper[magnitude >>> 16]!++;
    }
    return -1;
  }

  /** Between the passes: finds the bucket in which the last kept entry lies. */
  locate(): void {
    let above = 0;
    let bucket = this.#upper.length - 1;
    while (bucket > 0 && above + this.#upper[bucket]! < this.#keep) above += this.#upper[bucket--]!;
    this.#bucket = bucket;
    this.#above = above;
  }

  /** Second pass, over the same values. */
  countLower(values: Float32Array, start: number, end: number): void {
    const bits = magnitudeBits(values);
    const lower = this.#lower;
    const bucket = this.#bucket;
    for (let i = start; i < end; i++) {
      const magnitude = bits[i]! & MAGNITUDE;
      if (magnitude >>> 16 === bucket) lower[magnitude & 0xffff]!++;
    }
  }

  /** After the second pass. An exact zero is never kept, so the threshold stops above it. */
  threshold(): Threshold & { readonly kept: number } {
    let above = this.#above;
    let low = this.#lower.length - 1;
    while (low > 0 && above + this.#lower[low]! < this.#keep) above += this.#lower[low--]!;
    const threshold = this.#bucket * 65_536 + low;
    if (threshold === 0) return { threshold: 0, ties: 0, kept: above };
    const ties = Math.min(this.#keep - above, this.#lower[low]!);
    return { threshold, ties, kept: above + ties };
  }
}

/** Builds masks tensor by tensor; ties are kept in flat order until the allowance is used up. */
export class Ternariser {
  readonly #threshold: number;
  #ties: number;

  constructor({ threshold, ties }: Threshold) {
    this.#threshold = threshold;
    this.#ties = ties;
  }

  /** The kept entries of one tensor and the sum of their magnitudes; `tensor` is null when there are none. */
  take(index: number, values: Float32Array, scale: number): { tensor: TernaryTensor | null; magnitudes: number } {
    const bits = magnitudeBits(values);
    const words = maskWords(values.length);
    const plus = new Uint32Array(words);
    const minus = new Uint32Array(words);
    const threshold = this.#threshold;
    let ties = this.#ties;
    let nnz = 0;
    let magnitudes = 0;
    for (let i = 0; i < bits.length; i++) {
      const magnitude = bits[i]! & MAGNITUDE;
      if (magnitude < threshold || magnitude === 0) continue;
      if (magnitude === threshold) {
        if (ties === 0) continue;
        ties--;
      }
      const mask = bits[i]! >>> 31 === 0 ? plus : minus;
      mask[i >>> 5]! |= 1 << (i & 31);
      magnitudes += Math.abs(values[i]!);
      nnz++;
    }
    this.#ties = ties;
    const tensor = nnz === 0 ? null : { index, elements: values.length, scale, plus, minus, nnz };
    return { tensor, magnitudes };
  }
}
