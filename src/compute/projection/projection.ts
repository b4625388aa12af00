/**
 * One projection: S <- S + P_S(T) for a linear tensor (docs/algorithms.md, C.2 to C.5).
 *
 * The sum and the update arrive as float32. Of everything between, only the rounding of the device's products and that of
 * the new sum stay.
 */
import type { Buffers } from '../buffers.ts';
import { CPU_BLOCK_COLUMNS, CPU_BLOCK_ELEMENTS, type CpuDevice } from '../cpu/cpu-device.ts';
import type { Eigensolver } from '../eigen/index.ts';
import type { ProjectionJob, ProjectionResult } from '../engine.ts';
import { ComputeError } from '../errors.ts';
import { Meter, type Phase } from '../meter.ts';
import type { Pace } from '../pace.ts';
import { type Decomposition, decompose } from './decompose.ts';
import { type Added, addProjected, type ProductsInput } from './products.ts';
import { rightVectorsOf } from './right-vectors.ts';
import { sumSquares, sumsOf } from './sums.ts';
import { WideMatrix } from './wide.ts';

/** Largest |<S,C> - expected| in units of |S| |T|. Rounding gives about 1e-15, in float32 1e-7; more is a defect. */
export const INNER_PRODUCT_TOLERANCE = 1e-5;

export interface CpuComponents {
  readonly device: CpuDevice;
  readonly buffers: Buffers;
  readonly eigensolver: Eigensolver;
  readonly pace: Pace;
}

/** Square float64 matrices of the short side that a projection has at once at its peak, with an eigensolver's work areas. */
const SQUARES = 5;

/** Blocks of columns that it has at once. */
const BLOCKS = 3;

/** Bytes, about, that a projection works with on the CPU, beside the sum and the update themselves. */
export function projectionBytes(rows: number, columns: number): number {
  const short = Math.min(rows, columns);
  const block = Math.min(rows * columns, Math.max(CPU_BLOCK_ELEMENTS, CPU_BLOCK_COLUMNS * short));
  return Float64Array.BYTES_PER_ELEMENT * (SQUARES * short * short + BLOCKS * block);
}

/** Sums of squares of S and T as given, and <S, T>. */
export interface Squares {
  readonly sum: number;
  readonly update: number;
  readonly inner: number;
}

/**
 * @param job - validated by the engine
 * @throws ComputeError `NON_FINITE`, `INVARIANT_BROKEN`, `RUNTIME_FAILED`
 */
export async function project(job: ProjectionJob, components: CpuComponents): Promise<ProjectionResult> {
  const meter = new Meter();
  const squares = await meter.time('sums', 'cpu', () => squaresOf(job));
  if (squares.sum === 0 || squares.update === 0) return unprojected(job, squares, meter);
  const sum = new WideMatrix(job.sum, job.rows, job.columns);
  const decomposition = await decompose(sum, job, { ...components, meter });
  const input = productsInput(job, squares, decomposition);
  const added = await addProjected(input, { ...components, name: 'cpu', meter });
  components.buffers.give(decomposition.vectors);
  return projected(job, squares, decomposition, added, meter);
}

/** A job of which only the large products are left to do. */
export interface PreparedJob extends Pick<ProjectionJob, 'sum' | 'update'> {
  readonly squares: Squares;
  readonly decomposition: Decomposition;
  /** See `ProductsInput`. */
  readonly right?: Float32Array<ArrayBuffer> | undefined;
  readonly phases: readonly Phase[];
}

/**
 * The part of `project` that is done on the CPU on every backend; the result itself where no products are needed.
 *
 * @throws ComputeError `NON_FINITE`, `RUNTIME_FAILED`
 */
export async function prepare(job: ProjectionJob, components: CpuComponents): Promise<ProjectionResult | PreparedJob> {
  const { sum, update } = job;
  const meter = new Meter();
  const squares = await meter.time('sums', 'cpu', () => squaresOf(job));
  if (squares.sum === 0 || squares.update === 0) return unprojected(job, squares, meter);
  const wide = new WideMatrix(sum, job.rows, job.columns);
  const decomposition = await decompose(wide, job, { ...components, meter });
  const right =
    job.rule.variant === 'ref' ? await rightVectorsOf(wide, decomposition, { ...components, meter }) : undefined;
  // A copy of its own length, without the rest of the working memory that the vectors lie in.
  const vectors = decomposition.vectors.slice();
  components.buffers.give(decomposition.vectors);
  return { sum, update, squares, decomposition: { ...decomposition, vectors }, right, phases: meter.phases };
}

/** @throws ComputeError `NON_FINITE` */
export function squaresOf({ sum, update }: Pick<ProjectionJob, 'sum' | 'update'>): Squares {
  const { a, b, inner } = sumsOf(sum, update);
  return { sum: finite(a, 'the sum'), update: finite(b, 'the update'), inner };
}

/** What the products of a job begin with. */
export function productsInput(
  { sum, update, rows, columns, rule }: ProjectionJob,
  squares: Squares,
  decomposition: Decomposition,
): ProductsInput {
  return {
    sum: new WideMatrix(sum, rows, columns),
    update: new WideMatrix(update, rows, columns),
    inner: squares.inner,
    updateNorm: Math.sqrt(squares.update),
    rule,
    decomposition,
  };
}

/** The result of a job whose products were added. @throws ComputeError `INVARIANT_BROKEN`, `NON_FINITE` */
export async function projected(
  { sum, update }: ProjectionJob,
  squares: Squares,
  { spectrum }: Decomposition,
  added: Added,
  meter: Meter,
): Promise<ProjectionResult> {
  checkInnerProduct(added.inner, added.expectedInner, Math.sqrt(squares.sum * squares.update));
  const newSquares = await meter.time('sums', 'cpu', () => finite(sumSquares(sum), 'the new sum'));
  return {
    sum,
    update,
    sumSquares: newSquares,
    squares: { sum: squares.sum, update: squares.update, projected: added.squares },
    innerProduct: added.inner,
    ...spectrum,
    phases: meter.phases,
  };
}

/** An empty sum has no directions to protect, and an empty update adds nothing: S + T is the result of both. */
export function unprojected({ sum, update }: ProjectionJob, squares: Squares, meter: Meter): ProjectionResult {
  for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + update[i]!;
  return {
    sum,
    update,
    sumSquares: finite(sumSquares(sum), 'the new sum'),
    squares: { sum: squares.sum, update: squares.update, projected: squares.update },
    innerProduct: 0,
    splitRank: 0,
    splitNeighbour: null,
    rank: 0,
    nuclearNorm: 0,
    sigmaMax: 0,
    phases: meter.phases,
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
