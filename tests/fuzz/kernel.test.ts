/**
 * Random bytes straight into the decoders of the kernel, where its memory ends: what reads or writes beyond is a trap of
 * WebAssembly and fails the test. Headers that the format's readers would have refused are among them.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { CodecError } from '../../src/codec/errors.ts';
import { MAX_TENSOR_ELEMENTS } from '../../src/codec/index.ts';
import { CODE_PADDING, Kernel, VERDICTS, type Verdict } from '../../src/codec/kernel/kernel.ts';
import { MAX_WIDTH, MIN_WIDTH } from '../../src/codec/limits.ts';
import { decodeSectionInto } from '../../src/codec/section-decoder.ts';
import { maskWords } from '../../src/codec/ternary.ts';
import type { PayloadSection } from '../../src/codec/types.ts';
import { FUZZ_TIMEOUT, fuzzer, within } from './support/runs.ts';

const fuzz = fuzzer('the kernel', 4);

/** Steps that an input may take: enough for any code of its length, but not for the zeros that it may stand for. */
const STEPS = 100_000;
const SLICE = 7_001;

/** Elements at the bounds of words, segments, rows and positions. */
const elements = fc.oneof(
  fc.constantFrom(1, 15, 16, 17, 31, 32, 33, 65_535, 65_536, 65_537, MAX_WIDTH, 2 * MAX_WIDTH, 2 ** 24),
  fc.constantFrom(MAX_TENSOR_ELEMENTS, MAX_TENSOR_ELEMENTS - 1, 2 ** 30, 2 ** 31 - 2 ** 18),
  fc.integer({ min: 1, max: 5_000 }),
);
/** A part of a number: all of it, next to nothing, or anything between. */
const part = fc.oneof(
  fc.constantFrom(
    (n: number) => n,
    (n: number) => Math.max(1, n - 1),
    () => 1,
    (n: number) => Math.min(2, n),
  ),
  fc.integer({ min: 1, max: 999 }).map((share) => (n: number) => Math.max(1, Math.floor((n * share) / 1_000))),
);
const priors = fc.record({ rows: fc.integer({ min: 0, max: 15 }), columns: fc.integer({ min: 0, max: 15 }) });
/** Also bytes of one kind, which let a decoder go on for as long as it can. */
const code = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 64 }),
  fc
    .tuple(fc.constantFrom(0, 1, 0x55, 0xaa, 0xfe, 0xff), fc.integer({ min: 4, max: 700 }))
    .map(([byte, length]) => new Uint8Array(length).fill(byte)),
  fc.tuple(fc.uint8Array({ minLength: 4, maxLength: 40 }), fc.integer({ min: 0, max: 200 })).map(([head, length]) => {
    const bytes = new Uint8Array(head.length + length);
    bytes.set(head);
    return bytes;
  }),
);
const stated = code.map((bytes) => {
  bytes[0] = bytes[0]! & 127;
  return bytes;
});
const wide = fc.oneof(
  fc.constantFrom(MIN_WIDTH, MIN_WIDTH + 1, 31, 32, 33, 127, 128, 129, 4_096, MAX_WIDTH - 1, MAX_WIDTH),
  fc.integer({ min: MIN_WIDTH, max: 1_000 }),
);

const counter = new Kernel();

/** Decodes code that ends, with its padding, where the memory does; nothing is kept. */
function count(bytes: Uint8Array, begin: (at: number, length: number) => Verdict, ans: boolean): Verdict {
  const at = counter.bytes - bytes.length - CODE_PADDING;
  counter.u8(at, bytes.length + CODE_PADDING).fill(0);
  counter.u8(at, bytes.length).set(bytes);
  counter.calls.decode_to(0, 0);
  let verdict = begin(at, bytes.length);
  for (let steps = 0; verdict === 'more' && steps < STEPS; steps += SLICE) verdict = counter.runDecoder(ans, SLICE);
  expect(VERDICTS).toContain(verdict);
  return verdict;
}

test(
  'any bytes under coding 0 come to a verdict',
  async () => {
    await fuzz.run(0.25, fc.tuple(code, elements, part, part), async ([bytes, total, nnz, m]) => {
      const begin = (at: number, length: number): Verdict => {
        counter.calls.golomb_decode_begin(at, length, total, nnz(total), m(total));
        return 'more';
      };
      const verdict = await within(() => count(bytes, begin, false));
      expect(counter.calls.entries_found()).toBeLessThanOrEqual(nnz(total));
      expect(counter.calls.negatives_found()).toBeLessThanOrEqual(counter.calls.entries_found());
      return verdict;
    });
  },
  FUZZ_TIMEOUT,
);

test(
  'any bytes under coding 1 come to a verdict',
  async () => {
    const models = fc.oneof(
      elements.map((total) => ({ total, width: 0 })),
      fc
        .tuple(wide, fc.oneof(fc.integer({ min: 1, max: 40 }), fc.constantFrom(70_000, 2 ** 31)))
        .map(([width, rows]) => ({
          total: width * Math.min(rows, Math.floor(MAX_TENSOR_ELEMENTS / width)),
          width,
        })),
    );
    await fuzz.run(0.35, fc.tuple(stated, models, part, priors), async ([bytes, { total, width }, nnz, model]) => {
      const begin = (at: number, length: number) =>
        counter.beginAns(at, length, total, nnz(total), { ...model, width });
      const verdict = await within(() => count(bytes, begin, true));
      // It looks at the count after a segment, and a segment has at most so many elements.
      expect(counter.calls.entries_found()).toBeLessThanOrEqual(nnz(total) + MAX_WIDTH);
      return verdict;
    });
  },
  FUZZ_TIMEOUT,
);

/** Kernels whose free memory is as large as asked for: laid out from `heap` on, it ends with the memory. */
const roomy = new Kernel();
roomy.reach(roomy.bytes + 4 * 65_536);
const kernelWithRoom = (bytes: number): Kernel => Object.create(roomy, { heap: { value: roomy.bytes - bytes } });

test(
  'entries are put into masks that end where the memory does',
  async () => {
    const sizes = fc.oneof(fc.integer({ min: 1, max: 600 }), fc.constantFrom(1_023, 1_024, 1_025, 65_537, 2 ** 18));
    const inputs = fc.record({
      bytes: stated,
      size: sizes,
      nnz: part,
      golombM: part,
      width: fc.oneof(fc.constantFrom(null, 0), wide),
      model: priors,
    });
    await fuzz.run(0.4, inputs, async ({ bytes, size, nnz, golombM, width, model }) => {
      const rows = width ? Math.max(1, Math.floor(size / width)) : 0;
      const total = width ? rows * width : size;
      const coding = width === null ? { golombM: golombM(total) } : { golombM: 0, model: { ...model, width } };
      const [index, offset] = [0, 0];
      const section: PayloadSection = {
        ...{ index, offset, scale: 1, elements: total, nnz: nnz(total), byteLength: bytes.length },
        ...coding,
      };
      const aligned = (n: number) => 16 * Math.ceil(n / 16);
      const masks = aligned(4 * maskWords(total));
      const kernel = kernelWithRoom(aligned(bytes.length + CODE_PADDING) + 2 * masks);
      // What lies before must stay as it is.
      kernel.u8(kernel.heap - 64, 64).fill(0xa5);
      let verdict = 'done';
      try {
        const place = await within(() => decodeSectionInto(kernel, section, bytes));
        expect(place.end).toBe(kernel.bytes);
      } catch (error) {
        expect(error).toBeInstanceOf(CodecError);
        verdict = (error as CodecError).code;
      }
      expect(kernel.bytes).toBe(roomy.bytes);
      expect(kernel.u8(kernel.heap - 64, 64).every((byte) => byte === 0xa5)).toBe(true);
      // Bits past the last element stay 0.
      const used = total & 31;
      const last = (end: number) => kernel.u32(end - masks + 4 * (maskWords(total) - 1), 1)[0]!;
      if (used !== 0) expect((last(kernel.bytes) | last(kernel.bytes - masks)) >>> used).toBe(0);
      return verdict;
    });
  },
  FUZZ_TIMEOUT,
);
