/** Memory for matrices in flight, handed to worker threads and back. */

export interface BufferPair {
  sum: ArrayBuffer;
  update: ArrayBuffer;
}

/** Bytes of an array below which it is made anew each time, 1 MiB: a bias must not keep a large matrix's memory. */
const SMALL_BYTES = 2 ** 20;

/**
 * Pairs of buffers that grow to the largest tensor they were used for. Not more pairs exist than are in use at once;
 * a pair that a failed job took with it is simply not given back.
 */
export class BufferPool {
  readonly #free: BufferPair[] = [];

  /** Two float32 arrays of `elements` entries with unspecified content. */
  take(elements: number): { sum: Float32Array<ArrayBuffer>; update: Float32Array<ArrayBuffer> } {
    const bytes = elements * Float32Array.BYTES_PER_ELEMENT;
    if (bytes < SMALL_BYTES) return { sum: new Float32Array(elements), update: new Float32Array(elements) };
    // The smallest that is large enough, else the largest, which is the least loss.
    const order = this.#free.sort((a, b) => a.sum.byteLength - b.sum.byteLength);
    const at = order.findIndex(({ sum }) => sum.byteLength >= bytes);
    const pair = order.splice(at, 1)[0] ?? { sum: new ArrayBuffer(0), update: new ArrayBuffer(0) };
    return { sum: fitted(pair.sum, elements), update: fitted(pair.update, elements) };
  }

  give(pair: { readonly sum: Float32Array<ArrayBuffer>; readonly update: Float32Array<ArrayBuffer> }): void {
    if (pair.sum.buffer.byteLength < SMALL_BYTES) return;
    this.#free.push({ sum: pair.sum.buffer, update: pair.update.buffer });
  }
}

function fitted(buffer: ArrayBuffer, elements: number): Float32Array<ArrayBuffer> {
  const bytes = elements * Float32Array.BYTES_PER_ELEMENT;
  return new Float32Array(buffer.byteLength >= bytes ? buffer : new ArrayBuffer(bytes), 0, elements);
}
