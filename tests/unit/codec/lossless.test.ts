import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import {
  encodeTaskVector,
  encodeTernarySync,
  type ScaleMode,
  type ScaleUnit,
  tableOf,
} from '../../../src/codec/index.ts';
import { keepCount } from '../../../src/codec/select.ts';
import { dtypeBytes, type FloatDtype } from '../../../src/tensors/index.ts';
import { differenceOf, FLOATS, randomTensor, StoredSource, type StoredTensor } from './stored.ts';
import { decodeAll, share, signsOf, temporaryDirectory } from './support.ts';

/** Tensors of one model: each is a case. */
const TENSORS = 50;
const MODELS = 200;

const shape = fc.oneof(
  fc.constantFrom([], [0], [1], [1, 1], [4, 0], [2], [16], [33]),
  fc.tuple(fc.integer({ min: 1, max: 400 })),
  fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 40 })),
  fc.tuple(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 4 })),
);

interface Recipe {
  readonly shape: number[];
  readonly base: FloatDtype;
  readonly tune: FloatDtype;
  readonly seed: number;
  /** What of the tensor the fine-tune changes. */
  readonly change: 'all' | 'little' | 'nothing';
}

const tensor: fc.Arbitrary<Recipe> = fc.record({
  shape: shape as fc.Arbitrary<number[]>,
  base: fc.constantFrom(...FLOATS),
  tune: fc.constantFrom(...FLOATS),
  seed: fc.nat(),
  change: fc.constantFrom<Recipe['change']>('all', 'all', 'all', 'little', 'nothing'),
});

const model = fc.record({
  tensors: fc.array(tensor, { minLength: TENSORS, maxLength: TENSORS, size: 'max' }),
  density: fc.oneof(
    share.filter((p) => p > 0),
    fc.constantFrom(Number.MIN_VALUE, 1e-9, 1),
  ),
  mode: fc.constantFrom<ScaleMode>('global', 'tensor'),
  scaleUnit: fc.constantFrom<ScaleUnit>('deviation', 'magnitude'),
  lead: fc.integer({ min: 0, max: 9 }),
});

type Case = { base: StoredTensor; tune: StoredTensor; shape: readonly number[] };

function build({ shape, base, tune, seed, change }: Recipe): Case {
  const elements = shape.reduce((a, b) => a * b, 1);
  const before = randomTensor(base, elements, seed);
  if (change === 'all') return { base: before, tune: randomTensor(tune, elements, seed + 1), shape };
  const same: StoredTensor & { dtype: FloatDtype } = { dtype: base, bytes: Uint8Array.from(before.bytes) };
  if (change === 'little' && elements > 0) {
    const at = (seed % elements) * dtypeBytes(base);
    same.bytes.set(randomTensor(base, 1, seed + 2).bytes, at);
  }
  return { base: before, tune: same, shape };
}

/** docs/algorithms.md B.1 by sorting: the `keep` largest, ties to the lower index, never a zero. */
function signsBySorting(tau: Float32Array, density: number): Int8Array {
  const order = [...tau.keys()].sort((a, b) => Math.abs(tau[b]!) - Math.abs(tau[a]!) || a - b);
  const signs = new Int8Array(tau.length);
  for (const i of order.slice(0, keepCount(density, tau.length))) signs[i] = Math.sign(tau[i]!);
  return signs;
}

/**
 * What is encoded is what is decoded, on the ternary form: 10,000 tensors of every pair of dtypes, at densities from
 * one entry to all, empty ones and ones of one element among them.
 */
test('a payload gives exactly the signs and scales that were chosen, and is the only one of its content', async () => {
  const out = join(await temporaryDirectory(), 'payload');
  let cases = 0;
  const pairs = new Set<string>();
  await fc.assert(
    fc.asyncProperty(model, async ({ tensors, density, mode, scaleUnit, lead }) => {
      const built = tensors.map(build);
      const name = (i: number) => `t${String(i).padStart(3, '0')}`;
      const source = (side: 'base' | 'tune', offset: number) =>
        StoredSource.create(Object.fromEntries(built.map((t, i) => [name(i), { ...t[side], shape: t.shape }])), offset);
      const [base, finetune] = [await source('base', lead), await source('tune', 9 - lead)];
      const table = tableOf(base);
      const settings = { density, mode, scaleUnit, scaleFactor: 1.25 };
      const report = await encodeTaskVector({ base, finetune, table, ...settings }, out);

      const bytes = new Uint8Array(await readFile(out));
      const decoded = await decodeAll(bytes, table);
      expect(encodeTernarySync(table, decoded)).toEqual(bytes);
      const differences = built.map((t) => differenceOf(t.base, t.tune));
      const flat = Float32Array.from(differences.flatMap((values) => [...values]));
      const whole = mode === 'global' ? signsBySorting(flat, density) : null;
      let at = 0;
      for (const [index, values] of differences.entries()) {
        const expected = whole?.subarray(at, at + values.length) ?? signsBySorting(values, density);
        at += values.length;
        const found = decoded.find((t) => t.index === index);
        const entry = report.tensors.find((t) => t.index === index);
        expect(entry?.scale).toBe(found?.scale);
        if (found !== undefined) {
          if (!Buffer.from(signsOf(found).buffer).equals(Buffer.from(Int8Array.from(expected).buffer))) {
            expect(signsOf(found)).toEqual(expected);
          }
        } else {
          // Nothing was kept, or what was kept deviates by nothing.
          const alone = new Set(mode === 'global' ? flat : values).size <= 1 && scaleUnit === 'deviation';
          expect(alone || expected.every((sign) => sign === 0)).toBe(true);
        }
        cases++;
        pairs.add(`${tensors[index]!.base} ${tensors[index]!.tune}`);
      }
    }),
    { numRuns: MODELS, endOnFailure: true },
  );
  expect(cases).toBeGreaterThanOrEqual(10_000);
  expect(pairs.size).toBe(FLOATS.length ** 2);
}, 120_000);
