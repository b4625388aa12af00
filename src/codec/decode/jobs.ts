import { expand } from '../expand.ts';
import type { FileCache } from '../file-cache.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { decodeSectionInto } from '../section-decoder.ts';
import { maskWords } from '../ternary.ts';
import type { LowRankSection, PayloadReader, PayloadSection, SignMasks, UpdateSection } from '../types.ts';

/** A section to decode, and where its dense entries go. */
export interface DecodeJob {
  /** The file that holds the payload; or the payload itself. */
  readonly source: PayloadReader['location'];
  readonly section: UpdateSection;
  /** At least as many float32 as the tensor has elements. */
  readonly out: Float32Array;
}

/** Words of a mask that are expanded at a time: 64 KiB of entries, which stay in the second-level cache. */
const BAND_WORDS = 512;

/** Decodes and checks a section, and writes its entries, row-major. Blocks its thread. @throws CodecError of the section, READ_FAILED */
export function runDecodeJob(
  components: { kernel: Kernel; files: FileCache },
  { source, section, out }: DecodeJob,
): void {
  const { kernel, files } = components;
  if (section.form === 'low-rank') {
    const left = signs(kernel, section.left, read(source, section.left, files));
    const right = signs(kernel, section.right, read(source, section.right, files));
    expand({ ...tensorOf(section), left, right }, out);
    return;
  }
  const { plus, minus, end } = decodeSectionInto(kernel, section, read(source, section, files));
  const { elements, scale } = section;
  const words = maskWords(elements);
  kernel.reach(end + 128 * BAND_WORDS);
  for (let word = 0; word < words; word += BAND_WORDS) {
    const count = Math.min(BAND_WORDS, words - word);
    kernel.calls.expand_masks(plus + 4 * word, minus + 4 * word, count, scale, end);
    const from = 32 * word;
    out.set(kernel.f32(end, Math.min(32 * count, elements - from)), from);
  }
}

function tensorOf({ form, index, elements, scale, rows, columns, rank }: LowRankSection) {
  return { form, index, elements, scale, rows, columns, rank };
}

function signs(kernel: Kernel, section: PayloadSection, bytes: Uint8Array): SignMasks {
  const { plus, minus } = decodeSectionInto(kernel, section, bytes);
  const words = maskWords(section.elements);
  return { plus: kernel.u32(plus, words).slice(), minus: kernel.u32(minus, words).slice(), nnz: section.nnz };
}

function read(source: DecodeJob['source'], { offset, byteLength }: PayloadSection, files: FileCache): Uint8Array {
  if (source instanceof Uint8Array) return source.subarray(offset, offset + byteLength);
  const bytes = new Uint8Array(byteLength);
  files.read(source, bytes, source.offset + offset);
  return bytes;
}
