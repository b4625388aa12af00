import { createHash } from 'node:crypto';
import { describe, expect, onTestFinished, test } from 'vitest';
import { measure, refine, ternarise } from '../../../src/codec/encode/passes.ts';
import { PIECE_ELEMENTS, TensorInput } from '../../../src/codec/encode/tensor-input.ts';
import { FileCache } from '../../../src/codec/file-cache.ts';
import { Kernel } from '../../../src/codec/kernel/kernel.ts';
import { cutBucket, keepCount, locate, sampleDeviation } from '../../../src/codec/select.ts';
import { maskWords } from '../../../src/codec/ternary.ts';
import { dtypeBytes, type FloatDtype } from '../../../src/tensors/index.ts';
import { expectPasses, inputOf, kernel, laneSum, magnitudeBits } from './kernel-passes.ts';
import { allCodes, allFiniteCodes, differenceOf, FLOATS, randomTensor, StoredSource } from './stored.ts';

const PAIRS = [null, ...FLOATS].flatMap((base) => FLOATS.map((tune) => [base, tune] as const));
// Around words, blocks of differences and blocks of sums.
const LENGTHS = [0, 1, 2, 3, 5, 31, 32, 33, 2047, 2048, 2049];
const BLOCK_LENGTHS = [65_535, 65_536, 65_537];

describe.each(PAIRS)('from %s to %s', (base, tune) => {
  test('differences, histograms, sums and masks are those of plain arithmetic, at every length', async () => {
    for (const [i, length] of LENGTHS.entries()) {
      const before = base === null ? null : randomTensor(base, length, i + 1);
      await expectPasses(before, randomTensor(tune, length, i + 100), [0.01, 0.3, 1]);
    }
    const length = BLOCK_LENGTHS[PAIRS.findIndex(([b, t]) => b === base && t === tune) % 3]!;
    const before = base === null ? null : randomTensor(base, length, 7);
    await expectPasses(before, randomTensor(tune, length, 70), [0.1]);
  });
});

test.each(BLOCK_LENGTHS)('%d elements', async (length) => {
  await expectPasses(randomTensor('BF16', length, 3), randomTensor('F32', length, 4), [0.001, 0.5, 1]);
});

describe('every code', () => {
  test.each(['F16', 'F8_E4M3', 'F8_E5M2'] as const)('of %s is widened exactly', async (dtype) => {
    const tune = allFiniteCodes(dtype);
    const { input } = await inputOf(null, tune);
    const bits = magnitudeBits(differenceOf(null, tune));
    for (const bucket of new Set(bits.map((b) => b >>> 16))) {
      const found = refine(kernel, input, bucket, null).lower;
      const expected = new Map<number, number>();
      for (const b of bits) if (b >>> 16 === bucket) expected.set(b & 0xffff, (expected.get(b & 0xffff) ?? 0) + 1);
      expect(found.reduce((count, n) => count + n, 0)).toBe([...expected.values()].reduce((a, b) => a + b));
      for (const [low, count] of expected) expect(found[low]).toBe(count);
    }
    await expectPasses(null, tune, [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 1]);
  });

  test('of BF16 is widened exactly', async () => {
    await expectPasses(null, allFiniteCodes('BF16'), [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 1]);
  });

  test.each(['F16', 'BF16', 'F8_E4M3', 'F8_E5M2'] as const)(
    'of %s that is no finite number is found',
    async (dtype) => {
      const codes = allCodes(dtype);
      const size = dtypeBytes(dtype);
      const values = differenceOf(null, codes);
      // Walks through the codes: each error's position is the next one that is not finite.
      const wanted = [...values.keys()].filter((i) => !Number.isFinite(values[i]!));
      const found: number[] = [];
      for (let from = 0; from < values.length; ) {
        if (found.length === 24) break;
        const { input } = await inputOf(null, { dtype, bytes: codes.bytes.subarray(from * size) });
        const { bad } = measure(kernel, input, false);
        if (bad < 0) break;
        found.push(from + bad);
        from += bad + 1;
      }
      expect(found).toEqual(wanted.slice(0, 24));
    },
  );
});

describe('a NaN or an infinity', () => {
  const nonFinite: Record<FloatDtype, number[][]> = {
    F32: [
      [0, 0, 0x80, 0x7f],
      [1, 0, 0x80, 0xff],
    ],
    F16: [
      [0, 0x7c],
      [1, 0xfe],
    ],
    BF16: [
      [0x80, 0x7f],
      [0xc1, 0xff],
    ],
    F8_E4M3: [[0x7f], [0xff]],
    F8_E5M2: [[0x7c], [0xfe]],
    // The last is a number that only float64 holds.
    F64: [
      [0, 0, 0, 0, 0, 0, 0xf0, 0x7f],
      [0, 0, 0, 0, 0, 0, 0xf8, 0xff],
      [0, 0, 0, 0, 0, 0, 0, 0x48],
    ],
  };

  test.each(FLOATS)('of %s is found at its position, on either side', async (dtype) => {
    const length = 65_536 + 50;
    for (const code of nonFinite[dtype]) {
      for (const position of [0, 3, 2047, 2048, 65_535, 65_536, length - 1]) {
        const clean = randomTensor(dtype, length, 5);
        const bytes = Uint8Array.from(clean.bytes);
        bytes.set(code, position * dtypeBytes(dtype));
        const other = randomTensor('BF16', length, 6);
        for (const [base, tune] of [
          [other, { dtype, bytes }],
          [{ dtype, bytes }, other],
        ] as const) {
          const { input } = await inputOf(base, tune);
          expect(measure(kernel, input, true)).toMatchObject({ bad: position, sum: 0 });
        }
      }
    }
  });
});

describe('a tensor that is too large to keep', () => {
  // Two of float64 have 16 bytes an element: four pieces are just kept.
  const kept = 4 * PIECE_ELEMENTS;

  test('is read in pieces, one that just fits in one', async () => {
    const files = new FileCache();
    onTestFinished(() => files.close());
    const { path } = await StoredSource.create({ t: { dtype: 'F64', bytes: new Uint8Array(8 * (kept + 1)) } });
    const place = { path, offset: 0, byteLength: 8 * (kept + 1), dtype: 'F64' };
    const counts = (elements: number) => {
      const input = new TensorInput({ kernel: new Kernel(), files }, { base: place, tune: place, elements });
      return [...input.pieces()].map(({ from, count }) => [from, count]);
    };
    expect(counts(kept)).toEqual([[0, kept]]);
    expect(counts(kept + 1)).toEqual([0, 1, 2, 3, 4].map((i) => [i * PIECE_ELEMENTS, i === 4 ? 1 : PIECE_ELEMENTS]));
  });

  test.each([kept + 1, kept + PIECE_ELEMENTS - 1])(
    'gives the same as one that is kept: %d elements',
    async (length) => {
      // The same values twice: of float32 they are kept, of float64 they are not.
      const pattern = differenceOf(null, randomTensor('F32', 99_991, 8));
      const values = Float64Array.from({ length }, (_, i) => pattern[i % pattern.length]!);
      values[length - 1] = 100;
      const wide = { dtype: 'F64', bytes: new Uint8Array(values.buffer) } as const;
      const narrow = { dtype: 'F32', bytes: new Uint8Array(Float32Array.from(values).buffer) } as const;
      const zeros = (bytes: number) => new Uint8Array(bytes);
      const results = [];
      for (const [base, tune] of [
        [{ dtype: 'F64', bytes: zeros(wide.bytes.length) } as const, wide],
        [null, narrow],
      ] as const) {
        const { input } = await inputOf(base, tune);
        const measured = measure(kernel, input, true);
        const place = locate(measured.upper, keepCount(0.1, length));
        const refined = refine(kernel, input, place.bucket, measured.sum / length);
        const cut = cutBucket(refined.lower, place, keepCount(0.1, length));
        const masks = ternarise(kernel, input, length, cut);
        const words = maskWords(length);
        const { sum, bad } = measured;
        const { magnitudes, squares } = refined;
        const arrays = [measured.upper, refined.lower, kernel.u32(masks.plus, words), kernel.u32(masks.minus, words)];
        const digests = arrays.map((array) => createHash('sha256').update(array).digest('hex'));
        results.push({ sum, bad, magnitudes, squares, cut, digests });
      }
      expect(results[0]!.sum).toBe(laneSum(values, (value) => value));
      expect(results[0]).toEqual(results[1]);
    },
  );
});

test('the deviation of fewer than two entries is 0', () => {
  expect([sampleDeviation(12, 0), sampleDeviation(12, 1), sampleDeviation(12, 4)]).toEqual([0, 0, 2]);
});

test('one more tie than are left is cut, the last first, across words', async () => {
  const ones = { dtype: 'F32', bytes: new Uint8Array(new Float32Array(70).fill(-1).buffer) } as const;
  const { input } = await inputOf(null, ones);
  const one = magnitudeBits(Float32Array.of(1))[0]!;
  for (const ties of [0, 1, 31, 32, 33, 63, 64, 65, 69, 70]) {
    const { plus, minus, nnz } = ternarise(kernel, input, 70, { threshold: one, ties });
    const bits = [...kernel.u32(minus, 3)].map((word) => word.toString(2).replaceAll('0', '').length);
    expect(nnz).toBe(ties);
    expect([...kernel.u32(plus, 3)]).toEqual([0, 0, 0]);
    expect(bits).toEqual([Math.min(32, ties), Math.min(32, Math.max(0, ties - 32)), Math.max(0, ties - 64)]);
  }
});
