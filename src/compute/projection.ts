/**
 * One projection in the symmetric form (docs/algorithms.md, C.5.2), cut into slices of about a second.
 *
 * With m <= n (a tall S stays as it lies; the graphs take its other side):
 *
 *     G = S S^T = U Sigma^2 U^T,   M = T S^T,   B = U^T M U,   C = T - (U R(B) U^T) S,   S <- S + C
 *
 * The sum and the update arrive as float32 and everything between is float64, so the only rounding that stays is that
 * of the new sum.
 */
import { removalOf, spectrumOf } from '../merge/opcm.ts';
import { openEigensolver } from './eigen/index.ts';
import type { ProjectionJob, ProjectionResult } from './engine.ts';
import { ComputeError } from './errors.ts';
import type { Kernels, Operand } from './kernels.ts';
import { sumSquares } from './sums.ts';

/** Multiply-adds per slice: about half a second on one core of a small machine, the wait after a cancellation. */
export const SLICE_PRODUCTS = 8e9;

/** Largest |<S,C> - expected| in units of |S| |T|. Rounding gives about 1e-15; more is a defect of the backend. */
export const INNER_PRODUCT_TOLERANCE = 1e-5;

/** How a job lets itself be stopped. */
export interface Pace {
  /** Called between slices, and before and after `interruptible` work; throws to stop the job. */
  pause(): Promise<void>;
  /** Runs long plain JavaScript, without any native call inside. */
  interruptible<T>(work: () => T): T;
}

/**
 * @param job - validated by the engine
 * @throws ComputeError `NON_FINITE`, `INVARIANT_BROKEN`, `RUNTIME_FAILED`
 */
export async function project(
  job: ProjectionJob,
  kernels: Kernels,
  pace: Pace,
  sliceProducts = SLICE_PRODUCTS,
): Promise<ProjectionResult> {
  const { sum, update, rows, columns, rule } = job;
  const squares = { sum: finite(sumSquares(sum), 'the sum'), update: finite(sumSquares(update), 'the update') };
  if (squares.sum === 0 || squares.update === 0) return unprojected(job, squares);

  const tall = rows > columns;
  const k = Math.min(rows, columns);
  const wholeSum: Operand = { data: Float64Array.from(sum), dims: [rows, columns] };
  const square = (data: Float64Array): Operand => ({ data, dims: [k, k] });
  /** Rows of a panel for a product that costs `perRow` multiply-adds for each row. */
  const panels = (count: number, perRow: number) => slices(count, Math.max(1, Math.floor(sliceProducts / perRow)));

  /** X S^T (wide) or X^T S (tall) for X of the shape of S. */
  const cross = async (x: Float32Array | Float64Array): Promise<Float64Array> => {
    let product = new Float64Array(k * k);
    let next = tall ? new Float64Array(k * k) : product;
    for (const [start, end] of panels(rows, k * columns)) {
      const panel = panelOf(x, columns, start, end);
      if (tall) {
        const feeds = { A: panel, S: panelOf(wholeSum.data, columns, start, end), C: square(product) };
        await kernels.run('crossTall', feeds, square(next));
        [product, next] = [next, product];
      } else {
        await kernels.run('crossWide', { A: panel, S: wholeSum }, panelOf(product, k, start, end));
      }
      await pace.pause();
    }
    return product;
  };
  /** A X A^T for k x k matrices. */
  const sandwich = async (a: Float64Array, x: Float64Array): Promise<Float64Array> => {
    const product = new Float64Array(k * k);
    for (const [start, end] of panels(k, 2 * k * k)) {
      const feeds = { A: panelOf(a, k, start, end), X: square(x), B: square(a) };
      await kernels.run('sandwich', feeds, panelOf(product, k, start, end));
      await pace.pause();
    }
    return product;
  };

  const gram = await cross(wholeSum.data);
  const { values, vectors } = pace.interruptible(() => openEigensolver('portable').solve(gram, k));
  await pace.pause();
  const spectrum = spectrumOf(values, Math.max(rows, columns), rule.alpha);
  // A tall S is projected as its transpose: M = T^T S and C^T = T^T - K S^T.
  const b = await sandwich(vectors, await cross(update));
  const removal = removalOf(b, values, spectrum, rule.variant);
  const kernel = await sandwich(transposed(vectors, k), removal.coefficients);

  let innerProduct = 0;
  let projected = 0;
  for (const [start, end] of panels(rows, k * columns)) {
    const t = panelOf(update, columns, start, end);
    const c: Operand = { data: new Float64Array(t.data.length), dims: t.dims };
    if (tall) {
      const feeds = { S: panelOf(wholeSum.data, columns, start, end), K: square(kernel), T: t };
      await kernels.run('applyTall', feeds, c);
    } else {
      await kernels.run('applyWide', { K: panelOf(kernel, k, start, end), S: wholeSum, T: t }, c);
    }
    const offset = start * columns;
    for (let i = 0; i < c.data.length; i++) {
      const before = wholeSum.data[offset + i]!;
      const change = c.data[i]!;
      innerProduct += before * change;
      projected += change * change;
      sum[offset + i] = before + change;
    }
    await pace.pause();
  }
  checkInnerProduct(innerProduct, removal.innerProduct, Math.sqrt(squares.sum * squares.update));
  return {
    sum,
    update,
    sumSquares: finite(sumSquares(sum), 'the new sum'),
    squares: { ...squares, projected },
    innerProduct,
    ...spectrum,
  };
}

/** An empty sum has no directions to protect, and an empty update adds nothing: S + T is the result of both. */
function unprojected(job: ProjectionJob, squares: { sum: number; update: number }): ProjectionResult {
  const { sum, update } = job;
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + update[i]!;
  return {
    sum,
    update,
    sumSquares: finite(sumSquares(sum), 'the new sum'),
    squares: { ...squares, projected: squares.update },
    innerProduct: 0,
    splitRank: 0,
    rank: 0,
    nuclearNorm: 0,
    sigmaMax: 0,
  };
}

/** <S, C> is 0 but for what the rule leaves beyond the numerical rank (docs/algorithms.md, C.3). */
export function checkInnerProduct(measured: number, expected: number, scale: number): void {
  if (Math.abs(measured - expected) <= INNER_PRODUCT_TOLERANCE * scale) return;
  throw new ComputeError(
    'INVARIANT_BROKEN',
    'The projected update is not orthogonal to the sum: the matrix backend computed a wrong product. Nothing was kept. ' +
      'Run again with the cpu device; if that fails too, report it with the tensor.',
    { measured, expected, scale, tolerance: INNER_PRODUCT_TOLERANCE },
  );
}

function finite(squares: number, what: string): number {
  if (Number.isFinite(squares)) return squares;
  throw new ComputeError('NON_FINITE', `NaN or an infinite value in ${what}.`, { operand: what });
}

function panelOf(matrix: Float32Array | Float64Array, columns: number, start: number, end: number): Operand {
  const view = matrix.subarray(start * columns, end * columns);
  return { data: view instanceof Float64Array ? view : Float64Array.from(view), dims: [end - start, columns] };
}

function transposed(matrix: Float64Array, n: number): Float64Array {
  const result = new Float64Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) result[j * n + i] = matrix[i * n + j]!;
  return result;
}

/** Half-open ranges that cut `count` rows into runs of `size`: a function of the shape alone, so results repeat. */
function* slices(count: number, size: number): Generator<[number, number]> {
  for (let start = 0; start < count; start += size) yield [start, Math.min(start + size, count)];
}
