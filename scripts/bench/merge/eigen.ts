import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import { runModule } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import type { Findings, Group } from '../groups.ts';
import { pinTo } from '../machine.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { RandomStream } from '../synthetic/random.ts';
import type { EigenJob, Solved } from './eigen-child.ts';
import { describeNumpy, findNumpy, type OpenblasNumpy, runScript } from './numpy.ts';

const EIGEN = 'merge/eigen-child';

/** Orders of the bars, and how often each is solved in a round: about half a second. */
const ORDERS = [
  { order: 768, repeats: 7, quick: 48 },
  { order: 2048, repeats: 1, quick: 64 },
] as const;

/** Relative difference of the largest eigenvalues beyond which the two did not solve the same problem. */
const SAME_VALUES = 1e-12;

const bars = ORDERS.map(
  ({ order }): BarDefinition => ({
    id: `eigen.${order}`,
    what: `all eigenvalues and eigenvectors of a Gram matrix of order ${order}, float64, one thread: ours through LAPACK / numpy.linalg.eigh`,
    unit: 'ratio',
    target: 1.2,
    sense: 'at most',
    numeratorIs: "seconds of the eigensolver's call from Node, the copy of the matrix included",
    denominatorIs: 'seconds of numpy.linalg.eigh of the same matrix on the same OpenBLAS',
  }),
);

/** What calling LAPACK from Node costs. */
export const eigenGroup: Group = { bars, run };

interface Eigh extends OpenblasNumpy {
  readonly seconds: readonly number[];
  readonly largest: number;
}

async function run(context: BenchmarkContext, { outcomes, tables, notes }: Findings): Promise<void> {
  const { quick, workspace, signal, say, rounds: count } = context;
  const numpy = await findNumpy(context);
  const prefix = (await pinTo(1)) ?? [];
  const child = await measuredModule(workspace, EIGEN, signal);
  const env = { OPENBLAS_NUM_THREADS: '1' };
  const path = join(workspace.scratch, 'gram.f64');
  const rows: Record<string, Cell>[] = [];
  let description = '';
  for (const { order, repeats, quick: small } of ORDERS) {
    const n = quick ? small : order;
    await writeFile(path, gram(n));
    const job: EigenJob = { path, n, repeats };
    const rounds = await interleave(
      count,
      {
        numpy: () =>
          runScript<Eigh>(numpy.python, 'eigh_reference.py', [path, n, repeats], { signal, threads: 1, prefix }),
        ours: () => runModule<Solved>(child, job, { signal, prefix, env }),
      },
      (round) => say(`eigenproblem of order ${n}: round ${round + 1} of ${count}`),
    );
    for (const { ours, numpy } of rounds) {
      if (!(Math.abs(ours.largest / numpy.largest - 1) < SAME_VALUES)) {
        throw new Error(`largest eigenvalue ${ours.largest}, by numpy ${numpy.largest}`);
      }
    }
    const ratio = medianRatio(
      rounds.map(({ ours, numpy }) => ({ numerator: median(ours.seconds), denominator: median(numpy.seconds) })),
    );
    outcomes.set(`eigen.${order}`, ratio);
    description = rounds[0]!.ours.description;
    rows.push({
      order: n,
      'ours, seconds': ratio.numerator,
      'numpy, seconds': ratio.denominator,
      ratio: ratio.numerator / ratio.denominator,
    });
  }
  await rm(path, { force: true });
  tables.push({ title: `eigenproblems on one thread, the median of ${count} rounds`, rows });
  notes.push(`eigenproblems: ours by ${description}, reference ${describeNumpy(numpy)}`);
}

/** A A^T of a Gaussian A with twice as many columns as rows, n x n float64 values. */
function gram(n: number): Float64Array {
  const random = new RandomStream(`gram ${n}`);
  const width = 2 * n;
  const a = Float64Array.from({ length: n * width }, () => random.normal());
  const out = new Float64Array(n * n);
  // Blocks of columns stay in the cache.
  const block = 64;
  for (let start = 0; start < width; start += block) {
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        let sum = 0;
        for (let k = start; k < start + block && k < width; k++) sum += a[i * width + k]! * a[j * width + k]!;
        out[i * n + j]! += sum;
      }
    }
  }
  for (let i = 0; i < n; i++) for (let j = 0; j < i; j++) out[j * n + i] = out[i * n + j]!;
  return out;
}
