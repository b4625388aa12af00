import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { ternaryFromSigns } from '../../../src/codec/ternary.ts';
import {
  countPairs,
  countTensors,
  DenseKinship,
  type DensePair,
  meanSimilarity,
  type Similarity,
  similarity,
} from '../../../src/kinship/index.ts';
import { FIXTURES, measureOf, pack, readSafetensors, tableOf } from './support.ts';

interface GoldenSimilarity {
  cosine: number | null;
  pcc: number | null;
  euclidean: number;
}
interface Golden {
  d: number;
  pairs: (GoldenSimilarity & { pair: [number, number]; split_weighted: GoldenSimilarity })[];
  sets: (GoldenSimilarity & { set: number[] })[];
  ternary: (GoldenSimilarity & {
    pair: [number, number];
    agree: number;
    disagree: number;
    nnz: [number, number];
    scales: [number, number];
  })[];
}

const golden: Golden = JSON.parse(readFileSync(new URL('golden/kinship.json', FIXTURES), 'utf8'));
const tensors = readSafetensors('golden/kinship.safetensors');

/** The golden vectors' tolerances: 1e-9 absolute for cosine and Pearson, 1e-9 relative for distances. */
function expectClose(actual: { [key in keyof Similarity]: number | null }, expected: GoldenSimilarity): void {
  for (const [value, wanted] of [
    [actual.cosine, expected.cosine],
    [actual.pearson, expected.pcc],
  ] as const) {
    if (wanted === null) expect(value).toBeNull();
    else expect(Math.abs(value! - wanted)).toBeLessThanOrEqual(1e-9);
  }
  expect(Math.abs(actual.euclidean! - expected.euclidean)).toBeLessThanOrEqual(1e-9 * expected.euclidean);
}

describe('golden kinship of dense task vectors', () => {
  const names = [...tensors.keys()].filter((name) => name.startsWith('m0.')).map((name) => name.slice(3));
  const dense = new DenseKinship(6);
  for (const name of names) {
    dense.add([0, 1, 2, 3, 4, 5].map((k) => tensors.get(`m${k}.${name}`)!.values as Float32Array));
  }
  const results = new Map<string, DensePair>(dense.result().map((result) => [result.pair.join(), result]));

  it('covers every pair of the six vectors', () => {
    expect([...results.keys()].sort()).toEqual(golden.pairs.map(({ pair }) => pair.join()).sort());
    expect(results.size).toBe(15);
  });

  it.each(golden.pairs)('holds for pair $pair, whole and split by tensor', (expected) => {
    const { whole, split } = results.get(expected.pair.join())!;
    expectClose(whole, expected);
    expectClose(split, expected.split_weighted);
  });

  it.each(golden.sets)('holds for the set $set', (expected) => {
    const pairs = golden.pairs.filter(({ pair }) => pair.every((k) => expected.set.includes(k)));
    expect(pairs.length).toBe((expected.set.length * (expected.set.length - 1)) / 2);
    expectClose(meanSimilarity(pairs.map(({ pair }) => results.get(pair.join())!.whole)), expected);
  });

  it('leaves a set with an undefined pair undefined', () => {
    const pairs = [results.get('0,1')!.whole, results.get('0,4')!.whole, results.get('1,4')!.whole];
    expect(meanSimilarity(pairs)).toMatchObject({ cosine: null, pearson: null });
    expect(meanSimilarity([])).toEqual({ cosine: null, pearson: null, euclidean: null });
  });
});

describe('golden kinship of ternary vectors', () => {
  const signs = (k: number) => tensors.get(`t${k}`)!.values;

  it.each(golden.ternary)('holds for pair $pair', (expected) => {
    const vectors = expected.pair.map((k, side) => ({ signs: signs(k), scale: expected.scales[side]! }));
    const [a, b] = vectors.map((vector) => ternaryFromSigns(0, vector.signs, vector.scale)!);
    const counts = countTensors(a!, b!);
    expect(counts).toEqual({ agree: expected.agree, disagree: expected.disagree });
    expect([a!.nnz, b!.nnz]).toEqual(expected.nnz);
    // The golden scales are float64 values, so the measures are made of those and not of the payload's float32.
    const [left, right] = vectors.map((vector) => measureOf([vector]));
    expectClose(
      similarity(left!, right!, { tensors: [{ index: 0, inner: counts.agree - counts.disagree }] }),
      expected,
    );
  });

  it.each(golden.ternary)('holds for pair $pair as payloads cut into three tensors', async (expected) => {
    const table = tableOf([768, 288, 17]);
    const [a, b] = await Promise.all(
      expected.pair.map((k, side) => {
        const parts = [signs(k).slice(0, 768), signs(k).slice(768, 1056), signs(k).slice(1056)];
        return pack(
          table,
          parts.flatMap((part, index) => ternaryFromSigns(index, part, expected.scales[side]!) ?? []),
        );
      }),
    );
    const result = similarity(a!.measure, b!.measure, await countPairs(a!.payload, b!.payload));
    expect(Math.abs(result.cosine! - expected.cosine!)).toBeLessThanOrEqual(1e-9);
    expect(Math.abs(result.pearson! - expected.pcc!)).toBeLessThanOrEqual(1e-9);
    expect(Math.abs(result.euclidean - expected.euclidean)).toBeLessThanOrEqual(2e-6 * expected.euclidean);
  });
});
