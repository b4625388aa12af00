import { CodecError, type PayloadErrorCode } from './errors.ts';
import { aligned, CODE_PADDING, type Kernel, type Verdict } from './kernel/kernel.ts';
import { withKernel } from './kernel/pool.ts';
import { SLICE_ENTRIES } from './limits.ts';
import type { Pacer } from './pacer.ts';
import { maskWords } from './ternary.ts';
import type { PayloadSection } from './types.ts';

/** What a section turned out to be. */
export interface DecodedSection {
  /** Fresh memory; empty when only counts were asked for. */
  readonly plus: Uint32Array;
  readonly minus: Uint32Array;
  /** How many entries are negative. */
  readonly negatives: number;
}

/** Where the masks of a decoded section lie in a kernel's memory. */
export interface DecodedPlace {
  readonly plus: number;
  readonly minus: number;
  /** The first free address behind them. */
  readonly end: number;
  readonly negatives: number;
}

/**
 * Decodes and checks one section in slices, so that a huge tensor does not hold the event loop. Everything is checked:
 * positions below `elements`, exactly `nnz` entries, the exact length, padding or the coder's states. Without `keep` it
 * only counts, and allocates nothing but a copy of the section's bytes.
 *
 * @throws CodecError POSITION_RANGE, BAD_SECTION_LENGTH, BAD_PADDING, BAD_COUNT, BAD_CODER_STATE
 */
export function decodeSection(
  section: PayloadSection,
  bytes: Uint8Array,
  keep: boolean,
  pacer: Pacer,
): Promise<DecodedSection> {
  return withKernel(async (kernel) => {
    const run = new SectionRun(kernel, section, bytes, keep);
    for (;;) {
      const place = run.step();
      if (place === null) {
        await pacer.add(SLICE_ENTRIES);
        continue;
      }
      const { plus, minus, negatives } = place;
      await pacer.add(section.nnz % SLICE_ENTRIES);
      const words = keep ? maskWords(section.elements) : 0;
      return { plus: kernel.u32(plus, words).slice(), minus: kernel.u32(minus, words).slice(), negatives };
    }
  });
}

/** As `decodeSection`, in one go and leaving the masks in the kernel's memory: for threads that may block. */
export function decodeSectionInto(kernel: Kernel, section: PayloadSection, bytes: Uint8Array): DecodedPlace {
  const run = new SectionRun(kernel, section, bytes, true);
  for (;;) {
    const place = run.step();
    if (place !== null) return place;
  }
}

class SectionRun {
  readonly #kernel: Kernel;
  readonly #section: PayloadSection;
  readonly #plus: number;
  readonly #minus: number;
  readonly #end: number;

  constructor(kernel: Kernel, section: PayloadSection, bytes: Uint8Array, keep: boolean) {
    this.#kernel = kernel;
    this.#section = section;
    const { elements, nnz, golombM, model } = section;
    const code = kernel.heap;
    const maskBytes = keep ? aligned(4 * maskWords(elements)) : 0;
    this.#plus = aligned(code + bytes.length + CODE_PADDING);
    this.#minus = this.#plus + maskBytes;
    this.#end = this.#minus + maskBytes;
    kernel.reach(this.#end);
    kernel.u8(code, bytes.length).set(bytes);
    // The padding behind the code and the masks begin as zeros.
    kernel.u8(code + bytes.length, this.#end - code - bytes.length).fill(0);
    const { calls } = kernel;
    calls.decode_to(keep ? this.#plus : 0, keep ? this.#minus : 0);
    if (model) {
      const verdict = kernel.beginAns(code, bytes.length, elements, nnz, model);
      if (verdict !== 'more') this.#fail(verdict);
    } else {
      calls.golomb_decode_begin(code, bytes.length, elements, nnz, golombM);
    }
  }

  /** Decodes one slice; null while there is more. */
  step(): DecodedPlace | null {
    const verdict = this.#kernel.runDecoder(this.#section.model !== undefined, SLICE_ENTRIES);
    if (verdict === 'more') return null;
    if (verdict !== 'done') this.#fail(verdict);
    return {
      plus: this.#plus,
      minus: this.#minus,
      end: this.#end,
      negatives: this.#kernel.calls.negatives_found(),
    };
  }

  #fail(verdict: Verdict): never {
    const { index, nnz, byteLength } = this.#section;
    const why: Partial<Record<Verdict, string>> = {
      POSITION_RANGE: 'an entry lies past the end of the tensor',
      BAD_SECTION_LENGTH: `its entries do not take exactly the ${byteLength} bytes that its header says`,
      BAD_PADDING: 'the bits after its last entry are not zero',
      BAD_COUNT: `its code does not have exactly the ${nnz} entries that its header says`,
      BAD_CODER_STATE: 'its code does not begin or does not end in a state of the coder',
    };
    throw new CodecError(
      verdict as PayloadErrorCode,
      `Payload section of tensor ${index}: ${why[verdict]}. The payload is damaged.`,
      { index },
    );
  }
}
