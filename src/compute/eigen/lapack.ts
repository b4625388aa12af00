/** The eigenproblem by the platform's LAPACK, called through koffi. */
import { ComputeError } from '../errors.ts';
import { type LapackLibrary, lapackCandidates, lapackInstallation, loadLapack } from './library.ts';
import { type Eigensolver, reverseRows, solveBy, type WorkMemory } from './solver.ts';

/** Largest order: the lengths of its work areas, up to n^2 + 64 n, are 32-bit integers. */
export const LAPACK_ORDER_MAX = 46_000;

/** Columns that dormtr works on at once (its NBMAX), and the entries it needs beside them. */
const [BLOCK, BLOCK_TABLE] = [64, 65 * 64];

/** Far enough from rounding (1e-15) and near enough to notice a library that computes something else. */
const SELF_TEST_TOLERANCE = 1e-13;

/**
 * The first library of `candidates` that loads and passes a small eigenproblem.
 *
 * @throws ComputeError `EIGENSOLVER_UNAVAILABLE`, saying how to install one and why each candidate was left
 */
export function openLapack(candidates: readonly string[] = lapackCandidates()): Eigensolver {
  const reasons: Record<string, string> = {};
  for (const path of candidates) {
    try {
      const solver = lapackSolver(loadLapack(path));
      selfTest(solver);
      return solver;
    } catch (cause) {
      reasons[path] = cause instanceof Error ? cause.message : String(cause);
    }
  }
  const message = `No LAPACK library can be used (tried ${candidates.join(', ')}). To get one: ${lapackInstallation()}. Or choose the portable eigensolver.`;
  throw new ComputeError('EIGENSOLVER_UNAVAILABLE', message, { reasons });
}

function lapackSolver(library: LapackLibrary): Eigensolver {
  const { dsyrk } = library;
  return {
    name: 'lapack',
    description: library.description,
    solve: (g, n, request) => solveBy((...task) => solve(library, ...task), LAPACK_ORDER_MAX, g, n, request),
    ...(dsyrk !== null && {
      // Column-major, X is its transpose, and the lower triangle what lies above the diagonal in rows.
      addGram: (g, x, n, columns) => {
        const order = Int32Array.of(n);
        const inner = Int32Array.of(columns);
        dsyrk(LOWER, TRANSPOSED, order, inner, ONE, x, inner, ONE, g, order);
      },
    }),
  };
}

/**
 * The steps of dsyevd ('V', 'L'), taken one by one so that only the wanted vectors are transformed back. The subset
 * solvers are no substitute: dstemr failed on clusters and was slower at a quarter of the vectors.
 */
function solve(
  library: LapackLibrary,
  a: Float64Array,
  n: number,
  wanted: (ascending: Float64Array) => number,
  buffers: WorkMemory,
): Float64Array<ArrayBuffer> {
  const order = Int32Array.of(n);
  const [d, e, tau] = [new Float64Array(n), new Float64Array(n), new Float64Array(n)];
  const z = buffers.float64(n * n);
  const work = buffers.float64(Math.max(1 + 4 * n + n * n, n * BLOCK + BLOCK_TABLE));
  const iwork = new Int32Array(3 + 5 * n);
  const [lwork, liwork] = [Int32Array.of(work.length), Int32Array.of(iwork.length)];
  const info = new Int32Array(1);
  const done = (routine: string) => {
    if (info[0] === 0) return;
    const message = `${routine} of ${library.description} failed with code ${info[0]}: choose the portable eigensolver.`;
    throw new ComputeError('RUNTIME_FAILED', message, { routine, info: info[0], n });
  };
  // Column-major: the lower triangle is what lies above the diagonal in rows.
  library.dsytrd(LOWER, order, a, order, d, e, tau, work, lwork, info);
  done('dsytrd');
  library.dstedc(INITIAL, order, d, e, z, order, work, lwork, iwork, liwork, info);
  done('dstedc');
  const count = wanted(d);
  // The last columns belong to the largest eigenvalues. A column here is a row there.
  const rows = z.subarray((n - count) * n);
  if (count > 0) {
    const columns = Int32Array.of(count);
    library.dormtr(LEFT, LOWER, PLAIN, order, columns, a, order, tau, rows, order, work, lwork, info);
    done('dormtr');
  }
  buffers.give(work);
  // The row of the largest comes first.
  return reverseRows(z, n).subarray(0, count * n);
}

const [LOWER, LEFT, PLAIN, INITIAL] = [Buffer.from('L'), Buffer.from('L'), Buffer.from('N'), Buffer.from('I')];
const [TRANSPOSED, ONE] = [Buffer.from('T'), Float64Array.of(1)];

/** The second difference of three points: eigenvalues 2 and 2 +- sqrt(2). */
function selfTest(solver: Eigensolver): void {
  const { values, vectors } = solver.solve(Float64Array.of(2, -1, 0, -1, 2, -1, 0, -1, 2), 3);
  const expected = [2 + Math.SQRT2, 2, 2 - Math.SQRT2];
  const middle = [Math.SQRT1_2, 0, Math.SQRT1_2];
  const wrong =
    expected.some((value, i) => !(Math.abs(values[i]! - value) < SELF_TEST_TOLERANCE)) ||
    middle.some((size, i) => !(Math.abs(Math.abs(vectors[3 + i]!) - size) < SELF_TEST_TOLERANCE));
  if (wrong) throw new Error('its eigenvalues of a 3 x 3 matrix are wrong');
}
