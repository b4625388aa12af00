import { FREQUENCY_TOTAL, type LevelTable, RowScan, STATE_LOW } from './ans-model.ts';
import { CodecError } from './errors.ts';
import { maskWords } from './ternary.ts';
import type { AnsModel, PayloadSection } from './types.ts';

/**
 * Decodes one section of coding 1, in slices. Every state of the coder stands for something, so what is checked is the
 * end: exactly `nnz` entries, exactly the section's bytes, and the state that an encoder starts from.
 */
export class AnsDecoder {
  readonly plus: Uint32Array;
  readonly minus: Uint32Array;
  /** Entries decoded so far, and how many of them are negative. */
  entries = 0;
  negatives = 0;
  done = false;

  readonly #section: PayloadSection;
  readonly #bytes: Uint8Array;
  readonly #scan: RowScan;
  readonly #both: Uint32Array;
  readonly #half: number;
  #at = 4;
  #state: number;
  #steps = 0;
  #segment = 0;

  constructor(section: PayloadSection, model: AnsModel, bytes: Uint8Array, masks: boolean) {
    this.#section = section;
    this.#half = masks ? maskWords(section.elements) : 0;
    this.#both = new Uint32Array(2 * this.#half);
    this.plus = this.#both.subarray(0, this.#half);
    this.minus = this.#both.subarray(this.#half);
    this.#scan = new RowScan(section.elements, section.nnz, model);
    // Two bytes beyond the end: a symbol reads at most that many, and its segment is refused afterwards.
    this.#bytes = new Uint8Array(bytes.length + 2);
    this.#bytes.set(bytes);
    this.#state = new DataView(this.#bytes.buffer).getUint32(0);
    if (this.#state < STATE_LOW || this.#state >= 2 ** 31) {
      this.#fail('BAD_CODER_STATE', 'its code does not begin with a state of the coder');
    }
    this.#scan.nextRow();
  }

  /**
   * Decodes segments until about `limit` symbols were read, and returns how many were. After the last segment it
   * checks the section's end.
   * @throws CodecError BAD_SECTION_LENGTH, BAD_COUNT, BAD_CODER_STATE
   */
  run(limit: number): number {
    const scan = this.#scan;
    const { nnz, byteLength } = this.#section;
    const before = this.#steps;
    while (!this.done && this.#steps - before < limit) {
      const found = this.#decode(scan.table(this.#segment));
      this.entries += found;
      if (this.#at > byteLength) this.#fail('BAD_SECTION_LENGTH', 'its code ends before its last entry');
      if (this.entries > nnz) this.#fail('BAD_COUNT', `its code has more than ${nnz} entries`);
      scan.report(this.#segment, found);
      this.#segment++;
      if (this.#segment === scan.segments) {
        this.#segment = 0;
        if (!scan.nextRow()) this.#finish();
      }
    }
    return this.#steps - before;
  }

  /** Decodes one segment and returns its entries. */
  #decode({ cumulative, lookup, longest }: LevelTable): number {
    const { rowStart, columns, counts, starts } = this.#scan;
    const bytes = this.#bytes;
    const both = this.#both;
    const half = this.#half;
    const end = starts[this.#segment + 1]!;
    let place = starts[this.#segment]!;
    let x = this.#state;
    let at = this.#at;
    let steps = 0;
    let entries = 0;
    let negatives = 0;
    while (place < end) {
      steps++;
      const slot = x & (FREQUENCY_TOTAL - 1);
      let symbol = lookup[slot >>> 5]!;
      while (cumulative[symbol + 1]! <= slot) symbol++;
      const rest = end - place;
      if (symbol >= rest) {
        // All gaps that lead out of the segment are one symbol: no more entries here.
        const start = cumulative[rest]!;
        x = (FREQUENCY_TOTAL - start) * (x >>> 15) + slot - start;
        place = end;
      } else {
        const start = cumulative[symbol]!;
        x = (cumulative[symbol + 1]! - start) * (x >>> 15) + slot - start;
        place += symbol;
        if (symbol !== longest) {
          const negative = x & 1;
          x >>>= 1;
          negatives += negative;
          entries++;
          let position = rowStart + place;
          if (columns !== null) {
            const column = columns[place]!;
            position = rowStart + column;
            if (counts !== null) counts[column]!++;
          }
          if (half > 0) both[(position >>> 5) + (half & -negative)]! |= 1 << (position & 31);
          place++;
        }
      }
      if (x < STATE_LOW) {
        x = (x << 8) | bytes[at++]!;
        if (x < STATE_LOW) x = (x << 8) | bytes[at++]!;
      }
    }
    this.#state = x;
    this.#at = at;
    this.#steps += steps;
    this.negatives += negatives;
    return entries;
  }

  #finish(): void {
    const { nnz, byteLength } = this.#section;
    if (this.entries !== nnz) this.#fail('BAD_COUNT', `its code has ${this.entries} entries, its header says ${nnz}`);
    if (this.#at !== byteLength) {
      this.#fail('BAD_SECTION_LENGTH', `its code takes ${this.#at} bytes, its header says ${byteLength}`);
    }
    if (this.#state !== STATE_LOW)
      this.#fail('BAD_CODER_STATE', 'its code does not end in the state that codes begin from');
    this.done = true;
  }

  #fail(code: 'BAD_SECTION_LENGTH' | 'BAD_COUNT' | 'BAD_CODER_STATE', why: string): never {
    throw new CodecError(code, `Payload section of tensor ${this.#section.index}: ${why}. The payload is damaged.`, {
      index: this.#section.index,
    });
  }
}
