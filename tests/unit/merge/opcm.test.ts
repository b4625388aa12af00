import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type FoldTensor, spectrumOf } from '../../../src/merge/index.ts';
import { directionsOf, headOf, tailMultiple } from '../../../src/merge/opcm.ts';
import { gaussian32, uniform } from '../compute/random.ts';
import { engineOf, foldAll, readSum, relative, scratch, taskVector } from './helpers.ts';

describe('the split rank', () => {
  const squares = (...sigma: number[]) => Float64Array.from(sigma, (s) => s * s);

  it('counts leading singular values whose sum stays within alpha of the nuclear norm', () => {
    // Shares of the running sum: 0.4, 0.7, 0.9, 1.
    const values = squares(4, 3, 2, 1);
    const at = (alpha: number) => spectrumOf(values, 4, alpha).splitRank;
    expect([0, 0.39, 0.41, 0.69, 0.71, 0.89, 0.91, 0.999].map(at)).toEqual([0, 0, 1, 1, 2, 2, 3, 3]);
    expect([1, 2].map(at)).toEqual([4, 4]);
    expect(spectrumOf(values, 4, 0.5)).toMatchObject({ nuclearNorm: 10, sigmaMax: 4, rank: 4 });
  });

  it('has a neighbour where the running share is within 1e-9 of alpha on one side', () => {
    const values = squares(4, 3, 2, 1);
    const at = (alpha: number) => {
      const { splitRank, splitNeighbour } = spectrumOf(values, 4, alpha);
      return [splitRank, splitNeighbour];
    };
    expect(at(0.7 - 0.9e-9)).toEqual([1, 2]);
    expect(at(0.7 + 0.9e-9)).toEqual([2, 1]);
    expect(at(0.7 - 1.1e-9)).toEqual([1, null]);
    expect(at(0.7 + 1.1e-9)).toEqual([2, null]);
    expect(at(0)).toEqual([0, null]);
    expect(at(1 - 0.9e-9)).toEqual([3, null]);
  });

  it('protects the numerical rank, not more, from alpha 1 on', () => {
    expect(spectrumOf(squares(1, 0.5, 1e-9, 0), 4, 1)).toMatchObject({ splitRank: 2, rank: 2 });
  });

  it('draws the numerical rank at sigma_0 * max(m,n) * 2^-23', () => {
    const edge = 100 * 2 ** -23;
    expect(spectrumOf(squares(1, edge * 1.001), 100, 0.5).rank).toBe(2);
    expect(spectrumOf(squares(1, edge * 0.999), 100, 0.5).rank).toBe(1);
  });

  it('is 0 without any singular value', () => {
    expect(spectrumOf(squares(0, 0), 2, 0.5)).toEqual({
      splitRank: 0,
      splitNeighbour: null,
      rank: 0,
      nuclearNorm: 0,
      sigmaMax: 0,
    });
    expect(spectrumOf(squares(0, 0), 2, 1)).toMatchObject({ splitRank: 0, rank: 0 });
  });

  it('divides by nothing beyond the numerical rank', () => {
    const values = squares(1, 0, 0);
    for (const alpha of [0, 0.5, 0.9999, 1]) {
      const spectrum = spectrumOf(values, 3, alpha);
      expect(directionsOf(spectrum, 'ref')).toBe(1);
      expect(directionsOf(spectrum, 'lite')).toBe(headOf(spectrum));
      expect(headOf(spectrum)).toBeLessThanOrEqual(1);
      expect(tailMultiple(2, values, spectrum)).toBe(headOf(spectrum) === 1 ? 0 : 2);
    }
  });
});

const engine = await engineOf(1);

/** Random matrices, some of low rank, some of exact zeros; any size and orientation. */
const cases = fc.record({
  rows: fc.integer({ min: 1, max: 12 }),
  columns: fc.integer({ min: 1, max: 12 }),
  rank: fc.integer({ min: 0, max: 12 }),
  seed: fc.integer({ min: 1, max: 1e6 }),
  alpha: fc.constantFrom(0, 0.2, 0.5, 0.8, 1),
  variant: fc.constantFrom('ref' as const, 'lite' as const),
  size: fc.constantFrom(1e-20, 1e-3, 1, 1e10),
});

function lowRank(rows: number, columns: number, rank: number, seed: number, size: number): Float32Array {
  const a = gaussian32(rows * rank, seed);
  const b = gaussian32(rank * columns, seed + 1);
  return Float32Array.from({ length: rows * columns }, (_, i) => {
    let sum = 0;
    for (let k = 0; k < rank; k++) sum += a[Math.floor(i / columns) * rank + k]! * b[k * columns + (i % columns)]!;
    return sum * size;
  });
}

function project(
  values: { s: Float32Array; t: Float32Array; rows: number; columns: number },
  rule: { variant: 'ref' | 'lite'; alpha: number },
) {
  const { s, t, rows, columns } = values;
  return engine.project({ sum: s.slice(), update: t.slice(), rows, columns, rule });
}

describe('a projection of any matrix', () => {
  it('leaves nothing along the sum, and squares add up', async () => {
    await fc.assert(
      fc.asyncProperty(cases, async ({ rows, columns, rank, seed, alpha, variant, size }) => {
        const s = lowRank(rows, columns, rank, seed, size);
        const t = gaussian32(rows * columns, seed + 7, size);
        const result = await project({ s, t, rows, columns }, { variant, alpha });
        const scale = Math.sqrt(result.squares.sum * result.squares.update);
        // Below the numerical rank nothing is removed: rounding of S in float32 may leave that much.
        expect(Math.abs(result.innerProduct)).toBeLessThanOrEqual(1e-5 * scale);
        const together = result.squares.sum + result.squares.projected + 2 * result.innerProduct;
        expect(Math.abs(result.sumSquares - together)).toBeLessThanOrEqual(1e-6 * together);
        expect(result.squares.projected).toBeLessThanOrEqual(result.squares.update * (1 + 1e-12));
        expect(result.rank).toBeLessThanOrEqual(Math.min(rows, columns, rank));
      }),
      { numRuns: 60 },
    );
  });

  it('depends on the sum only up to its scale', async () => {
    await fc.assert(
      fc.asyncProperty(cases, fc.constantFrom(2 ** -20, 0.5, 4, 2 ** 20), async (given, factor) => {
        const { rows, columns, rank, seed, alpha, variant } = given;
        const s = lowRank(rows, columns, rank, seed, 1);
        const t = gaussian32(rows * columns, seed + 7);
        const scaled = s.map((x) => x * factor);
        const a = await project({ s, t, rows, columns }, { variant, alpha });
        const b = await project({ s: scaled, t, rows, columns }, { variant, alpha });
        expect([b.splitRank, b.rank]).toEqual([a.splitRank, a.rank]);
        expect(Math.abs(b.squares.projected - a.squares.projected)).toBeLessThanOrEqual(1e-9 * a.squares.update);
      }),
      { numRuns: 30 },
    );
  });

  it('follows the definition with singular vectors', async () => {
    // S = diag(3, 2, 1) padded: its singular vectors are the unit vectors, so the rule can be read off.
    const columns = 4;
    const s = Float32Array.of(3, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1, 0);
    const t = Float32Array.from({ length: 12 }, (_, i) => i + 1);
    const ref = await project({ s, t, rows: 3, columns }, { variant: 'ref', alpha: 0.84 });
    expect(ref.splitRank).toBe(2);
    // The 2 x 2 block and the third diagonal entry are gone; cross blocks and the fourth column stay.
    const expected = [3, 0, 3, 4, 0, 2, 7, 8, 9, 10, 1, 12];
    expect(relative(ref.sum, expected)).toBeLessThan(1e-7);
    const lite = await project({ s, t, rows: 3, columns }, { variant: 'lite', alpha: 0.4 });
    expect(lite.splitRank).toBe(0);
    // No head: T minus its component along S, <S,T> / |S|^2 = (3 * 1 + 2 * 6 + 1 * 11) / 14.
    const share = 26 / 14;
    const plain = [...t].map((x, i) => x + s[i]! - share * s[i]!);
    expect(relative(lite.sum, plain)).toBeLessThan(1e-7);
  });
});

describe('a fold over tensors of every kind', () => {
  const tensors: FoldTensor[] = [
    { name: 'bias', shape: [7], linear: false },
    { name: 'conv', shape: [2, 3, 2, 2], linear: false },
    { name: 'empty', shape: [0, 4], linear: false },
    { name: 'gate', shape: [1, 1], linear: true },
    { name: 'row', shape: [1, 9], linear: false },
    { name: 'scalar', shape: [], linear: false },
    { name: 'square', shape: [6, 6], linear: true },
    { name: 'tall', shape: [11, 4], linear: true },
  ];
  const random = (seed: number) =>
    Object.fromEntries(
      tensors.map(({ name, shape }, i) => [
        name,
        gaussian32(
          shape.reduce((a, b) => a * b, 1),
          seed * 100 + i,
          0.01,
        ),
      ]),
    );

  it('sums what is not linear, and keeps a 1 x 1 linear tensor where it is', async () => {
    const [a, b] = [random(1), random(2)];
    const { summaries, state } = await foldAll(
      await scratch(),
      tensors,
      [taskVector(tensors, a), taskVector(tensors, b)],
      engine,
    );
    const sums = await readSum(state);
    for (const name of ['bias', 'conv', 'empty', 'row', 'scalar']) {
      expect(sums.get(name)).toEqual(a[name]!.map((x, i) => x + b[name]![i]!));
    }
    expect(Math.abs(sums.get('gate')![0]! - a.gate![0]!)).toBeLessThan(1e-9);
    const projected = summaries[1]!.tensors.filter((t) => t.projected).map((t) => t.name);
    expect(projected).toEqual(['gate', 'square', 'tall']);
    expect(summaries[0]!.tensors.some((t) => t.projected)).toBe(false);
    expect(summaries[0]!.lambda).toBeCloseTo(1, 12);
  });

  it('takes tensors that are all zero, announced or not, on either side', async () => {
    const [a, b] = [random(3), random(4)];
    const { square: _, tall: __, ...partial } = a;
    const zeros = { ...b, tall: new Float32Array(44), bias: new Float32Array(7) };
    const { summaries, state } = await foldAll(
      await scratch(),
      tensors,
      [taskVector(tensors, partial), taskVector(tensors, zeros), taskVector(tensors, {})],
      engine,
    );
    const sums = await readSum(state);
    expect(sums.get('square')).toEqual(b.square);
    expect(sums.get('tall')).toEqual(new Float32Array(44));
    expect(sums.get('bias')).toEqual(a.bias);
    expect(summaries[2]!.updateNorm).toBe(0);
    expect(summaries[2]!.norm).toBe(summaries[1]!.norm);
    expect(summaries[2]!.meanNorm).toBeCloseTo((summaries[1]!.meanNorm * 2) / 3, 12);
    expect(summaries.every(({ lambda }) => Number.isFinite(lambda))).toBe(true);
  });

  it('has lambda 1 where there is nothing to scale', async () => {
    const { summaries } = await foldAll(await scratch(), tensors, [taskVector(tensors, {})], engine);
    expect(summaries[0]).toMatchObject({ lambda: 1, norm: 0, steps: 1 });
  });

  it('keeps |S|^2 the sum of squares of what was added, for matrices', async () => {
    const matrices = tensors.filter(({ linear, shape }) => linear && shape[0]! > 1);
    const updates = [5, 6, 7, 8].map((seed) => taskVector(matrices, random(seed)));
    const { summaries } = await foldAll(await scratch(), matrices, updates, engine);
    let squares = 0;
    for (const { tensors: folded, norm } of summaries) {
      const added = folded.map(({ removedEnergy }) => removedEnergy ?? 0);
      expect(added.every((removed) => removed >= -1e-12 && removed < 1)).toBe(true);
      expect(norm * norm).toBeGreaterThan(squares);
      squares = norm * norm;
    }
  });

  it('takes the given norm of an update, and does not depend on random order of reads', async () => {
    const next = uniform(3);
    const values = random(9);
    const reads: number[] = [];
    let open = 0;
    const update = {
      norm: 123,
      async read(index: number, out: Float32Array) {
        expect(open++).toBe(0);
        await new Promise((resolve) => setTimeout(resolve, next() * 3));
        reads.push(index);
        out.set(values[tensors[index]!.name]!);
        open--;
        return true;
      },
    };
    const { summaries } = await foldAll(await scratch(), tensors, [update], await engineOf(3));
    expect(summaries[0]).toMatchObject({ updateNorm: 123, meanNorm: 123 });
    expect(reads).toEqual(tensors.map((_, i) => i));
  });
});
