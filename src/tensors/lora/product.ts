/** Values of an adapter: its factors, and the dense updates that they stand for. */
import { setImmediate } from 'node:timers/promises';
import type { RunOptions } from '../../run-options.ts';
import type { Checkpoint } from '../checkpoint.ts';
import { CheckpointError, quote } from '../errors.ts';
import type { LoraAdapter } from './adapter.ts';
import type { LoraFactor, LoraFactors } from './factors.ts';

/** Columns of one block of float64 sums: it stays in the second-level cache, and no row is held as a whole. */
const BLOCK_COLUMNS = 16_384;
/** Multiplications between two turns of the event loop: some ten milliseconds. */
const SLICE_PRODUCTS = 2 ** 24;

/**
 * One factor as float32, row-major in the orientation of the base's tensor: rows x rank for a left one, rank x columns
 * for a right one.
 *
 * @throws whatever reading throws
 */
export async function readFactor(
  adapter: Pick<LoraAdapter, 'checkpoint'>,
  { tensor, rows, columns, transposed }: LoraFactor,
  options: RunOptions = {},
): Promise<Float32Array> {
  const stored = await adapter.checkpoint.readFloat32(tensor, options);
  if (!transposed) return stored;
  const values = new Float32Array(stored.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) values[row * columns + column] = stored[column * rows + row]!;
  }
  return values;
}

/**
 * The update of one tensor of the base, dense: of factors fround(scaling · Σ left·right), summed in float64 in
 * ascending order of the rank and rounded once; of a tensor that the adapter has whole, its difference to the base
 * (docs/algorithms.md A). Null where the adapter leaves the tensor as it is.
 *
 * @param base - the one that the adapter was opened with
 * @throws CheckpointError UNKNOWN_TENSOR for a name that the base does not have; whatever reading throws
 */
export async function readDelta(
  adapter: LoraAdapter,
  base: Pick<Checkpoint, 'tensors' | 'readFloat32'>,
  name: string,
  options: RunOptions = {},
): Promise<Float32Array | null> {
  const factors = adapter.lowRank.get(name);
  if (factors !== undefined) {
    const left = await readFactor(adapter, factors.left, options);
    const right = await readFactor(adapter, factors.right, options);
    return multiply(factors, left, right, options);
  }
  const full = adapter.full.get(name);
  if (full !== undefined) {
    const after = await adapter.checkpoint.readFloat32(full, options);
    const before = await base.readFloat32(name, options);
    for (let i = 0; i < after.length; i++) after[i] = after[i]! - before[i]!;
    return after;
  }
  if (base.tensors.has(name)) return null;
  throw new CheckpointError('UNKNOWN_TENSOR', `the base has no tensor ${quote(name)}. Name one of its own.`, {
    path: adapter.path,
    tensor: name,
  });
}

/** fround(scaling · left · right), row-major; yields to the event loop, and ends with the signal. */
export async function multiply(
  { rows, columns, rank, scaling }: Pick<LoraFactors, 'rows' | 'columns' | 'rank' | 'scaling'>,
  left: Float32Array,
  right: Float32Array,
  { signal }: RunOptions = {},
): Promise<Float32Array> {
  const out = new Float32Array(rows * columns);
  const sums = new Float64Array(Math.min(columns, BLOCK_COLUMNS));
  let products = 0;
  for (let first = 0; first < columns; first += BLOCK_COLUMNS) {
    const width = Math.min(BLOCK_COLUMNS, columns - first);
    for (let row = 0; row < rows; row++) {
      sumRow(sums, width, left, row * rank, right, first, columns, rank);
      const at = row * columns + first;
      for (let j = 0; j < width; j++) out[at + j] = scaling * sums[j]!;
      products += width * rank;
      if (products < SLICE_PRODUCTS) continue;
      products = 0;
      await setImmediate();
      signal?.throwIfAborted();
    }
  }
  return out;
}

/** sums[j] = Σ_k left[k] · right[k][j]. Four steps of k at a time, in their order: a sum is stored a quarter as often. */
function sumRow(
  sums: Float64Array,
  width: number,
  left: Float32Array,
  leftAt: number,
  right: Float32Array,
  first: number,
  columns: number,
  rank: number,
): void {
  sums.fill(0, 0, width);
  let k = 0;
  for (; k + 4 <= rank; k += 4) {
    const at = leftAt + k;
    const [a, b, c, d] = [left[at]!, left[at + 1]!, left[at + 2]!, left[at + 3]!];
    const r0 = k * columns + first;
    const r1 = r0 + columns;
    const r2 = r1 + columns;
    const r3 = r2 + columns;
    for (let j = 0; j < width; j++) {
      sums[j] = sums[j]! + a * right[r0 + j]! + b * right[r1 + j]! + c * right[r2 + j]! + d * right[r3 + j]!;
    }
  }
  for (; k < rank; k++) {
    const a = left[leftAt + k]!;
    const r = k * columns + first;
    for (let j = 0; j < width; j++) sums[j] = sums[j]! + a * right[r + j]!;
  }
}
