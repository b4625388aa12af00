import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import {
  describeEigensolver,
  type EigensolverName,
  eigensolverHint,
  LAPACK_ORDER_MAX,
  lapackCandidates,
  openEigensolver,
  PORTABLE_ORDER_MAX,
  type SymmetricEigen,
} from '../../../src/compute/index.ts';
import { temporaryDirectory } from '../codec/support.ts';
import { gram, solverHere } from './eigen-support.ts';
import type { EigenTask } from './eigen-worker.ts';
import { gaussian } from './random.ts';

/** Libraries that have LAPACK's names but are of no use, by the reason that is given. */
const OTHERS = 'void dstedc_(void) {} void dormtr_(void) {}';
const reduction = (integer: string, code: number) =>
  `void dsytrd_(char *u, ${integer} *n, double *a, ${integer} *lda, double *d, double *e, double *t, double *w,
    ${integer} *lw, ${integer} *info) { *info = ${code}; } ${OTHERS}`;
const UNFIT = {
  '64-bit integers': reduction('long', 0),
  'fails with code 3': reduction('int', 3),
  'eigenvalues of a 3 x 3 matrix are wrong': reduction('int', 0),
  'built without threads': `const char *openblas_get_config(void) { return "OpenBLAS 0.3.21"; }
    int openblas_get_parallel(void) { return 0; } ${reduction('int', 0)}`,
};

describe('the choice of an eigensolver', () => {
  it('takes LAPACK where there is one, and says which', (context) => {
    const lapack = solverHere('lapack') ?? context.skip('no LAPACK library is installed');
    expect(openEigensolver().name).toBe('lapack');
    expect(lapack.description).toMatch(/^LAPACK of \S+ \(.+\)$/);
    expect(eigensolverHint(lapack)).toBeNull();
    expect(describeEigensolver()).toEqual({ name: 'lapack', description: lapack.description, hint: null });
  });

  it('takes the portable one where there is no LAPACK, with a line how to get it', () => {
    const solver = openEigensolver('auto', ['libno-such-lapack.so.9']);
    expect(solver.name).toBe('portable');
    expect(eigensolverHint(solver)).toMatch(/^[^\n]+$/);
    expect(describeEigensolver('portable')).toEqual({
      name: 'portable',
      description: solver.description,
      hint: eigensolverHint(solver),
    });
  });

  it.runIf(process.platform === 'linux')('says how to install LAPACK when it is asked for and missing', () => {
    const libraries = ['libno-such-lapack.so.9', 'libc.so.6'];
    expect(() => openEigensolver('lapack', libraries)).toThrow(
      expect.objectContaining({
        code: 'EIGENSOLVER_UNAVAILABLE',
        message: expect.stringMatching(/libno-such-lapack.so.9, libc.so.6.*sudo apt install libopenblas0/),
        fields: { reasons: { 'libno-such-lapack.so.9': expect.any(String), 'libc.so.6': expect.any(String) } },
      }),
    );
  });

  it.runIf(process.platform === 'linux').for(Object.entries(UNFIT))(
    'leaves a library: %s',
    async ([reason, source], context) => {
      const path = join(await temporaryDirectory(), 'liblapack.so');
      try {
        execFileSync('cc', ['-shared', '-fPIC', '-x', 'c', '-', '-o', path], { input: source });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') context.skip('needs a C compiler, cc');
        throw error;
      }
      expect(() => openEigensolver('lapack', [path])).toThrow(
        expect.objectContaining({ fields: { reasons: { [path]: expect.stringContaining(reason) } } }),
      );
    },
  );

  it('knows where each platform has its libraries', () => {
    expect(lapackCandidates('darwin')).toEqual([expect.stringContaining('Accelerate')]);
    expect(lapackCandidates('win32')[0]).toBe('libopenblas.dll');
    expect(lapackCandidates('linux')[0]).toBe('libopenblas.so.0');
  });

  it('refuses a name that it does not know', () => {
    expect(() => openEigensolver('numpy' as EigensolverName)).toThrow(/choose one of auto, lapack, portable/);
  });

  it.each([
    ['lapack', LAPACK_ORDER_MAX],
    ['portable', PORTABLE_ORDER_MAX],
  ] as const)('names the largest order of %s', (name, most) => {
    const solver = solverHere(name);
    if (!solver) return;
    expect(() => solver.solve(new Float64Array(1), most)).toThrow(`needs ${most * most} entries`);
    expect(() => solver.solve(new Float64Array(1), most + 1)).toThrow(`order 1 to ${most}`);
  });
});

describe.each(['lapack', 'portable'] as const)('several threads with %s at once', (name) => {
  it('get the bytes that one alone gets', async (context) => {
    const solver = solverHere(name) ?? context.skip('no LAPACK library is installed');
    const n = 150;
    const g = gram(gaussian(n * 180, 1), n, 180);
    const alone = solver.solve(g.slice(), n);
    const ready = new Int32Array(new SharedArrayBuffer(4));
    const task: EigenTask = { name, g, n, repeats: 15, ready, threads: 2 };
    const workers = [0, 1].map(() => new Worker(new URL('./eigen-worker.ts', import.meta.url), { workerData: task }));
    for (const results of await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0]))) {
      for (const result of results as SymmetricEigen[]) expect(result).toEqual(alone);
    }
    await Promise.all(workers.map((worker) => worker.terminate()));
  });
});
