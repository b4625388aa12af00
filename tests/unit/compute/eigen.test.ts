import { describe, expect, it, type TestContext } from 'vitest';
import {
  ComputeError,
  type Eigensolver,
  type EigensolverName,
  type SymmetricEigen,
} from '../../../src/compute/index.ts';
import { defects, gluedWilkinson, gram, solverHere, subspaceDifference, withSpectrum } from './eigen-support.ts';
import { gaussian } from './random.ts';

const NAMES: readonly EigensolverName[] = ['lapack', 'portable'];

/** The solver, or the test is skipped. */
function open(name: EigensolverName, context: TestContext): Eigensolver {
  return solverHere(name) ?? context.skip('no LAPACK library is installed');
}

const range = (n: number) => Array.from({ length: n }, (_, i) => i);

/** Matrices of order n that are hard in different ways. */
const KINDS: Record<string, (n: number) => Float64Array> = {
  'of a wide random matrix': (n) => gram(gaussian(n * (n + 9), n), n, n + 9),
  'of a rank-deficient matrix': (n) => gram(gaussian(n * Math.ceil(n / 3), n), n, Math.ceil(n / 3)),
  'with clustered eigenvalues': (n) =>
    withSpectrum(
      range(n).map((i) => 1 + (i % 3) + 1e-13 * i),
      1,
    ),
  'with repeated eigenvalues': (n) =>
    withSpectrum(
      range(n).map((i) => (2 * i < n ? 2 : 1)),
      2,
    ),
  'with a graded spectrum': (n) =>
    withSpectrum(
      range(n).map((i) => 2 ** (-60 * (i / n))),
      3,
    ),
  'graded downwards': (n) => gradedTridiagonal(n, (i) => i),
  'graded upwards': (n) => gradedTridiagonal(n, (i) => n - 1 - i),
  'glued from blocks': gluedWilkinson,
  'of size 1e-300': (n) =>
    withSpectrum(
      range(n).map((i) => 1e-300 * (1 + i)),
      4,
    ),
  'of size 1e300': (n) =>
    withSpectrum(
      range(n).map((i) => 1e300 * (1 + i)),
      5,
    ),
  'that is diagonal': (n) => withDiagonal(range(n).map((i) => (i * 7) % n)),
};

function withDiagonal(diagonal: readonly number[]): Float64Array {
  const n = diagonal.length;
  const g = new Float64Array(n * n);
  for (let i = 0; i < n; i++) g[i * n + i] = diagonal[i]!;
  return g;
}

/** D T D with T = tridiagonal(0.5, 2, 0.5) and D from 1 down to 2^-300. */
function gradedTridiagonal(n: number, place: (i: number) => number): Float64Array {
  const g = new Float64Array(n * n);
  const d = range(n).map((i) => 2 ** Math.round((-300 * place(i)) / n));
  for (let i = 0; i < n; i++) {
    g[i * n + i] = 2 * d[i]! ** 2;
    if (i > 0) g[i * n + i - 1] = g[(i - 1) * n + i] = 0.5 * d[i]! * d[i - 1]!;
  }
  return g;
}

const SIZES = [1, 2, 3, 17, 64, 257];

describe.each(NAMES)('the %s eigensolver', (name) => {
  describe.each(Object.keys(KINDS))('of a matrix %s', (kind) => {
    it.for(SIZES)('of order %i is exact to 1e-12, in descending order', (n, context) => {
      const solver = open(name, context);
      const g = KINDS[kind]!(n);
      const result = solver.solve(g.slice(), n);
      const { residual, orthogonality } = scaledDefects(g, n, result);
      expect(residual).toBeLessThan(1e-12);
      expect(orthogonality).toBeLessThan(1e-12);
      expect([...result.values]).toEqual([...result.values].sort((a, b) => b - a));
      expect(result.values.at(-1)).toBeGreaterThanOrEqual(0);
    });
  });

  it('keeps small eigenvalues of an ill-conditioned matrix and sets what is only rounding to 0', (context) => {
    const g = withSpectrum([1, 1e-3, 1e-8, 1e-12, 0, 0], 3);
    const { values } = open(name, context).solve(g, 6);
    expect(values[2]! / 1e-8).toBeCloseTo(1, 6);
    expect(values[3]! / 1e-12).toBeCloseTo(1, 2);
    expect([values[4], values[5]]).toEqual([0, 0]);
  });

  it('finds the eigenvalues that a matrix was made with', (context) => {
    const made = range(100).map((i) => 1 + i * i);
    const { values } = open(name, context).solve(withSpectrum(made, 8), 100);
    made.reverse().forEach((value, i) => {
      expect(Math.abs(values[i]! - value) / made[0]!).toBeLessThan(1e-13);
    });
  });

  it('solves a matrix of the smallest numbers there are', (context) => {
    const least = Number.MIN_VALUE;
    const { values, vectors } = open(name, context).solve(
      Float64Array.of(5 * least, 4 * least, 4 * least, 5 * least),
      2,
    );
    expect([...values]).toEqual([9 * least, least]);
    for (const x of vectors) expect(Math.abs(x)).toBeCloseTo(Math.SQRT1_2, 14);
  });

  it('gives identity rows for the zero matrix, as many as wanted', (context) => {
    const solver = open(name, context);
    expect([...solver.solve(new Float64Array(9), 3).vectors]).toEqual([1, 0, 0, 0, 1, 0, 0, 0, 1]);
    const { values, vectors } = solver.solve(new Float64Array(9), 3, { vectors: () => 1 });
    expect([[...values], [...vectors]]).toEqual([
      [0, 0, 0],
      [1, 0, 0],
    ]);
  });

  it('reads nothing below the diagonal', (context) => {
    const solver = open(name, context);
    const n = 40;
    const g = gram(gaussian(n * n, 9), n, n);
    const whole = solver.solve(g.slice(), n);
    for (let i = 0; i < n; i++) g.fill(Number.NaN, i * n, i * n + i);
    expect(solver.solve(g, n)).toEqual(whole);
  });

  it('leaves the vectors alone when the input memory is used again', (context) => {
    const g = withSpectrum([3, 2, 1], 1);
    const { vectors } = open(name, context).solve(g, 3);
    const before = [...vectors];
    g.fill(0);
    expect([...vectors]).toEqual(before);
  });

  it('gives equal bytes for equal input, whatever it solved before', (context) => {
    const solver = open(name, context);
    const g = gram(gaussian(130 * 150, 3), 130, 150);
    const first = solver.solve(g.slice(), 130);
    solver.solve(gram(gaussian(200 * 150, 4), 200, 150), 200);
    expect(solver.solve(g.slice(), 130)).toEqual(first);
  });

  it.for([0, 1, 20, 64, 199, 200])('gives the first %i vectors as it gives them among all', (count, context) => {
    const solver = open(name, context);
    const n = 200;
    const g = gram(gaussian(n * 260, 5), n, 260);
    const all = solver.solve(g.slice(), n);
    const few = solver.solve(g.slice(), n, { vectors: () => count });
    expect(few.values).toEqual(all.values);
    expect(few.vectors.length).toBe(count * n);
    for (let i = 0; i < count; i++) {
      expect(subspaceDifference(few.vectors, all.vectors, n, i, i + 1)).toBeLessThan(1e-11);
    }
  });

  it('gives the whole subspace of a cluster when few vectors are wanted', (context) => {
    const solver = open(name, context);
    const n = 120;
    const g = withSpectrum(
      range(n).map((i) => (i < 30 ? 5 : 1 + (i % 2))),
      6,
    );
    const all = solver.solve(g.slice(), n);
    const few = solver.solve(g.slice(), n, { vectors: () => 30 });
    expect(subspaceDifference(few.vectors, all.vectors, n, 0, 30)).toBeLessThan(1e-12);
    expect(defects(g, n, few).orthogonality).toBeLessThan(1e-12);
  });

  it('asks for the number of vectors with the values that it returns', (context) => {
    let asked: number[] = [];
    const { values } = open(name, context).solve(withSpectrum([4, 2, 0], 7), 3, {
      vectors: (told) => {
        asked = [...told];
        return 1;
      },
    });
    expect(asked).toEqual([...values]);
    expect(asked[2]).toBe(0);
  });

  it('refuses NaN, infinity, a wrong length and an impossible number of vectors', (context) => {
    const solver = open(name, context);
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const g of [Float64Array.of(1, 0, 0, bad), Float64Array.of(1, bad, bad, 1)]) {
        expect(() => solver.solve(g, 2)).toThrow(expect.objectContaining({ code: 'NON_FINITE' }));
      }
    }
    const badJob = expect.objectContaining({ code: 'BAD_JOB' });
    expect(() => solver.solve(new Float64Array(3), 2)).toThrow(ComputeError);
    expect(() => solver.solve(new Float64Array(0), 0)).toThrow(badJob);
    for (const count of [-1, 3, 0.5, Number.NaN]) {
      expect(() => solver.solve(Float64Array.of(1, 0, 0, 1), 2, { vectors: () => count })).toThrow(badJob);
    }
  });
});

/** Defects of a result, with matrix and values brought to ordinary size first. */
function scaledDefects(g: Float64Array, n: number, { values, vectors }: SymmetricEigen) {
  const exponent = Math.floor(Math.log2(values[0] || 1));
  const ordinary = (x: number) => x * 2 ** -Math.trunc(exponent / 2) * 2 ** (Math.trunc(exponent / 2) - exponent);
  return defects(g.map(ordinary), n, { values: values.map(ordinary), vectors });
}

describe('the two eigensolvers', () => {
  it.for(Object.keys(KINDS))('agree on the values of a matrix %s', (kind, context) => {
    const [lapack, portable] = [open('lapack', context), open('portable', context)];
    const g = KINDS[kind]!(150);
    const [a, b] = [lapack.solve(g.slice(), 150).values, portable.solve(g, 150).values];
    for (let i = 0; i < 150; i++) expect(Math.abs(a[i]! - b[i]!) / a[0]!).toBeLessThan(1e-12);
  });

  it('agree on invariant subspaces', (context) => {
    const [lapack, portable] = [open('lapack', context), open('portable', context)];
    const n = 150;
    const g = withSpectrum(
      range(n).map((i) => (i < 40 ? 9 : i < 90 ? 5 : 1)),
      8,
    );
    const [a, b] = [lapack.solve(g.slice(), n).vectors, portable.solve(g, n).vectors];
    for (const [from, to] of [
      [0, 40],
      [40, 90],
      [90, 150],
    ] as const) {
      expect(subspaceDifference(a, b, n, from, to)).toBeLessThan(1e-12);
    }
  });
});
