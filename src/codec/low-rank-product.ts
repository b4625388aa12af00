import { popcount32 } from './ternary.ts';
import type { LowRankTensor, SignMasks } from './types.ts';

/** Additions of the sparse way that take as long as one pair of 32-bit words in the dense way; measured. */
const ADDITIONS_PER_WORD = 3;

/**
 * The rows of K = left · right, one at a time: exact integers from -rank to rank. Where the factors are sparse, a row is
 * a sum of a few rows of the right factor; where they are dense, each entry is a count of bits in rank / 32 words. So
 * the time for an element is bounded by the rank, about 5 ns for each 32, and mostly 1 to 3 ns.
 */
export class ProductRows {
  /** The row that `load` computed last. */
  readonly values: Int16Array;
  readonly #left: EntryLists;
  readonly #right: EntryLists;
  readonly #dense: { readonly words: number; readonly rows: Uint32Array; readonly columns: Uint32Array } | null;

  constructor(t: LowRankTensor) {
    this.values = new Int16Array(t.columns);
    this.#left = listEntries(t.left, t.rows, t.rank);
    this.#right = listEntries(t.right, t.rank, t.columns);
    const words = Math.ceil(t.rank / 32);
    const isDense = additions(this.#left, this.#right) > ADDITIONS_PER_WORD * words * t.elements;
    this.#dense = isDense
      ? {
          words,
          rows: packRows(this.#left, t.rows, words),
          columns: packColumns(this.#right, t.rank, t.columns, words),
        }
      : null;
  }

  /** Computes one row of the product into `values`. */
  load(row: number): void {
    if (this.#dense === null) this.#add(row);
    else this.#count(row, this.#dense);
  }

  #add(row: number): void {
    const { values } = this;
    const { starts, places } = this.#left;
    values.fill(0);
    const middle = starts[2 * row + 1]!;
    const end = starts[2 * row + 2]!;
    for (let at = starts[2 * row]!; at < end; at++) {
      const k = places[at]!;
      const from = this.#right.starts[2 * k]!;
      const half = this.#right.starts[2 * k + 1]!;
      const to = this.#right.starts[2 * k + 2]!;
      const sign = at < middle ? 1 : -1;
      const columns = this.#right.places;
      for (let j = from; j < half; j++) values[columns[j]!]! += sign;
      for (let j = half; j < to; j++) values[columns[j]!]! -= sign;
    }
  }

  #count(row: number, { words, rows, columns }: { words: number; rows: Uint32Array; columns: Uint32Array }): void {
    const { values } = this;
    const first = 2 * words * row;
    let at = 0;
    for (let j = 0; j < values.length; j++) {
      let sum = 0;
      for (let w = 0; w < words; w++) {
        const lp = rows[first + 2 * w]!;
        const ln = rows[first + 2 * w + 1]!;
        const rp = columns[at++]!;
        const rn = columns[at++]!;
        sum += popcount32((lp & rp) | (ln & rn)) - popcount32((lp & rn) | (ln & rp));
      }
      values[j] = sum;
    }
  }
}

/**
 * Entries of a matrix of signs by rows: the columns of row i with + are `places[starts[2i] .. starts[2i + 1]]`, those
 * with - go on to `starts[2i + 2]`.
 */
interface EntryLists {
  readonly starts: Int32Array;
  readonly places: Int32Array;
}

function listEntries({ plus, minus, nnz }: SignMasks, rows: number, columns: number): EntryLists {
  const starts = new Int32Array(2 * rows + 1);
  // The lengths of the lists, each at the place of the next one's start, and then their sums.
  visit(plus, columns, (row) => {
    starts[2 * row + 1]!++;
  });
  visit(minus, columns, (row) => {
    starts[2 * row + 2]!++;
  });
  for (let i = 1; i < starts.length; i++) starts[i]! += starts[i - 1]!;
  const places = new Int32Array(nnz);
  const cursors = starts.slice(0, 2 * rows);
  visit(plus, columns, (row, column) => {
    places[cursors[2 * row]!++] = column;
  });
  visit(minus, columns, (row, column) => {
    places[cursors[2 * row + 1]!++] = column;
  });
  return { starts, places };
}

function visit(mask: Uint32Array, columns: number, entry: (row: number, column: number) => void): void {
  let row = 0;
  let rowStart = 0;
  for (let w = 0; w < mask.length; w++) {
    for (let bits = mask[w]!; bits !== 0; bits &= bits - 1) {
      let column = w * 32 + 31 - Math.clz32(bits & -bits) - rowStart;
      if (column >= columns) {
        const skipped = Math.floor(column / columns);
        row += skipped;
        rowStart += skipped * columns;
        column -= skipped * columns;
      }
      entry(row, column);
    }
  }
}

/** Additions that all rows of the product take: for each k, entries of left column k times those of right row k. */
function additions(left: EntryLists, right: EntryLists): number {
  let sum = 0;
  for (let at = 0; at < left.places.length; at++) {
    const k = left.places[at]!;
    sum += right.starts[2 * k + 2]! - right.starts[2 * k]!;
  }
  return sum;
}

/** Each row as `words` pairs of a word of plus bits and one of minus bits. */
function packRows(lists: EntryLists, rows: number, words: number): Uint32Array {
  const packed = new Uint32Array(2 * words * rows);
  for (let list = 0; list < 2 * rows; list++) {
    const first = 2 * words * (list >> 1) + (list & 1);
    for (let at = lists.starts[list]!; at < lists.starts[list + 1]!; at++) {
      const place = lists.places[at]!;
      packed[first + 2 * (place >> 5)]! |= 1 << (place & 31);
    }
  }
  return packed;
}

/** Each column likewise. */
function packColumns(lists: EntryLists, rows: number, columns: number, words: number): Uint32Array {
  const packed = new Uint32Array(2 * words * columns);
  for (let list = 0; list < 2 * rows; list++) {
    const row = list >> 1;
    const offset = 2 * (row >> 5) + (list & 1);
    for (let at = lists.starts[list]!; at < lists.starts[list + 1]!; at++) {
      packed[2 * words * lists.places[at]! + offset]! |= 1 << (row & 31);
    }
  }
  return packed;
}
