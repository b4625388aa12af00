import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkPayload,
  encodeTernary,
  encodeTernarySync,
  expand,
  isLowRankScale,
  isLowRankShape,
  type LowRankTensor,
  lowRankScale,
  MAX_PRODUCT_SIDE,
  MAX_SCALE,
  MAX_UPDATE_RANK,
  MIN_SCALE,
  openPayload,
  type SignMasks,
} from '../../../src/codec/index.ts';
import { ProductRows } from '../../../src/codec/low-rank-product.ts';
import { failure, integersOf, lowRank, randomNumbers, readAll, share, tableFor, ternary } from './support.ts';

/** Random factors, of every density, that the format allows; and the scale in wire form. */
const tensor = fc
  .record({
    rows: fc.integer({ min: 1, max: 60 }),
    columns: fc.integer({ min: 1, max: 80 }),
    rank: fc.integer({ min: 1, max: 40 }),
    density: share,
    scale: fc.double({ min: 1e-30, max: 1e30, noNaN: true }),
    seed: fc.nat(),
  })
  .filter(({ rows, columns, rank }) => isLowRankShape(rows, columns, rank))
  .map(({ seed, scale, ...rest }) => {
    return lowRank(0, { ...rest, scale: lowRankScale(scale, rest.rank), random: randomNumbers(seed) });
  });

describe('the scale of a low-rank tensor', () => {
  test('is exact with every integer up to the rank, and the nearest such', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-37, max: 1e35, noNaN: true }),
        fc.integer({ min: 1, max: MAX_UPDATE_RANK }),
        (scale, rank) => {
          const rounded = lowRankScale(scale, rank);
          expect(isLowRankScale(rounded, rank)).toBe(true);
          for (let k = 1; k <= rank; k++) {
            if (Math.fround(k * rounded) !== k * rounded) expect.fail(`${k} times ${rounded} is rounded`);
          }
          const unit = 2 ** (Math.floor(Math.log2(scale)) - 23 + Math.ceil(Math.log2(rank + 1)));
          expect(Math.abs(rounded - scale)).toBeLessThanOrEqual(unit / 2);
          expect(rounded % unit).toBe(0);
        },
      ),
    );
  });

  test('stays as it is when it is exact already', () => {
    for (const scale of [0.5, 0.375, 3, MIN_SCALE]) expect(lowRankScale(scale, 16)).toBe(scale);
    expect(lowRankScale(0, 16)).toBe(0);
  });

  test('is 0 below the normal range', () => {
    expect(lowRankScale(MIN_SCALE * 0.999, 1024)).toBe(0);
    expect(lowRankScale(Number.MIN_VALUE, 1)).toBe(0);
    expect(isLowRankScale(MIN_SCALE, 1024)).toBe(true);
    expect(isLowRankScale(MIN_SCALE / 2, 1)).toBe(false);
  });

  test('times the rank is a float32 up to the largest, and an error beyond', () => {
    expect(lowRankScale(2 ** 123, 16)).toBe(2 ** 123);
    expect(isLowRankScale(2 ** 123, 16)).toBe(true);
    expect(isLowRankScale(2 ** 123, 31)).toBe(true);
    expect(isLowRankScale(2 ** 123, 32)).toBe(false);
    for (const [scale, rank] of [
      [2 ** 124, 16],
      [MAX_SCALE, 1],
      [Number.POSITIVE_INFINITY, 1],
      [Number.NaN, 1],
    ] as const) {
      expect(() => lowRankScale(scale, rank)).toThrow(expect.objectContaining({ code: 'SCALE_OVERFLOW' }));
    }
  });
});

test('shapes are low-rank up to the limits and not beyond', () => {
  expect(isLowRankShape(4, 4, 2)).toBe(true);
  expect(isLowRankShape(4, 4, 3)).toBe(false);
  expect(isLowRankShape(2048, 2048, MAX_UPDATE_RANK)).toBe(true);
  expect(isLowRankShape(4096, 4096, MAX_UPDATE_RANK + 1)).toBe(false);
  expect(isLowRankShape(2, MAX_PRODUCT_SIDE, 1)).toBe(true);
  expect(isLowRankShape(2, MAX_PRODUCT_SIDE + 1, 1)).toBe(false);
  expect(isLowRankShape(MAX_PRODUCT_SIDE, 2, 1)).toBe(true);
  expect(isLowRankShape(MAX_PRODUCT_SIDE + 1, 2, 1)).toBe(false);
  for (const [rows, columns, rank] of [
    [1, 100, 1],
    [0, 5, 1],
    [8, 8, 0],
    [8, 8, 1.5],
    [7.5, 8, 1],
    [8, Number.NaN, 1],
  ] as const) {
    expect(isLowRankShape(rows, columns, rank)).toBe(false);
  }
});

describe('a low-rank tensor in a payload', () => {
  test('comes back as it went in, beside ternary ones, and to the same bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.oneof(tensor, fc.constant(null)), { maxLength: 5 }), async (parts) => {
        const table = tableFor(...parts.map((part) => part?.elements ?? 9));
        const tensors = parts.map((part, index) =>
          part === null ? ternary(index, [1, 0, 0, -1, 0, 0, 1, 1, 0]) : { ...part, index },
        );
        const bytes = encodeTernarySync(table, tensors);
        const decoded = await readAll(bytes, table);
        expect(decoded).toEqual(tensors);
        expect(await encodeTernary(table, decoded)).toEqual(bytes);
      }),
      { numRuns: 200 },
    );
  });

  test('expands to the matrix product, exactly, and writes nothing past it', () => {
    fc.assert(
      fc.property(tensor, (t) => {
        const out = new Float32Array(t.elements + 2).fill(9);
        expand(t, out);
        const exact = Float64Array.from(integersOf(t), (k) => k * t.scale);
        expect([...out]).toEqual([...exact, 9, 9]);
        expect(() => expand(t, new Float32Array(t.elements - 1))).toThrow(
          expect.objectContaining({ code: 'BAD_TENSOR' }),
        );
      }),
      { numRuns: 300 },
    );
  });

  test('is measured by the integers of its product', async () => {
    await fc.assert(
      fc.asyncProperty(tensor, async (t) => {
        const table = tableFor(t.elements, 3);
        const measure = await checkPayload(encodeTernarySync(table, [t, ternary(1, [1, -1, 1])]), table);
        const integers = [...integersOf(t)];
        const squares = integers.reduce((sum, k) => sum + k * k, 0);
        const sum = integers.reduce((total, k) => total + k, 0);
        expect(measure.tensors[0]).toEqual({
          index: 0,
          scale: t.scale,
          entries: t.left.nnz + t.right.nnz,
          sum,
          squares,
          peak: Math.max(...integers.map(Math.abs)),
        });
        expect(measure).toMatchObject({
          elements: t.elements + 3,
          nnz: t.left.nnz + t.right.nnz + 3,
          norm: Math.sqrt(t.scale * t.scale * squares + 0.75),
          sum: t.scale * sum + 0.5,
        });
      }),
      { numRuns: 200 },
    );
  });

  test('has its two codes behind one header, which the reader tells', async () => {
    const t = lowRank(0, { rows: 20, columns: 30, rank: 3, density: 0.3, random: randomNumbers(3) });
    const table = tableFor(600);
    const bytes = encodeTernarySync(table, [t]);
    const reader = await openPayload(bytes, table);
    const [section] = reader.sections;
    if (section?.form !== 'low-rank') throw new Error('a ternary section');
    expect(section).toMatchObject({ index: 0, elements: 600, rows: 20, columns: 30, rank: 3, scale: 0.5 });
    expect([section.left.elements, section.right.elements]).toEqual([60, 90]);
    expect([section.left.nnz, section.right.nnz]).toEqual([t.left.nnz, t.right.nnz]);
    expect(section.left.offset).toBe(section.offset);
    expect(section.right.offset).toBe(section.offset + section.left.byteLength);
    expect(section.offset + section.byteLength).toBe(bytes.length);
    expect(reader.nnz).toBe(t.left.nnz + t.right.nnz);
    expect(await reader.tensor(0)).toEqual(t);
  });

  test('shares one scale with the others, or has its own', async () => {
    const random = randomNumbers(4);
    const table = tableFor(100, 2);
    const t = lowRank(0, { rows: 10, columns: 10, rank: 2, density: 0.5, random });
    const same = encodeTernarySync(table, [t, ternary(1, [1, 0], 0.5)]);
    const different = encodeTernarySync(table, [t, ternary(1, [1, 0], 0.25)]);
    expect(different.length).toBe(same.length + 4);
    expect((await readAll(different, table)).map(({ scale }) => scale)).toEqual([0.5, 0.25]);
  });

  test('whose terms cancel everywhere is a zero tensor', async () => {
    // Two equal columns of the left factor, two opposite rows of the right one.
    const t: LowRankTensor = {
      ...lowRank(0, { rows: 4, columns: 4, rank: 2, density: 1, random: randomNumbers(1) }),
      left: masks([1, 1, -1, -1, 0, 0, 1, 1]),
      right: masks([1, -1, 0, 1, -1, 1, 0, -1]),
    };
    const measure = await checkPayload(encodeTernarySync(tableFor(16), [t]), tableFor(16));
    expect(measure).toMatchObject({ nnz: 12, norm: 0, sum: 0 });
    expect(measure.tensors).toEqual([{ index: 0, scale: 0.5, entries: 12, sum: 0, squares: 0, peak: 0 }]);
    const out = new Float32Array(16).fill(9);
    expand(t, out);
    expect([...out]).toEqual(Array(16).fill(0));
  });

  test('of dense factors at a rank of several words is counted word by word, to the same product', () => {
    for (const [rank, density] of [
      [70, 1],
      [64, 0.9],
      [33, 0.02],
    ] as const) {
      const t = lowRank(0, { rows: 150, columns: 170, rank, density, random: randomNumbers(rank) });
      const expected = integersOf(t);
      const product = new ProductRows(t);
      // Rows may be asked for in any order.
      for (const row of [149, 0, 3, 3]) {
        product.load(row);
        expect([...product.values]).toEqual([...expected.subarray(row * 170, (row + 1) * 170)]);
      }
    }
  });

  test('an aborted signal stops its measure', async () => {
    const t = lowRank(0, { rows: 300, columns: 400, rank: 3, density: 0.3, random: randomNumbers(3) });
    const table = tableFor(t.elements);
    const bytes = encodeTernarySync(table, [t]);
    const controller = new AbortController();
    const run = checkPayload(bytes, table, {
      signal: controller.signal,
      onProgress: () => controller.abort(new Error('enough')),
    });
    await expect(run).rejects.toThrow('enough');
  });
});

describe('the encoder refuses a low-rank tensor', () => {
  const good = lowRank(0, { rows: 4, columns: 4, rank: 2, density: 0.5, random: randomNumbers(2) });
  const noMask = new Uint32Array(1);
  test.each<[string, Partial<LowRankTensor>]>([
    ['of other elements than the table', { elements: 20, rows: 5 }],
    ['whose sides do not give its elements', { rows: 2 }],
    [
      'above the rank that its sides allow',
      { rank: 3, left: masks(Array(12).fill(1)), right: masks(Array(12).fill(1)) },
    ],
    ['with a scale that is not exact at its rank', { scale: Math.fround(0.1) }],
    ['with scale 0', { scale: 0 }],
    ['with an empty factor', { left: { plus: noMask, minus: noMask, nnz: 0 } }],
    ['with a wrong count', { right: { ...good.right, nnz: good.right.nnz + 1 } }],
    ['with masks that overlap', { left: { plus: Uint32Array.of(3), minus: Uint32Array.of(1), nnz: 3 } }],
    ['with bits past a factor', { left: { plus: Uint32Array.of(1 << 8), minus: noMask, nnz: 1 } }],
    ['with short masks', { right: { plus: new Uint32Array(0), minus: noMask, nnz: 1 } }],
    ['with an index outside the table', { index: 1 }],
  ])('%s', async (_, lie) => {
    const table = tableFor(16);
    expect(encodeTernarySync(table, [good]).length).toBeGreaterThan(0);
    expect((await failure(encodeTernary(table, [{ ...good, ...lie }]))).code).toBe('BAD_TENSOR');
  });
});

function masks(signs: readonly number[]): SignMasks {
  const { plus, minus, nnz } = ternary(0, signs);
  return { plus, minus, nnz };
}
