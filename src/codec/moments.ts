import { SUM_BLOCK } from './limits.ts';

/**
 * Float64 sum over a vector that arrives in pieces: blocks of 65,536 entries, counted from the vector's start, are
 * summed first (docs/algorithms.md A), so the value does not depend on how the vector was cut into tensors or slices.
 */
export class BlockSum {
  #total = 0;
  #block = 0;
  #filled = 0;

  /** Adds the values in [start, end). */
  add(values: Float32Array, start: number, end: number): void {
    this.#each(start, end, (from, to) => {
      let block = this.#block;
      for (let i = from; i < to; i++) block += values[i]!;
      this.#block = block;
    });
  }

  /** Adds the squared distances from `mean` of the values in [start, end). */
  addSquares(values: Float32Array, start: number, end: number, mean: number): void {
    this.#each(start, end, (from, to) => {
      let block = this.#block;
      for (let i = from; i < to; i++) {
        const distance = values[i]! - mean;
        block += distance * distance;
      }
      this.#block = block;
    });
  }

  get value(): number {
    return this.#total + this.#block;
  }

  #each(start: number, end: number, sum: (from: number, to: number) => void): void {
    for (let from = start; from < end; ) {
      const to = Math.min(end, from + SUM_BLOCK - this.#filled);
      sum(from, to);
      this.#filled += to - from;
      from = to;
      if (this.#filled === SUM_BLOCK) {
        this.#total += this.#block;
        this.#block = 0;
        this.#filled = 0;
      }
    }
  }
}

/** Sample standard deviation from Σ (x - mean)² over d entries: n-1 in the denominator, 0 below two entries. */
export function sampleDeviation(squares: number, d: number): number {
  return d < 2 ? 0 : Math.sqrt(squares / (d - 1));
}
