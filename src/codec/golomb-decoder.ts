import { CodecError } from './errors.ts';
import { swapWords } from './section-bits.ts';
import { remainderWidth } from './size.ts';
import { maskWords } from './ternary.ts';
import type { PayloadSection } from './types.ts';

/**
 * Decodes one section of coding 0 in slices, so that a huge tensor does not hold the event loop. Everything is checked: positions
 * below `elements` (they ascend by construction), unary runs, exactly `nnz` entries, the exact length, zero padding.
 * Without masks it only counts, and then allocates nothing but a copy of the section's bytes.
 */
export class GolombDecoder {
  readonly plus: Uint32Array;
  readonly minus: Uint32Array;
  /** Entries decoded so far, and how many of them are negative. */
  entries = 0;
  negatives = 0;

  readonly #section: PayloadSection;
  readonly #words: Uint32Array;
  readonly #both: Uint32Array;
  readonly #maskWords: number;
  #word = 0;
  #bit = 0;
  #next = 0;

  constructor(section: PayloadSection, bytes: Uint8Array, masks: boolean) {
    this.#section = section;
    // Two words beyond the end: the loop looks at 32 bits from any bit of the section.
    this.#words = new Uint32Array(Math.ceil(bytes.length / 4) + 2);
    const view = new Uint8Array(this.#words.buffer);
    view.set(bytes);
    swapWords(view);
    this.#maskWords = masks ? maskWords(section.elements) : 0;
    this.#both = new Uint32Array(2 * this.#maskWords);
    this.plus = this.#both.subarray(0, this.#maskWords);
    this.minus = this.#both.subarray(this.#maskWords);
  }

  get done(): boolean {
    return this.entries === this.#section.nnz;
  }

  /**
   * Decodes up to `limit` more entries and returns how many; after the last one it checks the section's end.
   * @throws CodecError POSITION_RANGE, BAD_SECTION_LENGTH, BAD_PADDING
   */
  run(limit: number): number {
    const { elements, nnz, golombM: m } = this.#section;
    const width = remainderWidth(m);
    const short = 2 ** width - m;
    const words = this.#words;
    const both = this.#both;
    const half = this.#maskWords;
    const store = half > 0;
    const end = words.length - 2;
    const before = this.entries;
    const stop = Math.min(nnz, before + limit);
    let word = this.#word;
    let bit = this.#bit;
    let next = this.#next;
    let negatives = this.negatives;
    for (let entry = before; entry < stop; entry++) {
      if (word >= end) this.#fail('BAD_SECTION_LENGTH', 'its bits end before its last entry');
      let window = (words[word]! << bit) | ((words[word + 1]! >>> 1) >>> (31 - bit));
      let quotient = Math.clz32(window);
      let remainder = 0;
      let sign: number;
      if (quotient + width <= 30) {
        // The whole entry is in the window: quotient + 1 + width + 1 bits at most.
        let used = quotient + 1;
        if (width !== 0) {
          const long = (window << used) >>> (32 - width);
          const candidate = long >>> 1;
          // 1 where the shorter remainder applies; without a branch, because it is as good as random.
          const isShort = (candidate - short) >>> 31;
          remainder = candidate + ((long - short - candidate) & (isShort - 1));
          used += width - isShort;
        }
        sign = (window << used) >>> 31;
        bit += used + 1;
        word += bit >>> 5;
        bit &= 31;
      } else {
        let zeros = 0;
        while (window === 0) {
          zeros += 32;
          word++;
          if (zeros > elements) this.#fail('POSITION_RANGE', 'a unary run leads past the end of the tensor');
          if (word >= end) this.#fail('BAD_SECTION_LENGTH', 'its bits end inside a unary run');
          window = (words[word]! << bit) | ((words[word + 1]! >>> 1) >>> (31 - bit));
        }
        const run = Math.clz32(window);
        quotient = zeros + run;
        bit += run + 1;
        word += bit >>> 5;
        bit &= 31;
        if (word > end) this.#fail('BAD_SECTION_LENGTH', 'its bits end inside an entry');
        if (width !== 0) {
          window = (words[word]! << bit) | ((words[word + 1]! >>> 1) >>> (31 - bit));
          const long = window >>> (32 - width);
          const candidate = long >>> 1;
          const isShort = candidate < short ? 1 : 0;
          remainder = isShort === 1 ? candidate : long - short;
          bit += width - isShort;
          word += bit >>> 5;
          bit &= 31;
          if (word > end) this.#fail('BAD_SECTION_LENGTH', 'its bits end inside an entry');
        }
        sign = (words[word]! << bit) >>> 31;
        bit++;
        word += bit >>> 5;
        bit &= 31;
      }
      const position = next + quotient * m + remainder;
      if (position >= elements) this.#fail('POSITION_RANGE', `position ${position} is past the end of the tensor`);
      next = position + 1;
      negatives += sign;
      if (store) both[(position >>> 5) + (half & -sign)]! |= 1 << (position & 31);
    }
    this.#word = word;
    this.#bit = bit;
    this.#next = next;
    this.entries = stop;
    this.negatives = negatives;
    if (stop === nnz) this.#checkEnd();
    return stop - before;
  }

  #checkEnd(): void {
    const { byteLength } = this.#section;
    const bits = this.#word * 32 + this.#bit;
    if (Math.ceil(bits / 8) !== byteLength) {
      this.#fail('BAD_SECTION_LENGTH', `its entries take ${Math.ceil(bits / 8)} bytes, its header says ${byteLength}`);
    }
    // Bytes that fill the last word are zeros of ours, so every bit after the last entry must be 0.
    if (this.#bit !== 0 && this.#words[this.#word]! << this.#bit !== 0) {
      this.#fail('BAD_PADDING', 'the bits after its last entry are not zero');
    }
  }

  #fail(code: 'POSITION_RANGE' | 'BAD_SECTION_LENGTH' | 'BAD_PADDING', why: string): never {
    throw new CodecError(code, `Payload section of tensor ${this.#section.index}: ${why}. The payload is damaged.`, {
      index: this.#section.index,
    });
  }
}
