import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DenseKinship } from '../../../src/kinship/index.ts';
import { seeded } from './support.ts';

function compare(...tensors: (readonly number[][])[]) {
  const dense = new DenseKinship(tensors[0]!.length);
  for (const vectors of tensors) dense.add(vectors.map((values) => Float32Array.from(values)));
  return dense.result();
}

describe('kinship of dense task vectors', () => {
  it('does not depend on how a vector is cut into tensors', () => {
    const finite = fc.float({ min: -100, max: 100, noNaN: true });
    const pair = fc.array(fc.tuple(finite, finite), { minLength: 2, maxLength: 40 });
    fc.assert(
      fc.property(pair, fc.nat(), (entries, cut) => {
        const [a, b] = [entries.map(([x]) => x), entries.map(([, y]) => y)];
        const at = cut % entries.length;
        const whole = compare([a, b])[0]!.whole;
        const parts = compare([a.slice(0, at), b.slice(0, at)], [a.slice(at), b.slice(at)])[0]!.whole;
        expect(parts.euclidean).toBeCloseTo(whole.euclidean, 9);
        if (whole.cosine === null) expect(parts.cosine).toBeNull();
        else expect(parts.cosine).toBeCloseTo(whole.cosine, 9);
        expect(parts.pearson === null).toBe(whole.pearson === null);
      }),
    );
  });

  it('keeps Pearson accurate under a large mean and over many blocks', () => {
    const random = seeded(3);
    const noise = Float32Array.from({ length: 200_000 }, () => Math.round(random() * 64) / 64);
    const dense = new DenseKinship(2);
    dense.add([noise, noise.map((value) => value + 4096)]);
    expect(dense.result()[0]!.whole.pearson).toBeGreaterThan(1 - 1e-12);
    expect(dense.result()[0]!.whole.euclidean).toBe(4096 * Math.sqrt(200_000));
  });

  it('has no Pearson for a constant vector and no cosine for a zero one', () => {
    const [result] = compare([
      [0.1, 0.1, 0.1],
      [1, 2, 3],
    ]);
    expect(result!.whole.pearson).toBeNull();
    expect(result!.whole.cosine).toBeCloseTo(6 / Math.sqrt(3 * 14), 7);
    expect(
      compare([
        [0, 0],
        [1, 2],
      ])[0]!.whole,
    ).toEqual({ cosine: null, pearson: null, euclidean: Math.sqrt(5) });
    expect(new DenseKinship(2).result()[0]).toEqual({
      pair: [0, 1],
      whole: { cosine: null, pearson: null, euclidean: 0 },
      split: { cosine: null, pearson: null, euclidean: null },
    });
  });

  it('refuses tensors of different lengths, a missing vector, NaN and infinity', () => {
    const dense = new DenseKinship(2);
    const good = Float32Array.of(1, 2);
    for (const wrong of [[good], [good, Float32Array.of(1)], [good, good, good]]) {
      expect(() => dense.add(wrong)).toThrow(expect.objectContaining({ code: 'TABLE_MISMATCH' }));
    }
    for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => dense.add([good, Float32Array.of(0, value)])).toThrow(
        expect.objectContaining({ code: 'NOT_FINITE', fields: { vector: 1, entry: 1 } }),
      );
    }
    dense.add([good, good]);
    expect(dense.result()[0]!.whole).toEqual({ cosine: 1, pearson: 1, euclidean: 0 });
  });
});
