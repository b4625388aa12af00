/** The Python side: an interpreter whose numpy is on OpenBLAS, and what is measured with it. */
import { fileURLToPath } from 'node:url';
import type { BenchmarkContext } from '../benchmark.ts';
import { runProgram } from '../child.ts';
import { SYSTEM_PYTHON } from '../python.ts';
import type { ShapeCount } from './models.ts';

/** What `openblas.py` says. */
export interface OpenblasNumpy {
  readonly numpy: string;
  /** OpenBLAS' own words: version and kernel. */
  readonly openblas: string;
  readonly library: string;
  readonly threads: number;
}

export interface Numpy extends OpenblasNumpy {
  readonly python: string;
}

export interface PythonRun {
  readonly signal: AbortSignal;
  readonly threads: number;
  readonly prefix: readonly string[];
}

const script = (name: string) => fileURLToPath(new URL(`./${name}`, import.meta.url));

/** Runs a script of this folder and returns its document. */
export async function runScript<T>(
  python: string,
  name: string,
  args: readonly (string | number)[],
  { signal, threads, prefix }: PythonRun,
): Promise<T> {
  const env = { OPENBLAS_NUM_THREADS: String(threads), OMP_NUM_THREADS: String(threads) };
  const { stdout } = await runProgram([python, script(name), ...args.map(String)], { signal, prefix, env });
  return JSON.parse(stdout) as T;
}

const found = new WeakMap<BenchmarkContext, Promise<Numpy>>();

/**
 * The interpreter named by `--python`, else the system's, else the one on the path: the first whose numpy computes with
 * OpenBLAS. The system's comes first because its numpy is on the library that we call too.
 */
export function findNumpy(context: BenchmarkContext): Promise<Numpy> {
  const known = found.get(context) ?? search(context);
  found.set(context, known);
  return known;
}

async function search({ python: wanted, signal }: BenchmarkContext): Promise<Numpy> {
  const reasons: string[] = [];
  for (const python of wanted === undefined ? [SYSTEM_PYTHON, 'python3'] : [wanted]) {
    try {
      const described = await runScript<OpenblasNumpy>(python, 'openblas.py', [], { signal, threads: 1, prefix: [] });
      return { python, ...described };
    } catch (error) {
      signal.throwIfAborted();
      reasons.push(error instanceof Error ? error.message : String(error));
    }
  }
  const advice = 'install python3-numpy and libopenblas0, or name an interpreter with --python';
  throw new Error(`no numpy on OpenBLAS: ${reasons.join('; ')}; ${advice}`);
}

export function describeNumpy({ numpy, openblas, library, python }: Numpy): string {
  return `${python}: numpy ${numpy}, ${openblas.trim()} (${library})`;
}

/** Seconds of one full SVD of each shape, times how many matrices have it. */
export async function svdSeconds(
  library: 'numpy' | 'torch',
  python: string,
  shapes: readonly ShapeCount[],
  run: PythonRun,
): Promise<{ readonly seconds: number; readonly each: readonly number[]; readonly version: string }> {
  const sizes = shapes.map(({ rows, columns }) => `${rows}x${columns}`);
  const said = await runScript<{ seconds: number[]; numpy?: string; torch?: string }>(
    python,
    'svd_reference.py',
    [library, run.threads, ...sizes],
    run,
  );
  const seconds = said.seconds.reduce((sum, one, i) => sum + one * shapes[i]!.count, 0);
  return { seconds, each: said.seconds, version: said.numpy ?? said.torch ?? '' };
}
