/** Working memory of one thread, used again from step to step and from matrix to matrix. */

/** What was taken: a view of exactly the wanted length. */
export type Scratch = Float64Array<ArrayBuffer> | Float32Array<ArrayBuffer>;

/**
 * Bytes of a slab, 64 MiB: more than any allocator keeps in a heap of its own (glibc: 32 MiB), so it comes from the
 * system and goes back there, and what of it is not used takes no memory.
 */
export const SLAB_BYTES = 64 * 2 ** 20;

/** Views begin at multiples of a cache line. */
const ALIGNMENT = 64;

/** A free range of a slab, in bytes. */
interface Gap {
  start: number;
  end: number;
}

interface Slab {
  readonly buffer: ArrayBuffer;
  /** Ascending; neighbours do not touch. */
  readonly gaps: Gap[];
  /** Ends of what is taken, by starts. */
  readonly taken: Map<number, number>;
}

/**
 * Memory that is handed out and given back. A garbage collector frees large arrays late and a heap is left with holes:
 * a job that made new arrays at each step would hold several times what it needs.
 */
export class Buffers {
  readonly #slabs: Slab[] = [];

  /** Entries are unspecified. */
  float64(length: number): Float64Array<ArrayBuffer> {
    const { buffer, start } = this.#take(length * Float64Array.BYTES_PER_ELEMENT);
    return new Float64Array(buffer, start, length);
  }

  /** Entries are unspecified. */
  float32(length: number): Float32Array<ArrayBuffer> {
    const { buffer, start } = this.#take(length * Float32Array.BYTES_PER_ELEMENT);
    return new Float32Array(buffer, start, length);
  }

  /**
   * Takes back what was handed out, also by a view of its first part. What came from elsewhere is left alone.
   *
   * @throws RangeError when it was given back before
   */
  give({ buffer, byteOffset }: Scratch): void {
    const at = this.#slabs.findIndex((slab) => slab.buffer === buffer);
    if (at < 0) return;
    const { gaps, taken } = this.#slabs[at]!;
    const end = taken.get(byteOffset);
    if (end === undefined) throw new RangeError('Working memory was given back twice.');
    taken.delete(byteOffset);
    insert(gaps, { start: byteOffset, end });
    // One slab of the usual size stays for the next job.
    const kept = at === 0 && buffer.byteLength === SLAB_BYTES;
    if (taken.size === 0 && !kept) this.#slabs.splice(at, 1);
  }

  /** Forgets all that was handed out: after a job that ended in its middle, when nothing of it runs any more. */
  reset(): void {
    this.#slabs.length = 0;
  }

  #take(bytes: number): { buffer: ArrayBuffer; start: number } {
    const size = aligned(bytes);
    for (const { buffer, gaps, taken } of this.#slabs) {
      const at = gaps.findIndex(({ start, end }) => end - start >= size);
      if (at < 0) continue;
      const gap = gaps[at]!;
      const { start } = gap;
      gap.start += size;
      if (gap.start === gap.end) gaps.splice(at, 1);
      taken.set(start, start + size);
      return { buffer, start };
    }
    const buffer = new ArrayBuffer(Math.max(SLAB_BYTES, size));
    this.#slabs.push({ buffer, gaps: [{ start: 0, end: buffer.byteLength }], taken: new Map() });
    return this.#take(bytes);
  }
}

function aligned(bytes: number): number {
  return Math.max(1, Math.ceil(bytes / ALIGNMENT)) * ALIGNMENT;
}

function insert(gaps: Gap[], { start, end }: Gap): void {
  let at = gaps.findIndex((gap) => gap.start >= end);
  if (at < 0) at = gaps.length;
  const before = gaps[at - 1];
  const after = gaps[at];
  const joinsBefore = before?.end === start;
  const joinsAfter = after?.start === end;
  if (joinsBefore && joinsAfter) {
    before.end = after.end;
    gaps.splice(at, 1);
  } else if (joinsBefore) before.end = end;
  else if (joinsAfter) after.start = start;
  else gaps.splice(at, 0, { start, end });
}
