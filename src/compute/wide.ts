/** Matrices seen with their shorter side first, so that the projection has one form for both. */

/** Entries on a side of the squares that a transposition goes through: 32 rows of 128 bytes stay in the first cache. */
const SQUARE = 32;

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

  /** Whether a panel is a part of `data` as it lies there. */
  get contiguous(): boolean {
    return !this.#tall;
  }

  /** Rows [start, end) as they lie in `data`. Only of a contiguous matrix. */
  view(start: number, end: number): Float32Array {
    return this.data.subarray(start * this.long, end * this.long);
  }

  /** Rows [start, end), which fill `panel`. */
  copyPanel(start: number, end: number, panel: Float32Array | Float64Array): void {
    if (!this.#tall) {
      panel.set(this.view(start, end));
      return;
    }
    const { data, short, long } = this;
    for (let j0 = 0; j0 < long; j0 += SQUARE) {
      const j1 = Math.min(j0 + SQUARE, long);
      for (let i = start; i < end; i++) {
        const row = (i - start) * long;
        for (let j = j0; j < j1; j++) panel[row + j] = data[j * short + i]!;
      }
    }
  }

  /**
   * Adds C = factor * panel to rows [start, end), rounded once to float32.
   *
   * @returns what <S, C> and |C|^2 are on these rows, S being the entries before
   */
  addPanel(
    start: number,
    end: number,
    panel: Float32Array | Float64Array,
    factor: number,
  ): { inner: number; squares: number } {
    const { data, short, long } = this;
    let inner = 0;
    let squares = 0;
    if (!this.#tall) {
      const offset = start * long;
      for (let i = 0; i < panel.length; i++) {
        const before = data[offset + i]!;
        const change = factor * panel[i]!;
        inner += before * change;
        squares += change * change;
        data[offset + i] = before + change;
      }
      return { inner, squares };
    }
    for (let j0 = 0; j0 < long; j0 += SQUARE) {
      const j1 = Math.min(j0 + SQUARE, long);
      for (let i = start; i < end; i++) {
        const row = (i - start) * long;
        for (let j = j0; j < j1; j++) {
          const before = data[j * short + i]!;
          const change = factor * panel[row + j]!;
          inner += before * change;
          squares += change * change;
          data[j * short + i] = before + change;
        }
      }
    }
    return { inner, squares };
  }
}

/** Half-open ranges that cut `count` rows into runs of `size`: a function of the shape alone, so results repeat. */
export function* panels(count: number, size: number): Generator<readonly [number, number]> {
  for (let start = 0; start < count; start += size) yield [start, Math.min(start + size, count)];
}

/** Columns [start, end) of a rows x columns matrix, as the rows of `out`. */
export function copyColumns(
  matrix: Float64Array,
  rows: number,
  columns: number,
  [start, end]: readonly [number, number],
  out: Float32Array | Float64Array,
): void {
  for (let i = 0; i < rows; i++) {
    for (let j = start; j < end; j++) out[(j - start) * rows + i] = matrix[i * columns + j]!;
  }
}
