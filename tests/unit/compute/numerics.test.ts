import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Matrix, SingularValueDecomposition } from 'ml-matrix';
import { afterAll, describe, expect, it } from 'vitest';
import {
  createEngine,
  describeEigensolver,
  type EngineOptions,
  type MatrixEngine,
  type ProjectionJob,
} from '../../../src/compute/index.ts';
import { foldStep, OPCM_VARIANTS, type OpcmRule } from '../../../src/merge/index.ts';
import { foldAll, relative, scratch, taskVector } from '../merge/helpers.ts';
import { gaussian32, uniform } from './random.ts';

const engines = new Map<string, Promise<MatrixEngine>>();
afterAll(async () => {
  for (const opened of engines.values()) await (await opened).close();
});
function engine(options: EngineOptions): Promise<MatrixEngine> {
  const key = JSON.stringify(options);
  if (!engines.has(key)) engines.set(key, createEngine({ device: 'cpu', workers: 1, ...options }));
  return engines.get(key)!;
}

const SOLVERS = describeEigensolver().name === 'lapack' ? (['lapack', 'portable'] as const) : (['portable'] as const);
const RANK = 5;

/** Whole numbers, so that float32 has the product without rounding: exactly of rank 5. */
function ofRankFive(rows: number, columns: number, seed: number): Float32Array<ArrayBuffer> {
  const draw = uniform(seed);
  const integers = (length: number) => Float64Array.from({ length }, () => Math.floor(9 * draw()) - 4);
  const [a, b] = [integers(rows * RANK), integers(RANK * columns)];
  return Float32Array.from({ length: rows * columns }, (_, at) => {
    let sum = 0;
    for (let k = 0; k < RANK; k++) sum += a[Math.floor(at / columns) * RANK + k]! * b[k * columns + (at % columns)]!;
    return sum;
  });
}

/** The rule as docs/algorithms.md, C.3 and C.4, write it: by a singular value decomposition. */
function byDefinition({ sum, update, rows, columns }: ProjectionJob, { variant, alpha }: OpcmRule) {
  const matrixOf = (values: ArrayLike<number>) =>
    Matrix.from1DArray(rows, columns, Array.from(values))
      .to2DArray()
      .map((row) => row.slice());
  const s = new Matrix(matrixOf(sum));
  const t = new Matrix(matrixOf(update));
  const found = new SingularValueDecomposition(s, { autoTranspose: true });
  const sigma = found.diagonal;
  const [u, v] = [found.leftSingularVectors, found.rightSingularVectors];
  const rank = sigma.filter((value) => value > sigma[0]! * Math.max(rows, columns) * 2 ** -23).length;
  const total = sigma.reduce((a, b) => a + b, 0);
  let running = 0;
  const exceeding = sigma.findIndex((value) => {
    running += value;
    return running / total > alpha;
  });
  const split = alpha >= 1 ? rank : exceeding;
  const c = t.clone();
  const p = u.transpose().mmul(t).mmul(v);
  const remove = (i: number, j: number) => {
    c.sub(u.getColumnVector(i).mmul(v.getColumnVector(j).transpose()).mul(p.get(i, j)));
  };
  for (let i = 0; i < Math.min(split, rank); i++) for (let j = 0; j < Math.min(split, rank); j++) remove(i, j);
  if (variant === 'ref') {
    for (let i = split; i < rank; i++) remove(i, i);
  } else if (split < rank) {
    const tail = s.clone();
    for (let i = 0; i < split; i++) {
      tail.sub(u.getColumnVector(i).mmul(v.getColumnVector(i).transpose()).mul(sigma[i]!));
    }
    const along = Matrix.mul(tail, t).sum() / Matrix.mul(tail, tail).sum();
    c.sub(tail.mul(along));
  }
  return { rank, split, sum: s.add(c).to1DArray() };
}

describe.each(SOLVERS)('with the %s eigensolver', (eigensolver) => {
  describe.each(OPCM_VARIANTS)('%s', (variant) => {
    it.each([
      [64, 96],
      [96, 64],
      [64, 64],
    ])('treats a sum of exact rank 5 by the rule of the numerical rank: %d x %d', async (rows, columns) => {
      for (const alpha of [0, 0.3, 0.5, 0.9, 1]) {
        const rule = { variant, alpha };
        const sum = ofRankFive(rows, columns, rows + columns);
        const job = { sum, update: gaussian32(rows * columns, 5, 3), rows, columns, rule };
        const expected = byDefinition(job, rule);
        const result = await (await engine({ eigensolver })).project(job);
        expect({ rank: result.rank, split: result.splitRank }).toEqual({ rank: RANK, split: expected.split });
        expect(relative(result.sum, expected.sum)).toBeLessThan(1e-6);
      }
    });

    it('adds to a sum that is all zero, and adds nothing that is all zero', async () => {
      const opened = await engine({ eigensolver });
      for (const alpha of [0, 0.5, 1]) {
        const rule = { variant, alpha };
        const values = gaussian32(64 * 40, 9);
        const zero = () => new Float32Array(64 * 40);
        const first = await opened.project({ sum: zero(), update: values.slice(), rows: 64, columns: 40, rule });
        expect(first).toMatchObject({ splitRank: 0, splitNeighbour: null, rank: 0, nuclearNorm: 0 });
        expect(first.sum).toEqual(values);
        const second = await opened.project({ sum: values.slice(), update: zero(), rows: 64, columns: 40, rule });
        expect(second.sum).toEqual(values);
        const none = await opened.project({ sum: zero(), update: zero(), rows: 64, columns: 40, rule });
        expect(none).toMatchObject({ sum: zero(), sumSquares: 0 });
      }
    });

    it('gives the same bytes with any number of workers, in any order', async () => {
      const shapes = [
        [30, 50],
        [64, 64],
        [50, 30],
        [17, 90],
      ] as const;
      const jobs = () =>
        shapes.map(([rows, columns], i) => ({
          sum: gaussian32(rows * columns, i),
          update: gaussian32(rows * columns, i + 50),
          rows,
          columns,
          rule: { variant, alpha: 0.5 },
        }));
      const alone = await engine({ eigensolver });
      const expected = [];
      for (const job of jobs()) expected.push((await alone.project(job)).sum);
      for (const workers of [2, 3]) {
        const opened = await engine({ eigensolver, workers });
        const backwards = jobs()
          .reverse()
          .map((job) => opened.project(job));
        const sums = (await Promise.all(backwards)).map(({ sum }) => sum).reverse();
        expect(sums).toEqual(expected);
      }
    });
  });
});

describe.each(OPCM_VARIANTS)('a fold by %s', (variant) => {
  const rule = { variant, alpha: 0.5 };
  const tensors = [
    { name: 'first', shape: [8, 12], linear: true },
    { name: 'bias', shape: [12], linear: false },
    { name: 'last', shape: [12, 8], linear: true },
  ];
  const values = (seed: number): Record<string, Float32Array> =>
    Object.fromEntries(
      tensors.map(({ name, shape }, i) => [
        name,
        gaussian32(
          shape.reduce((a, b) => a * b),
          seed + i,
        ),
      ]),
    );

  it.each<[string, number, string]>([
    ['NaN', Number.NaN, 'first'],
    ['NaN', Number.NaN, 'bias'],
    ['an infinity', Number.NEGATIVE_INFINITY, 'last'],
    ['an infinity', Number.POSITIVE_INFINITY, 'bias'],
  ])('refuses %s (%d) in tensor %s, and leaves nothing', async (_what, bad, tensor) => {
    const dir = await scratch();
    const opened = await engine({});
    const { state } = await foldAll(dir, tensors, [taskVector(tensors, values(1))], opened, rule);
    const listing = await readdir(dir);
    const poisoned = values(10);
    poisoned[tensor]![7] = bad;
    const update = taskVector(tensors, poisoned);
    for (const from of [state, null]) {
      await expect(
        foldStep({ from, to: join(dir, 'next'), tensors, update, rule, engine: opened }),
      ).rejects.toMatchObject({ code: 'NON_FINITE', fields: { tensor } });
      expect(await readdir(dir)).toEqual(listing);
    }
  });

  it('refuses a sum that leaves float32, and leaves nothing', async () => {
    const dir = await scratch();
    const opened = await engine({});
    for (const tensor of ['first', 'bias']) {
      const huge = (seed: number) => {
        const large = values(seed);
        // Neither is along the other, so that the projection leaves it.
        large[tensor]!.forEach((_, i) => {
          large[tensor]![i] = seed === 1 || i % 2 === 0 ? 3e38 : -3e38;
        });
        return taskVector(tensors, large);
      };
      const { state } = await foldAll(join(await scratch()), tensors, [huge(1)], opened, { variant, alpha: 0 });
      await expect(
        foldStep({
          from: state,
          to: join(dir, 'next'),
          tensors,
          update: huge(2),
          rule: { variant, alpha: 0 },
          engine: opened,
        }),
      ).rejects.toMatchObject({ code: 'NON_FINITE', fields: { tensor } });
      expect(await readdir(dir)).toEqual([]);
    }
  });
});
