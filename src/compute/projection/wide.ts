/** Matrices seen with their shorter side first, so that the projection has one form for both. */

/** Entries on a side of the squares that a transposition goes through: 32 rows of 128 bytes stay in the first cache. */
const SQUARE = 32;

/** A range of columns: from, and up to but not with. */
export type Range = readonly [number, number];

/** A rows x columns float32 matrix, row-major, as one of `short` rows and `long` columns. */
export class WideMatrix {
  readonly data: Float32Array;
  readonly short: number;
  readonly long: number;
  readonly #tall: boolean;

  constructor(data: Float32Array, rows: number, columns: number) {
    this.data = data;
    this.#tall = rows > columns;
    this.short = Math.min(rows, columns);
    this.long = Math.max(rows, columns);
  }

  /** A block of columns, short x (end - start), row-major. */
  copyBlock([start, end]: Range, block: Float32Array | Float64Array): void {
    const { data, short, long } = this;
    const width = end - start;
    if (!this.#tall) {
      for (let i = 0; i < short; i++) block.set(data.subarray(i * long + start, i * long + end), i * width);
      return;
    }
    // Eight rows of `data` at a time, written out: the compiler does not, and it halves the time.
    let j = start;
    for (; j + 8 <= end; j += 8) {
      for (let i = 0; i < short; i++) {
        const from = j * short + i;
        const to = i * width + j - start;
        block[to] = data[from]!;
        block[to + 1] = data[from + short]!;
        block[to + 2] = data[from + 2 * short]!;
        block[to + 3] = data[from + 3 * short]!;
        block[to + 4] = data[from + 4 * short]!;
        block[to + 5] = data[from + 5 * short]!;
        block[to + 6] = data[from + 6 * short]!;
        block[to + 7] = data[from + 7 * short]!;
      }
    }
    for (; j < end; j++) for (let i = 0; i < short; i++) block[i * width + j - start] = data[j * short + i]!;
  }

  /**
   * Adds C = factor * block to columns [start, end), rounded once to float32.
   *
   * @returns what <S, C> and |C|^2 are on these columns, S being the entries before
   */
  addBlock(
    [start, end]: Range,
    block: Float32Array | Float64Array,
    factor: number,
  ): { inner: number; squares: number } {
    const { data, short, long } = this;
    const width = end - start;
    let inner = 0;
    let squares = 0;
    // Written out twice: a function of these sums is not inlined, and takes three times as long.
    if (!this.#tall) {
      for (let i = 0; i < short; i++) {
        const at = i * long + start;
        for (let j = 0; j < width; j++) {
          const before = data[at + j]!;
          const change = factor * block[i * width + j]!;
          inner += before * change;
          squares += change * change;
          data[at + j] = before + change;
        }
      }
      return { inner, squares };
    }
    for (let j0 = start; j0 < end; j0 += SQUARE) {
      const j1 = Math.min(j0 + SQUARE, end);
      for (let i = 0; i < short; i++) {
        const row = i * width - start;
        for (let j = j0; j < j1; j++) {
          const before = data[j * short + i]!;
          const change = factor * block[row + j]!;
          inner += before * change;
          squares += change * change;
          data[j * short + i] = before + change;
        }
      }
    }
    return { inner, squares };
  }
}

/** Half-open ranges of at most `size` and about equal, in order: a function of the shape alone, so results repeat. */
export function ranges(count: number, size: number): Range[] {
  const parts = Math.ceil(count / Math.max(1, Math.floor(size)));
  const cut = (i: number) => Math.floor((i * count) / parts);
  return Array.from({ length: parts }, (_, i) => [cut(i), cut(i + 1)]);
}
