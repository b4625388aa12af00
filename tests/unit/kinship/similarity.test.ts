import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countPairs, measurePair, pairFixed, similarity } from '../../../src/kinship/index.ts';
import { communityArbitrary, denseOf, measureOf, pack, tableOf, ternaries } from './support.ts';

describe('counting two payloads', () => {
  it('agrees with counting entry by entry', async () => {
    await fc.assert(
      fc.asyncProperty(communityArbitrary({ min: 2, max: 2 }), async ({ table, updates }) => {
        const [a, b] = await Promise.all(updates.map((update) => pack(table, ternaries(update))));
        const counts = await countPairs(a!.payload, b!.payload);
        const expected = table.flatMap((_, index) => {
          const [left, right] = updates.map((update) => update.signs[index]!);
          if (!left!.some((sign) => sign !== 0) || !right!.some((sign) => sign !== 0)) return [];
          const products = left!.map((sign, k) => sign * right![k]!);
          return [{ index, inner: products.reduce((sum, product) => sum + product, 0) }];
        });
        expect(counts.tensors).toEqual(expected);
        expect(await countPairs(b!.payload, a!.payload)).toEqual(counts);
      }),
      { numRuns: 60 },
    );
  });

  it('refuses payloads of two tables', async () => {
    const a = await pack(tableOf([3]), ternaries({ signs: [[1, 0, 1]], scales: [1] }));
    const b = await pack(tableOf([4]), ternaries({ signs: [[1, 0, 1, 0]], scales: [1] }));
    await expect(countPairs(a.payload, b.payload)).rejects.toMatchObject({ code: 'TABLE_MISMATCH' });
    expect(() => similarity(a.measure, b.measure, { tensors: [] })).toThrow(
      expect.objectContaining({ code: 'TABLE_MISMATCH' }),
    );
  });

  it('stops when it is aborted, and tells how far it is', async () => {
    const a = await pack(
      tableOf([3, 2]),
      ternaries({
        signs: [
          [1, 0, 1],
          [1, 1],
        ],
        scales: [1, 1],
      }),
    );
    const seen: [number, number][] = [];
    await countPairs(a.payload, a.payload, { onProgress: ({ done, total }) => seen.push([done, total]) });
    expect(seen).toEqual([
      [1, 2],
      [2, 2],
    ]);
    const controller = new AbortController();
    const run = countPairs(a.payload, a.payload, { signal: controller.signal, onProgress: () => controller.abort() });
    await expect(run).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('similarity of ternary updates', () => {
  it('agrees with the definitions on the expanded vectors', async () => {
    await fc.assert(
      fc.asyncProperty(communityArbitrary({ min: 2, max: 2 }), async ({ table, updates }) => {
        const [a, b] = await Promise.all(updates.map((update) => pack(table, ternaries(update))));
        const counts = await countPairs(a!.payload, b!.payload);
        const actual = similarity(a!.measure, b!.measure, counts);
        const [x, y] = updates.map(denseOf);
        const norms = Math.hypot(...x!) * Math.hypot(...y!);
        const distance = Math.hypot(...x!.map((value, k) => value - y![k]!));
        if (norms === 0) expect(actual.cosine).toBeNull();
        else expect(actual.cosine).toBeCloseTo(x!.reduce((sum, value, k) => sum + value * y![k]!, 0) / norms, 10);
        // Squares cancel in the distance of near copies: what is exact is the square, relative to the norms' squares.
        const squares = Math.hypot(...x!) ** 2 + Math.hypot(...y!) ** 2;
        expect(Math.abs(actual.euclidean ** 2 - distance ** 2)).toBeLessThanOrEqual(1e-12 * squares);
        const constant = new Set(x!).size === 1 || new Set(y!).size === 1;
        if (constant) expect(actual.pearson).toBeNull();
        else expect(Math.abs(actual.pearson! - pearsonOf(x!, y!))).toBeLessThanOrEqual(1e-7);
        expect(similarity(b!.measure, a!.measure, counts)).toEqual(actual);
        expect(pairFixed(b!.measure, a!.measure, counts)).toBe(pairFixed(a!.measure, b!.measure, counts));
      }),
      { numRuns: 80 },
    );
  });

  it('is exactly 1 for a copy and exactly -1 for a negative, at any scale', async () => {
    await fc.assert(
      fc.asyncProperty(communityArbitrary({ min: 1, max: 1 }), async ({ table, updates: [update] }) => {
        fc.pre(update!.signs.flat().some((sign) => sign !== 0));
        const a = await pack(table, ternaries(update!));
        const signs = update!.signs.map((tensor) => tensor.map((sign) => -sign));
        const negative = await pack(table, ternaries({ ...update!, signs }));
        const double = await pack(table, ternaries({ ...update!, scales: update!.scales.map((scale) => 2 * scale) }));
        const copy = similarity(a.measure, a.measure, await countPairs(a.payload, a.payload));
        expect(copy.cosine).toBe(1);
        expect(copy.euclidean).toBe(0);
        if (copy.pearson !== null) expect(copy.pearson).toBe(1);
        expect((await measurePair(a, negative)).cosine).toBe(-1);
        expect((await measurePair(a, double)).cosine).toBe(1);
      }),
      { numRuns: 60 },
    );
  });

  it('knows a constant vector exactly, where a variance would be rounded', () => {
    const scale = Math.fround(0.1);
    const counts = { tensors: [{ index: 0, inner: 3 }] };
    const constant = measureOf([{ signs: [1, 1, 1], scale }]);
    const almost = measureOf([{ signs: [1, 1, -1], scale }]);
    expect(similarity(constant, constant, counts).pearson).toBeNull();
    expect(similarity(almost, almost, counts).pearson).toBe(1);
    const steps = measureOf([
      { signs: [1, 1], scale },
      { signs: [1], scale: 2 * scale },
    ]);
    const two = {
      tensors: [
        { index: 0, inner: 2 },
        { index: 1, inner: 1 },
      ],
    };
    expect(similarity(steps, steps, two).pearson).toBe(1);
  });

  it('is undefined for a zero update', async () => {
    const table = tableOf([3]);
    const zero = await pack(table, []);
    const some = await pack(table, ternaries({ signs: [[1, 0, -1]], scales: [2] }));
    const counts = await countPairs(zero.payload, some.payload);
    expect(similarity(zero.measure, some.measure, counts)).toEqual({
      cosine: null,
      pearson: null,
      euclidean: Math.sqrt(8),
    });
    expect(await measurePair(zero, some)).toEqual({ cosine: null, fixed: 0n });
  });

  it('refuses counts of another pair', () => {
    const a = measureOf([{ signs: [1, 1, 0], scale: 1 }]);
    const wrong = [
      { tensors: [] },
      { tensors: [{ index: 1, inner: 1 }] },
      { tensors: [{ index: 0, inner: 3 }] },
      {
        tensors: [
          { index: 0, inner: 2 },
          { index: 1, inner: 0 },
        ],
      },
    ];
    for (const counts of wrong) {
      expect(() => similarity(a, a, counts)).toThrow(expect.objectContaining({ code: 'COUNTS_MISMATCH' }));
      expect(() => pairFixed(a, a, counts)).toThrow(expect.objectContaining({ code: 'COUNTS_MISMATCH' }));
    }
  });
});

function pearsonOf(x: readonly number[], y: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const [mx, my] = [mean(x), mean(y)];
  const cx = x.map((value) => value - mx);
  const cy = y.map((value) => value - my);
  return cx.reduce((sum, value, k) => sum + value * cy[k]!, 0) / (Math.hypot(...cx) * Math.hypot(...cy));
}
