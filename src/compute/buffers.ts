/** Working memory of one thread, used again from step to step and from matrix to matrix. */

/** What was taken: a view of exactly the wanted length. */
export type Scratch = Float64Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

/**
 * Buffers that are handed out and given back. A garbage collector frees large arrays late, so a job that made new ones
 * at each step would hold several times what it needs.
 */
export class Buffers {
  readonly #free: ArrayBuffer[] = [];

  /** Entries are unspecified. */
  float64(length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(this.#take(length * Float64Array.BYTES_PER_ELEMENT), 0, length);
  }

  /** Entries are unspecified. */
  float32(length: number): Float32Array<ArrayBuffer> {
    return new Float32Array(this.#take(length * Float32Array.BYTES_PER_ELEMENT), 0, length);
  }

  give({ buffer }: Scratch): void {
    this.#free.push(buffer);
  }

  /** The smallest free one that is large enough. */
  #take(bytes: number): ArrayBuffer {
    let best = -1;
    for (const [i, { byteLength }] of this.#free.entries()) {
      if (byteLength >= bytes && (best < 0 || byteLength < this.#free[best]!.byteLength)) best = i;
    }
    return best < 0 ? new ArrayBuffer(bytes) : this.#free.splice(best, 1)[0]!;
  }
}
