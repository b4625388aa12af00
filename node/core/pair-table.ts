import type { CID } from 'multiformats/cid';
import type { Pair } from '../../src/kinship/index.ts';

/** Two payloads and how they compare. */
export interface PairEntry {
  readonly a: CID;
  readonly b: CID;
  readonly pair: Pair;
}

/** The comparisons of one payload with those that were numbered before it, ascending by their number. */
interface Row {
  length: number;
  others: Uint32Array;
  /** NaN for an undefined one. */
  cosines: Float64Array;
  /** A fixed-point product has 66 bits: its low 64 and what is above them. */
  low: BigUint64Array;
  high: Int8Array;
}

const FIRST_CAPACITY = 4;

/**
 * Comparisons by pair of payloads, in some 25 bytes each: a thousand accepted updates make half a million of them.
 * Symmetric: the order of the two does not matter.
 */
export class PairTable {
  readonly #numbers = new Map<string, number>();
  readonly #rows: Row[] = [];
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get(a: CID, b: CID): Pair | undefined {
    const left = this.#numbers.get(a.toString());
    const right = this.#numbers.get(b.toString());
    if (left === undefined || right === undefined) return undefined;
    const row = this.#rows[Math.max(left, right)]!;
    const other = Math.min(left, right);
    const at = search(row, other);
    if (at === row.length || row.others[at] !== other) return undefined;
    const cosine = row.cosines[at]!;
    return {
      cosine: Number.isNaN(cosine) ? null : cosine,
      fixed: (BigInt(row.high[at]!) << 64n) | row.low[at]!,
    };
  }

  /** A pair that is there already stays as it is: it can never change. */
  set({ a, b, pair }: PairEntry): void {
    const left = this.#number(a);
    const right = this.#number(b);
    const row = this.#rows[Math.max(left, right)]!;
    const other = Math.min(left, right);
    const at = search(row, other);
    if (at < row.length && row.others[at] === other) return;
    if (row.length === row.others.length) grow(row);
    for (const column of [row.others, row.cosines, row.low, row.high]) column.copyWithin(at + 1, at, row.length);
    row.others[at] = other;
    row.cosines[at] = pair.cosine ?? Number.NaN;
    row.low[at] = BigInt.asUintN(64, pair.fixed);
    row.high[at] = Number(pair.fixed >> 64n);
    row.length++;
    this.#size++;
  }

  #number(payload: CID): number {
    const key = payload.toString();
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#rows.length;
    this.#numbers.set(key, number);
    this.#rows.push(emptyRow(0));
    return number;
  }
}

/** Where the number stands in the row, or would. Mostly it comes last. */
function search({ others, length }: Row, number: number): number {
  let low = 0;
  let high = length;
  if (length > 0 && others[length - 1]! < number) return length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (others[middle]! < number) low = middle + 1;
    else high = middle;
  }
  return low;
}

function emptyRow(capacity: number): Row {
  return {
    length: 0,
    others: new Uint32Array(capacity),
    cosines: new Float64Array(capacity),
    low: new BigUint64Array(capacity),
    high: new Int8Array(capacity),
  };
}

function grow(row: Row): void {
  // By a half: what is allocated and unused stays small beside what is used.
  const larger = emptyRow(Math.max(FIRST_CAPACITY, Math.ceil(row.others.length * 1.5)));
  larger.others.set(row.others);
  larger.cosines.set(row.cosines);
  larger.low.set(row.low);
  larger.high.set(row.high);
  Object.assign(row, { ...larger, length: row.length });
}
