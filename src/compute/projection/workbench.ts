/** What the two variants' products have in common: blocks of columns, transfers, and the clock. */
import type { Buffers, Scratch } from '../buffers.ts';
import type { DeviceMatrix, MatrixDevice } from '../device.ts';
import type { GraphName } from '../graphs.ts';
import type { Meter } from '../meter.ts';
import type { ElementType } from '../onnx-model.ts';
import type { Pace } from '../pace.ts';
import { type Range, ranges, type WideMatrix } from './wide.ts';

/** Powers of two that S and T are multiplied with on the device. */
export interface Scales {
  readonly sum: number;
  readonly update: number;
}

/**
 * In float32 the products of very small or very large matrices would leave its range. P_S(T) does not depend on the
 * size of S and is proportional to T, so both are brought near 1.
 */
export function scalesFor(type: ElementType, sigmaMax: number, updateNorm: number): Scales {
  if (type === 'float64') return { sum: 1, update: 1 };
  return { sum: 2 ** -Math.floor(Math.log2(sigmaMax)), update: 2 ** -Math.floor(Math.log2(updateNorm)) };
}

/**
 * Blocks of columns that large products are taken by. They depend on the shape and the device alone.
 *
 * @param perColumn - multiply-adds of a product for one column
 */
export function blocksOf(
  { short, long }: WideMatrix,
  {
    blockElements,
    blockColumns,
    sliceProducts,
  }: Pick<MatrixDevice, 'blockElements' | 'blockColumns' | 'sliceProducts'>,
  perColumn: number,
): Range[] {
  const columns = Math.max(blockColumns, blockElements / short);
  return ranges(long, Math.min(columns, sliceProducts / perColumn));
}

export interface WorkbenchComponents<Matrix extends DeviceMatrix> {
  readonly device: MatrixDevice<Matrix>;
  /** The device's name, for the phases. */
  readonly name: string;
  readonly buffers: Buffers;
  readonly pace: Pace;
  readonly meter: Meter;
}

export class Workbench<Matrix extends DeviceMatrix> {
  readonly #scales: Scales;
  readonly #components: WorkbenchComponents<Matrix>;
  readonly #filledWith = new Map<Matrix, Scratch>();
  /** Blocks that stay on the device until they are needed again. */
  readonly #resident = new Map<string, Matrix>();

  constructor(scales: Scales, components: WorkbenchComponents<Matrix>) {
    this.#scales = scales;
    this.#components = components;
  }

  /** Eigenvalues of the scaled S. */
  scaledValues(values: Float64Array): Float64Array {
    const { sum } = this.#scales;
    return sum === 1 ? values : values.map((value) => value * sum * sum);
  }

  /** @param perColumn - multiply-adds of the largest product for one column */
  blocks(matrix: WideMatrix, perColumn: number): Range[] {
    return blocksOf(matrix, this.#components.device, perColumn);
  }

  async upload(data: Float32Array | Float64Array, rows: number, columns: number): Promise<Matrix> {
    return this.#transfer(() => this.#components.device.upload(data, rows, columns));
  }

  /** A matrix whose entries are written into working memory, which is given back when the matrix is released. */
  async fill(rows: number, columns: number, write: (entries: Scratch) => void): Promise<Matrix> {
    const { device, buffers } = this.#components;
    const length = rows * columns;
    const scratch = device.type === 'float64' ? buffers.float64(length) : buffers.float32(length);
    write(scratch);
    const matrix = await this.upload(scratch, rows, columns);
    this.#filledWith.set(matrix, scratch);
    return matrix;
  }

  /** A block of S or T, scaled. With `last` it is not kept for another use. */
  async block(which: keyof Scales, matrix: WideMatrix, range: Range, last: boolean): Promise<Matrix> {
    const key = `${which} ${range[0]}`;
    const kept = this.#resident.get(key);
    if (kept !== undefined) {
      if (last) this.#resident.delete(key);
      return kept;
    }
    const factor = this.#scales[which];
    const made = await this.fill(matrix.short, range[1] - range[0], (entries) => {
      matrix.copyBlock(range, entries);
      if (factor !== 1) for (let i = 0; i < entries.length; i++) entries[i] = entries[i]! * factor;
    });
    if (this.#components.device.resident && !last) this.#resident.set(key, made);
    return made;
  }

  /** A block of T - c S, of the scaled matrices. */
  async differenceBlock(update: WideMatrix, sum: WideMatrix, multiple: number, range: Range): Promise<Matrix> {
    const { buffers } = this.#components;
    const { update: scale } = this.#scales;
    const factor = multiple * this.#scales.sum;
    return this.fill(update.short, range[1] - range[0], (entries) => {
      update.copyBlock(range, entries);
      const other = buffers.float32(entries.length);
      sum.copyBlock(range, other);
      for (let i = 0; i < entries.length; i++) entries[i] = scale * entries[i]! - factor * other[i]!;
      buffers.give(other);
    });
  }

  /** @param inner - length of the products' inner side */
  async run(
    graph: GraphName,
    inputs: Readonly<Record<string, Matrix>>,
    rows: number,
    columns: number,
    inner: number,
  ): Promise<Matrix> {
    const { device, name, meter, pace } = this.#components;
    const work = () => device.run(graph, inputs, rows, columns);
    const result = await meter.time('products', name, work, rows * columns * inner);
    await pace.pause();
    return result;
  }

  /** A B^T, added to `sum` where there is one, which is released. */
  async addTimesTransposed(sum: Matrix | null, a: Matrix, b: Matrix): Promise<Matrix> {
    const [rows, columns, inner] = [a.rows, b.rows, a.columns];
    if (sum === null) return this.run('timesTransposed', { A: a, B: b }, rows, columns, inner);
    const next = await this.run('addTimesTransposed', { A: a, B: b, C: sum }, rows, columns, inner);
    this.release(sum);
    return next;
  }

  /** A^T B for matrices of the caller, by slices of their common rows. */
  async transposedTimes(a: Float64Array, b: Float64Array, rows: number, p: number, q: number): Promise<Matrix> {
    let y = await this.fill(p, q, (entries) => entries.fill(0));
    for (const [start, end] of ranges(rows, this.#components.device.sliceProducts / (p * q))) {
      const aRows = await this.upload(a.subarray(start * p, end * p), end - start, p);
      const bRows = await this.upload(b.subarray(start * q, end * q), end - start, q);
      const next = await this.run('addTransposedTimes', { A: aRows, B: bRows, C: y }, p, q, end - start);
      this.release(aRows, bRows, y);
      y = next;
    }
    return y;
  }

  /** A B, downloaded into `out`, by slices of the rows of A, which are the caller's. */
  timesInto(out: Float64Array, a: Float64Array, b: Matrix): Promise<void> {
    return this.#rowsInto(out, 'times', a, b, { inner: b.rows, columns: b.columns });
  }

  /** A B^T, in the same way. */
  timesTransposedInto(out: Float64Array, a: Float64Array, b: Matrix): Promise<void> {
    return this.#rowsInto(out, 'timesTransposed', a, b, { inner: b.columns, columns: b.rows });
  }

  async #rowsInto(
    out: Float64Array,
    graph: 'times' | 'timesTransposed',
    a: Float64Array,
    b: Matrix,
    { inner, columns }: { readonly inner: number; readonly columns: number },
  ): Promise<void> {
    const rows = a.length / inner;
    for (const [start, end] of ranges(rows, this.#components.device.sliceProducts / (inner * columns))) {
      const part = await this.upload(a.subarray(start * inner, end * inner), end - start, inner);
      const product = await this.run(graph, { A: part, B: b }, end - start, columns, inner);
      out.set(await this.download(product), start * columns);
      this.release(part, product);
    }
  }

  /** Adds C / scale to a block of S; adds up <S, C> and |C|^2. */
  async add(sum: WideMatrix, range: Range, c: Matrix, total: { inner: number; squares: number }): Promise<void> {
    const { meter } = this.#components;
    const block = await this.download(c);
    const added = await meter.time('sums', 'cpu', () => sum.addBlock(range, block, 1 / this.#scales.update));
    total.inner += added.inner;
    total.squares += added.squares;
  }

  async download(matrix: Matrix): Promise<Float32Array | Float64Array> {
    return this.#transfer(() => this.#components.device.download(matrix));
  }

  /** Not of what `block` keeps for another use. */
  release(...matrices: readonly Matrix[]): void {
    const kept = new Set(this.#resident.values());
    for (const matrix of matrices) {
      if (kept.has(matrix)) continue;
      this.#components.device.release(matrix);
      const scratch = this.#filledWith.get(matrix);
      if (scratch === undefined) continue;
      this.#filledWith.delete(matrix);
      this.#components.buffers.give(scratch);
    }
  }

  /** Transfers count as the device's work. */
  async #transfer<T>(work: () => Promise<T>): Promise<T> {
    const { meter, name } = this.#components;
    return meter.time('products', name, work);
  }
}
