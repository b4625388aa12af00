import { FREQUENCY_BITS, type LevelTable, RowScan, STATE_LOW } from './ans-model.ts';
import { maskWords } from './ternary.ts';
import type { AnsModel, TernaryTensor } from './types.ts';

/**
 * The code of a tensor under a model of coding 1. A range coder of the ANS kind decodes in the opposite order of
 * encoding: the symbols are collected first, 4 bytes each, and coded from the last to the first.
 */
export function encodeAns(t: TernaryTensor, model: AnsModel): Uint8Array {
  const scan = new RowScan(t.elements, t.nnz, model);
  const symbols = new SymbolList(t.nnz + (t.elements >>> 8) + 64);
  if (scan.columns === null) {
    // A row begins at a multiple of 65,536, so at the start of a word.
    while (scan.nextRow()) {
      const word = scan.rowStart >>> 5;
      addSegment(symbols, scan.table(0), t.plus.subarray(word), t.minus.subarray(word), 0, scan.starts[1]!);
    }
    return symbols.code();
  }
  const row = new OrderedRow(model.width);
  while (scan.nextRow()) {
    row.take(t, scan);
    for (let s = 0; s < scan.segments; s++) {
      const start = scan.starts[s]!;
      const end = scan.starts[s + 1]!;
      scan.report(s, addSegment(symbols, scan.table(s), row.plus, row.minus, start, end));
    }
  }
  return symbols.code();
}

/** The symbols of the entries in [start, end) of two masks; returns how many entries these are. */
function addSegment(
  symbols: SymbolList,
  table: LevelTable,
  plus: Uint32Array,
  minus: Uint32Array,
  start: number,
  end: number,
): number {
  let next = start;
  let entries = 0;
  for (let w = start >>> 5; w << 5 < end; w++) {
    let kept = plus[w]! | minus[w]!;
    if (w << 5 < start) kept &= -1 << (start & 31);
    if (end - (w << 5) < 32) kept &= ~(-1 << (end & 31));
    while (kept !== 0) {
      const lowest = kept & -kept;
      kept ^= lowest;
      const place = (w << 5) + 31 - Math.clz32(lowest);
      symbols.entry(table, place - next, (minus[w]! & lowest) === 0 ? 0 : 1);
      next = place + 1;
      entries++;
    }
  }
  symbols.end(table, end - next);
  return entries;
}

/** One row's entries in the scan's order of columns, as two masks. */
class OrderedRow {
  readonly plus: Uint32Array;
  readonly minus: Uint32Array;
  readonly #places: Uint32Array;

  constructor(width: number) {
    this.plus = new Uint32Array(maskWords(width));
    this.minus = new Uint32Array(maskWords(width));
    this.#places = new Uint32Array(width);
  }

  /** Also counts the entries per column, where the scan asks for it. */
  take({ plus, minus }: TernaryTensor, { rowStart, columns, counts, reordered }: RowScan): void {
    const places = this.#places;
    if (reordered) for (let i = 0; i < places.length; i++) places[columns![i]!] = i;
    this.plus.fill(0);
    this.minus.fill(0);
    const rowEnd = rowStart + places.length;
    // Positions stay below 2^31, the first position of a word after the last one may not: hence the division.
    for (let w = rowStart >>> 5; w < rowEnd / 32; w++) {
      let kept = plus[w]! | minus[w]!;
      const first = w * 32;
      if (first < rowStart) kept &= -1 << (rowStart & 31);
      if (rowEnd - first < 32) kept &= ~(-1 << (rowEnd & 31));
      while (kept !== 0) {
        const lowest = kept & -kept;
        kept ^= lowest;
        const column = first + 31 - Math.clz32(lowest) - rowStart;
        if (counts !== null) counts[column]!++;
        const place = places[column]!;
        const mask = (minus[w]! & lowest) === 0 ? this.plus : this.minus;
        mask[place >>> 5]! |= 1 << (place & 31);
      }
    }
  }
}

/** Symbols in the order of decoding, packed: 15 bits start, 15 bits frequency - 1, and 0, or 2 and the sign. */
class SymbolList {
  #packed: Uint32Array;
  #length = 0;

  constructor(capacity: number) {
    this.#packed = new Uint32Array(capacity);
  }

  /** `gap` zeros and then an entry, inside the segment. */
  entry({ cumulative, longest }: LevelTable, gap: number, negative: number): void {
    let rest = gap;
    for (; rest >= longest; rest -= longest) this.#push(cumulative[longest]!, cumulative[longest + 1]!, 0);
    this.#push(cumulative[rest]!, cumulative[rest + 1]!, 2 | negative);
  }

  /** `zeros` up to the end of the segment. */
  end({ cumulative, longest }: LevelTable, zeros: number): void {
    let rest = zeros;
    for (; rest > longest; rest -= longest) this.#push(cumulative[longest]!, cumulative[longest + 1]!, 0);
    if (rest > 0) this.#push(cumulative[rest]!, 1 << FREQUENCY_BITS, 0);
  }

  #push(start: number, end: number, kind: number): void {
    if (this.#length === this.#packed.length) {
      const more = new Uint32Array(2 * this.#length);
      more.set(this.#packed);
      this.#packed = more;
    }
    this.#packed[this.#length++] = (start << 17) | ((end - start - 1) << 2) | kind;
  }

  code(): Uint8Array {
    const packed = this.#packed;
    // A symbol takes at most 16 bits, and the state four bytes; most take far less, so the buffer grows.
    let out = new Uint8Array(Math.ceil(this.#length / 2) + 64);
    let at = out.length;
    let x = STATE_LOW;
    for (let i = this.#length - 1; i >= 0; i--) {
      if (at < 8) {
        const more = new Uint8Array(2 * out.length);
        more.set(out.subarray(at), at + out.length);
        at += out.length;
        out = more;
      }
      const symbol = packed[i]!;
      const frequency = ((symbol >>> 2) & 0x7fff) + 1;
      const bits = (symbol >>> 1) & 1;
      const limit = frequency * 2 ** (16 - bits);
      while (x >= limit) {
        out[--at] = x & 255;
        x >>>= 8;
      }
      if (bits === 1) x = (x << 1) | (symbol & 1);
      const quotient = (x / frequency) | 0;
      x = (quotient << FREQUENCY_BITS) + (x - quotient * frequency) + (symbol >>> 17);
    }
    at -= 4;
    new DataView(out.buffer).setUint32(at, x);
    return out.slice(at);
  }
}
