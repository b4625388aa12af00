import fc from 'fast-check';
import { describe, expect, onTestFinished, test } from 'vitest';
import { measure, refine, ternarise } from '../../../src/codec/encode/passes.ts';
import {
  MAX_CANDIDATE_SHARE,
  MIN_SAMPLED_ELEMENTS,
  SAMPLE_RUN,
  SAMPLE_STRIDE,
  selectBySplit,
} from '../../../src/codec/encode/split.ts';
import { PIECE_ELEMENTS, TensorInput } from '../../../src/codec/encode/tensor-input.ts';
import { FileCache } from '../../../src/codec/file-cache.ts';
import { Kernel } from '../../../src/codec/kernel/kernel.ts';
import { cutBucket, keepCount, locate } from '../../../src/codec/select.ts';
import { maskWords } from '../../../src/codec/ternary.ts';
import { dtypeBytes, widen } from '../../../src/tensors/index.ts';
import { FLOATS, randomTensor, StoredSource, type StoredTensor } from './stored.ts';
import { randomNumbers } from './support.ts';

const kernel = new Kernel();

async function inputOf(tune: StoredTensor): Promise<{ input: TensorInput; elements: number }> {
  const files = new FileCache();
  onTestFinished(() => files.close());
  const source = await StoredSource.create({ t: tune }, 1);
  const elements = tune.bytes.length / dtypeBytes(tune.dtype);
  const pair = { base: null, tune: source.place('t'), elements };
  return { input: new TensorInput({ kernel, files }, pair), elements };
}

/** Masks as bytes, and what else a selection gives. */
function result(masks: { plus: number; minus: number; nnz: number }, elements: number, magnitudes: number) {
  const bytes = (at: number) => Buffer.from(kernel.u8(at, 4 * maskWords(elements)));
  return { plus: bytes(masks.plus), minus: bytes(masks.minus), nnz: masks.nnz, magnitudes };
}

/** The same selection by passes over all elements. */
function byPasses(input: TensorInput, elements: number, density: number) {
  const { upper } = measure(kernel, input, false);
  const keep = keepCount(density, elements);
  const place = locate(upper, keep);
  const refined = refine(kernel, input, place.bucket, null);
  const cut = cutBucket(refined.lower, place, keep);
  return result(ternarise(kernel, input, elements, cut), elements, refined.magnitudes + cut.magnitudes);
}

/** Selects in both ways; whether the sample's bracket held. */
async function expectSame(tune: StoredTensor, density: number): Promise<boolean> {
  const { input, elements } = await inputOf(tune);
  const selected = selectBySplit(kernel, input, elements, density);
  if (selected === null) return false;
  expect(selected.bad).toBe(-1);
  const found = result(selected.masks, elements, selected.magnitudes);
  const expected = byPasses(input, elements, density);
  expect(found.nnz).toBe(expected.nnz);
  expect(found.plus.equals(expected.plus) && found.minus.equals(expected.minus)).toBe(true);
  expect(Math.abs(found.magnitudes - expected.magnitudes)).toBeLessThanOrEqual(1e-12 * expected.magnitudes);
  return true;
}

const f32 = (values: Float32Array): StoredTensor => ({ dtype: 'F32', bytes: new Uint8Array(values.buffer) });
const DENSITIES = [1e-6, 0.001, 0.05, 0.2, 0.5, 0.9, 0.999, 1];

describe('selection in one pass keeps what the passes over all elements keep', () => {
  test.each(FLOATS)('of %s, at any density', async (dtype) => {
    for (const length of [300_001, 65_536]) {
      for (const density of DENSITIES) {
        // The sample need not have met the very largest.
        const held = await expectSame(randomTensor(dtype, length, length + 1), density);
        expect(held || density < 0.001).toBe(true);
      }
    }
  });

  test.each<[string, (i: number, random: () => number) => number]>([
    ['all equal', (i) => (i % 3 === 0 ? -0.25 : 0.25)],
    ['all zero', (i) => (i % 2 === 0 ? 0 : -0)],
    ['almost all zero', (_, random) => (random() < 0.003 ? random() - 0.5 : 0)],
    ['two magnitudes', (_, random) => (random() < 0.2 ? 1 : -2)],
    ['subnormal', (_, random) => (random() - 0.5) * 2 ** -130],
    ['in one bucket of upper halves', (_, random) => 1 + Math.floor(random() * 60_000) * 2 ** -23],
    ['ascending', (i) => i],
  ])('where they are %s', async (_, value) => {
    const random = randomNumbers(4);
    const values = Float32Array.from({ length: 200_000 }, (_, i) => value(i, random));
    for (const density of DENSITIES) await expectSame(f32(values), density);
  });

  test('of any few elements', async () => {
    const value = fc.oneof(
      fc.constantFrom(0, -0, 1, -1, 2, 0.5),
      fc.float({ noNaN: true, noDefaultInfinity: true }),
      fc.constantFrom(1, 2, 3).map((ulps) => Math.fround(1 + ulps * 2 ** -23)),
    );
    const files = new FileCache();
    onTestFinished(() => files.close());
    await fc.assert(
      fc.asyncProperty(
        fc.array(value, { minLength: 1, maxLength: 80 }),
        fc.integer({ min: 1, max: 1000 }),
        async (values, thousandths) => {
          await expectSame(f32(Float32Array.from(values)), thousandths / 1000);
        },
      ),
      { numRuns: 150 },
    );
  });
});

describe('a sample that misleads', () => {
  /** Elements of the sample and all others of different magnitudes. */
  const misleading = (sampled: number, others: number) =>
    f32(
      Float32Array.from({ length: 6 * SAMPLE_STRIDE }, (_, i) => {
        const scale = i % SAMPLE_STRIDE < SAMPLE_RUN ? sampled : others;
        return scale * (1 + (i % 1009) / 1009);
      }),
    );

  test.each([
    ['too large', 16, 1],
    ['too small', 1, 16],
  ])('%s, is noticed', async (_, sampled, others) => {
    expect(await expectSame(misleading(sampled, others), 0.2)).toBe(false);
  });

  test('with more of them than it showed keeps what is asked for, or is noticed', async () => {
    for (const density of DENSITIES) await expectSame(misleading(1, 1.5), density);
  });
});

test('a NaN or an infinity is found at its position; in the sample it is left to the passes', async () => {
  const clean = randomTensor('BF16', 5 * SAMPLE_STRIDE, 9);
  expect(5 * SAMPLE_STRIDE).toBeGreaterThan(MIN_SAMPLED_ELEMENTS);
  for (const position of [SAMPLE_RUN, 65_535, 65_536, 5 * SAMPLE_STRIDE - 1]) {
    const bytes = Uint8Array.from(clean.bytes);
    bytes.set([0x80, 0xff], 2 * position);
    const { input, elements } = await inputOf({ dtype: 'BF16', bytes });
    const selected = selectBySplit(kernel, input, elements, 0.1);
    const sampled = position % SAMPLE_STRIDE < SAMPLE_RUN;
    expect(selected?.bad).toBe(sampled ? undefined : position);
  }
});

test('a tensor that is read in pieces gives the same as one that is kept', async () => {
  const length = 8 * PIECE_ELEMENTS + 4097;
  const pattern = randomTensor('F32', 99_991, 8);
  const few = widen(pattern.bytes, 'F32');
  const values = Float64Array.from({ length }, (_, i) => few[i % few.length]!);
  const select = async (tune: StoredTensor) => {
    const { input, elements } = await inputOf(tune);
    const { masks, magnitudes } = selectBySplit(kernel, input, elements, 0.1)!;
    return { ...result(masks, elements, magnitudes), pieces: [...input.pieces()].length };
  };
  const streamed = await select({ dtype: 'F64', bytes: new Uint8Array(values.buffer) });
  const kept = await select(f32(Float32Array.from(values)));
  expect([streamed.pieces, kept.pieces]).toEqual([9, 1]);
  expect(streamed.plus.equals(kept.plus) && streamed.minus.equals(kept.minus)).toBe(true);
  expect([streamed.nnz, streamed.magnitudes]).toEqual([kept.nnz, kept.magnitudes]);
  expect(kept.nnz).toBe(keepCount(0.1, length));
});

test('more candidates than their list may have are left to the passes', async () => {
  const elements = 2 ** 20;
  // So many of one magnitude, which the threshold must be, and the rest far below; a block at the end may still enter.
  const select = async (alike: number) => {
    const values = Float32Array.from({ length: elements }, (_, i) => ((i * 7_919) % elements < alike ? 1 : 2 ** -40));
    const { input } = await inputOf(f32(values));
    return selectBySplit(kernel, input, elements, 0.05);
  };
  const most = elements * MAX_CANDIDATE_SHARE;
  expect((await select(most - 2 * 2_048))?.masks.nnz).toBe(Math.floor(0.05 * elements));
  expect(await select(most + 2 * 2_048)).toBeNull();
});
