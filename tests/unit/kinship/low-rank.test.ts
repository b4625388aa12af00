import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isLowRankShape, type LowRankTensor, lowRankScale, type UpdateTensor } from '../../../src/codec/index.ts';
import { Pacer } from '../../../src/codec/pacer.ts';
import { ternaryFromSigns } from '../../../src/codec/ternary.ts';
import {
  countPairs,
  decide,
  FIXED_ONE,
  fixedScale,
  measurePair,
  pairFixed,
  parsePolicy,
  similarity,
} from '../../../src/kinship/index.ts';
import { innerProduct } from '../../../src/kinship/products.ts';
import { integersOf, lowRank, randomNumbers, share } from '../codec/support.ts';
import { expectRunningSum, filled, type Packed, pack, tableOf } from './support.ts';

const pacer = new Pacer(2 ** 20, undefined);
const scale = fc.double({ min: 1e-6, max: 1e6, noNaN: true });

/** A tensor of 24 x 30, in one of the forms: ternary, or low-rank with its own rank and, at times, other rows. */
function tensorArbitrary(index: number): fc.Arbitrary<UpdateTensor> {
  const common = { density: share, seed: fc.integer({ min: 1, max: 2 ** 31 }), scale };
  const ternaries = fc.record(common).map(({ density, seed, scale: size }) => {
    const random = randomNumbers(seed);
    const signs = Int8Array.from({ length: 720 }, () => (random() >= density ? 0 : random() < 0.5 ? -1 : 1));
    signs[Math.floor(720 * random())] = 1;
    return ternaryFromSigns(index, signs, size)!;
  });
  const products = fc
    .record({ ...common, rows: fc.constantFrom(24, 24, 24, 20, 30), rank: fc.integer({ min: 1, max: 13 }) })
    .filter(({ rows, rank }) => isLowRankShape(rows, 720 / rows, rank))
    .map(({ seed, scale: size, rank, ...rest }) => {
      const wire = lowRankScale(size, rank);
      return lowRank(index, { ...rest, rank, columns: 720 / rest.rows, scale: wire, random: randomNumbers(seed) });
    });
  return fc.oneof(ternaries, products, products);
}

const table = tableOf([720, 720]);
const updateArbitrary = fc.tuple(tensorArbitrary(0), tensorArbitrary(1));

function bruteForce(a: UpdateTensor, b: UpdateTensor): number {
  const other = integersOf(b);
  return integersOf(a).reduce((sum, k, i) => sum + k * other[i]!, 0);
}

/** The entries of an update as numbers, flattened. */
function valuesOf(tensors: readonly UpdateTensor[]): number[] {
  return tensors.flatMap((t) => [...integersOf(t)].map((k) => k * t.scale));
}

async function pairSum(probe: Packed, updates: readonly Packed[]): Promise<bigint> {
  let sum = 0n;
  for (const other of updates) sum += (await measurePair(probe, other)).fixed;
  return sum;
}

describe('comparing low-rank tensors with each other and with ternary ones', () => {
  it('agrees with multiplying the integers one by one, in either order', async () => {
    await fc.assert(
      fc.asyncProperty(tensorArbitrary(0), tensorArbitrary(0), async (a, b) => {
        const expected = bruteForce(a, b);
        expect(await innerProduct(a, b, pacer)).toBe(expected);
        expect(await innerProduct(b, a, pacer)).toBe(expected);
        expect(await innerProduct(a, a, pacer)).toBe(bruteForce(a, a));
      }),
      { numRuns: 200 },
    );
  });

  it('agrees with the definitions on the expanded vectors, symmetric bit by bit', async () => {
    await fc.assert(
      fc.asyncProperty(updateArbitrary, updateArbitrary, async (one, other) => {
        const [a, b] = [await pack(table, one), await pack(table, other)];
        fc.pre(a.measure.norm > 0 && b.measure.norm > 0);
        const counts = await countPairs(a.payload, b.payload);
        const actual = similarity(a.measure, b.measure, counts);
        const [x, y] = [valuesOf(one), valuesOf(other)];
        const inner = x.reduce((sum, value, i) => sum + value * y[i]!, 0);
        expect(actual.cosine).toBeCloseTo(inner / (Math.hypot(...x) * Math.hypot(...y)), 9);
        expect(a.measure.norm).toBeCloseTo(Math.hypot(...x), 6 - Math.log10(Math.hypot(...x)));
        expect(await countPairs(b.payload, a.payload)).toEqual(counts);
        expect(similarity(b.measure, a.measure, counts)).toEqual(actual);
        expect(pairFixed(b.measure, a.measure, counts)).toBe(pairFixed(a.measure, b.measure, counts));
      }),
      { numRuns: 60 },
    );
  });

  it('finds a copy at exactly 1 and a negative at exactly -1', async () => {
    await fc.assert(
      fc.asyncProperty(updateArbitrary, async (tensors) => {
        const a = await pack(table, tensors);
        fc.pre(a.measure.norm > 0);
        const negative = await pack(table, tensors.map(negated));
        expect((await measurePair(a, a)).cosine).toBe(1);
        expect((await measurePair(a, negative)).cosine).toBe(-1);
      }),
      { numRuns: 60 },
    );
  });

  it('at rank 1 gives the very bits of the ternary tensor that it expands to', async () => {
    const one = fc.record({ density: share, seed: fc.integer({ min: 1, max: 2 ** 31 }), scale });
    await fc.assert(
      fc.asyncProperty(one, one, updateArbitrary, async (first, second, third) => {
        const factors = [first, second].map(({ seed, density, scale: size }, index) => {
          const wire = lowRankScale(size, 1);
          return lowRank(index, { rows: 24, columns: 30, rank: 1, density, scale: wire, random: randomNumbers(seed) });
        });
        const expanded = factors.map((t) => ternaryFromSigns(t.index, integersOf(t), t.scale)!);
        const [low, high, other] = [await pack(table, factors), await pack(table, expanded), await pack(table, third)];
        const { norm, sum } = high.measure;
        expect(low.measure).toMatchObject({ norm, sum });
        const [a, b] = [await countPairs(low.payload, other.payload), await countPairs(high.payload, other.payload)];
        expect(a).toEqual(b);
        expect(similarity(low.measure, other.measure, a)).toEqual(similarity(high.measure, other.measure, b));
        fc.pre(other.measure.norm > 0);
        expect(await measurePair(low, other)).toEqual(await measurePair(high, other));
        expect(await measurePair(low, high)).toMatchObject({ cosine: 1 });
      }),
      { numRuns: 40 },
    );
  });

  it('knows a constant product exactly', async () => {
    const ones = constant({ rows: 4, columns: 6, rank: 2 });
    const a = await pack(tableOf([24]), [ones]);
    expect(a.measure.tensors[0]).toMatchObject({ sum: 48, squares: 96, peak: 2 });
    expect(similarity(a.measure, a.measure, await countPairs(a.payload, a.payload)).pearson).toBeNull();
    // The same value in two forms over two tensors; and a constant beside a tensor of zeros, which is none.
    const two = tableOf([24, 3]);
    const both = await pack(two, [ones, ternaryFromSigns(1, [1, 1, 1], 2 * ones.scale)!]);
    expect(similarity(both.measure, both.measure, await countPairs(both.payload, both.payload)).pearson).toBeNull();
    for (const rest of [[], [ternaryFromSigns(1, [1, 1, 1], ones.scale)!], [ternaryFromSigns(1, [1, 1, 0], 1)!]]) {
      const mixed = await pack(two, [ones, ...rest]);
      expect(similarity(mixed.measure, mixed.measure, await countPairs(mixed.payload, mixed.payload)).pearson).toBe(1);
    }
  });

  it('stops when it is aborted', async () => {
    const t = lowRank(0, { rows: 24, columns: 30, rank: 4, density: 0.5, random: randomNumbers(1) });
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    const stopped = new Pacer(1, controller.signal);
    for (const other of [t, { ...t, rows: 30, columns: 24 }, ternaryFromSigns(0, integersOf(t), 1)!]) {
      await expect(innerProduct(t, other, stopped)).rejects.toThrow('enough');
    }
  });
});

describe('the kinship state with low-rank updates', () => {
  it('equals the sum over pairs exactly, in any order, and gives an update back exactly', async () => {
    const community = fc.array(updateArbitrary, { minLength: 3, maxLength: 5 });
    await fc.assert(
      fc.asyncProperty(community, fc.integer(), async (updates, seed) => {
        const packed = await Promise.all(updates.map((tensors) => pack(table, tensors)));
        await expectRunningSum(packed, pairSum, seed);
      }),
      { numRuns: 40 },
    );
  });

  it('sums rows longer than one block of limbs, exactly', async () => {
    const wide = tableOf([8 * 5000]);
    const packed: Packed[] = [];
    for (const seed of [1, 2, 3]) {
      const t = lowRank(0, { rows: 8, columns: 5000, rank: 7, density: 0.9, random: randomNumbers(seed) });
      packed.push(await pack(wide, [t]));
    }
    const [probe, ...rest] = packed;
    const state = await filled(rest);
    expect(await state.dot(probe!.payload, probe!.measure)).toBe(await pairSum(probe!, rest));
  });

  it('refuses a measure that is not that of the product, and is unchanged', async () => {
    const a = await pack(table, [
      lowRank(0, { rows: 24, columns: 30, rank: 4, density: 0.5, random: randomNumbers(1) }),
    ]);
    const state = await filled([a]);
    const before = await state.dot(a.payload, a.measure);
    const [tensor] = a.measure.tensors;
    for (const lie of [{ sum: tensor!.sum + 1 }, { squares: tensor!.squares + 1 }, { peak: 1 }, { entries: 1 }]) {
      const measure = { ...a.measure, tensors: [{ ...tensor!, ...lie }] };
      await expect(state.add(a.payload, measure)).rejects.toMatchObject({ code: 'MEASURE_MISMATCH' });
    }
    expect(await state.dot(a.payload, a.measure)).toBe(before);
  });

  it('has entries of at most one and half a unit per integer', () => {
    const integer = fc.integer({ min: 1, max: 1024 });
    fc.assert(
      fc.property(
        integer,
        fc.double({ min: 1e-30, max: 1e30, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (peak, size, more) => {
          const norm = Math.sqrt(size * size * peak * peak * (1 + more));
          expect(fixedScale({ scale: size, peak }, norm) * peak).toBeLessThanOrEqual(FIXED_ONE + peak / 2);
        },
      ),
    );
    expect(() => fixedScale({ scale: 1, peak: 3 }, 2)).toThrow(expect.objectContaining({ code: 'MEASURE_MISMATCH' }));
  });
});

describe('a product whose terms cancel everywhere', () => {
  const cancelling: LowRankTensor = {
    ...constant({ rows: 4, columns: 6, rank: 2 }),
    // The second row of the right factor is minus the first.
    right: { plus: Uint32Array.of(0b000000_111111), minus: Uint32Array.of(0b111111_000000), nnz: 12 },
    scale: 2 ** 100,
  };
  const both = tableOf([24, 3]);

  it('adds nothing to kinship, whatever its scale', async () => {
    const some = ternaryFromSigns(1, [1, 0, -1], 0.5)!;
    const a = await pack(both, [cancelling, some]);
    const b = await pack(both, [some]);
    expect(await measurePair(a, b)).toEqual(await measurePair(b, b));
    expect(await measurePair(a, a)).toEqual(await measurePair(b, b));
    const state = await filled([a]);
    expect(await state.dot(a.payload, a.measure)).toBe((await measurePair(b, b)).fixed);
    expect(await state.meanCosine(b.payload, b.measure)).toBeCloseTo(1, 9);
  });

  it('is a zero update on its own, which is declined', async () => {
    const { measure } = await pack(tableOf([24]), [cancelling]);
    expect(measure).toMatchObject({ nnz: 20, norm: 0 });
    const decision = decideAlone(measure);
    expect(decision).toMatchObject({ accepted: false, gate: 'bounds' });
    expect(decision.gates.find(({ verdict }) => verdict === 'fail')!.check).toBe('not zero');
  });
});

describe('absolute limits of a low-rank update', () => {
  it('hold for its largest entry, not for its scale alone', async () => {
    const { measure } = await pack(tableOf([24]), [constant({ rows: 4, columns: 6, rank: 2 })]);
    expect(measure.tensors[0]).toMatchObject({ scale: 0.5, peak: 2 });
    expect(decideAlone(measure, { maxScale: 1 }).accepted).toBe(true);
    expect(decideAlone(measure, { maxScale: 0.999 })).toMatchObject({ accepted: false, gate: 'bounds' });
  });

  it('count its coded entries as density', async () => {
    const { measure } = await pack(tableOf([24]), [constant({ rows: 4, columns: 6, rank: 2 })]);
    expect(decideAlone(measure, { maxDensity: 20 / 24 }).accepted).toBe(true);
    expect(decideAlone(measure, { maxDensity: 19 / 24 })).toMatchObject({ accepted: false, gate: 'bounds' });
  });
});

function decideAlone(payload: Packed['measure'], limits: Partial<Parameters<typeof decide>[1]> = {}) {
  const policy = parsePolicy({
    duplicate: 0.95,
    opposite: -0.5,
    kinship: [-0.1, 0.9],
    normRatio: [1 / 3, 3],
    minReference: 1,
    maxNorm: 100,
    maxScale: 10,
    maxDensity: 1,
    maxPayloadBytes: 1000,
    ...limits,
  });
  return decide([{ id: 'a', kind: 'update', payload }], policy, () => undefined).decisions[0]!;
}

/** Both factors all 1: every entry of the product is the rank. */
function constant({ rows, columns, rank }: { rows: number; columns: number; rank: number }): LowRankTensor {
  const t = lowRank(0, { rows, columns, rank, density: 0, random: randomNumbers(1) });
  const ones = (elements: number) => {
    const { plus, minus, nnz } = ternaryFromSigns(0, new Int8Array(elements).fill(1), 1)!;
    return { plus, minus, nnz };
  };
  return { ...t, left: ones(rows * rank), right: ones(rank * columns) };
}

function negated(t: UpdateTensor): UpdateTensor {
  if (t.form !== 'low-rank') return { ...t, plus: t.minus, minus: t.plus };
  return { ...t, left: { ...t.left, plus: t.left.minus, minus: t.left.plus } };
}
