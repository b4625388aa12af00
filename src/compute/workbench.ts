/** What the two variants' products have in common: panels, transfers, and the clock. */
import type { Buffers, Scratch } from './buffers.ts';
import type { DeviceMatrix, MatrixDevice } from './device.ts';
import type { GraphName } from './graphs.ts';
import type { Meter } from './meter.ts';
import type { ElementType } from './onnx-model.ts';
import type { Pace } from './pace.ts';
import { copyColumns, panels, type WideMatrix } from './wide.ts';

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

  constructor(scales: Scales, components: WorkbenchComponents<Matrix>) {
    this.#scales = scales;
    this.#components = components;
  }

  get resident(): boolean {
    return this.#components.device.resident;
  }

  /** Eigenvalues of the scaled S. */
  scaledValues(values: Float64Array): Float64Array {
    const { sum } = this.#scales;
    return sum === 1 ? values : values.map((value) => value * sum * sum);
  }

  /** Ranges of rows for products that cost `perRow` multiply-adds a row and take panels of `columns` columns. */
  panels(rows: number, columns: number, perRow: number): Iterable<readonly [number, number]> {
    const { sliceProducts, panelElements } = this.#components.device;
    const size = Math.floor(Math.min(sliceProducts / Math.max(perRow, 1), panelElements / columns));
    return panels(rows, Math.max(1, size));
  }

  scratch(length: number): Float64Array<ArrayBuffer> {
    return this.#components.buffers.float64(length);
  }

  give(scratch: Float64Array<ArrayBuffer>): void {
    this.#components.buffers.give(scratch);
  }

  async upload(data: Float32Array | Float64Array, rows: number, columns: number): Promise<Matrix> {
    return this.#transfer(() => this.#components.device.upload(data, rows, columns));
  }

  /** All of S, scaled. */
  async uploadSum(sum: WideMatrix, whole: Float64Array | undefined): Promise<Matrix> {
    const { short, long } = sum;
    if (whole !== undefined && this.#scales.sum === 1) return this.upload(whole, short, long);
    return this.uploadPanel(sum, 0, short, this.#scales.sum);
  }

  /** Rows [start, end) times `factor`. */
  async uploadPanel(matrix: WideMatrix, start: number, end: number, factor: number): Promise<Matrix> {
    const rows = end - start;
    if (matrix.contiguous && factor === 1) return this.upload(matrix.view(start, end), rows, matrix.long);
    return this.#filled(rows, matrix.long, (panel) => {
      matrix.copyPanel(start, end, panel);
      if (factor !== 1) for (let i = 0; i < panel.length; i++) panel[i] = panel[i]! * factor;
    });
  }

  /** Rows [start, end) of T - c S, of the scaled matrices. */
  async uploadDifference(
    update: WideMatrix,
    sum: WideMatrix,
    multiple: number,
    start: number,
    end: number,
  ): Promise<Matrix> {
    const { buffers } = this.#components;
    const rows = end - start;
    const factor = multiple * this.#scales.sum;
    return this.#filled(rows, update.long, (panel) => {
      update.copyPanel(start, end, panel);
      const other = buffers.float32(panel.length);
      sum.copyPanel(start, end, other);
      const { update: scale } = this.#scales;
      for (let i = 0; i < panel.length; i++) panel[i] = scale * panel[i]! - factor * other[i]!;
      buffers.give(other);
    });
  }

  /** Columns [start, end) of a rows x columns matrix, as rows. */
  async uploadColumns(
    matrix: Float64Array,
    rows: number,
    columns: number,
    start: number,
    end: number,
  ): Promise<Matrix> {
    return this.#filled(end - start, rows, (panel) => copyColumns(matrix, rows, columns, [start, end], panel));
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
    const result = await meter.time(
      'products',
      name,
      () => device.run(graph, inputs, rows, columns),
      rows * columns * inner,
    );
    await pace.pause();
    return result;
  }

  /**
   * A B, for a B of n columns that is on the device; in slices that are put together where one would take too long.
   *
   * @param data - the entries of A
   */
  async assemble(graph: 'times', a: Matrix, data: Float64Array, b: Matrix, n: number): Promise<Matrix> {
    const { rows, columns: inner } = a;
    const { sliceProducts } = this.#components.device;
    const size = Math.max(1, Math.floor(sliceProducts / (inner * n)));
    if (size >= rows) return this.run(graph, { A: a, B: b }, rows, n, inner);
    return this.#filled(rows, n, async (whole) => {
      for (const [start, end] of panels(rows, size)) {
        const part = await this.upload(data.subarray(start * inner, end * inner), end - start, inner);
        const product = await this.run(graph, { A: part, B: b }, end - start, n, inner);
        whole.set(await this.download(product), start * n);
        this.release(part, product);
      }
    });
  }

  /** Rows [start, end) of S, plus C / scale; adds up <S, C> and |C|^2. */
  async add(
    sum: WideMatrix,
    start: number,
    end: number,
    c: Matrix,
    total: { inner: number; squares: number },
  ): Promise<void> {
    const panel = await this.download(c);
    const { inner, squares } = await this.#components.meter.time('sums', 'cpu', () =>
      sum.addPanel(start, end, panel, 1 / this.#scales.update),
    );
    total.inner += inner;
    total.squares += squares;
  }

  async download(matrix: Matrix): Promise<Float32Array | Float64Array> {
    return this.#transfer(() => this.#components.device.download(matrix));
  }

  release(...matrices: readonly Matrix[]): void {
    this.#components.device.release(...matrices);
    for (const matrix of matrices) {
      const scratch = this.#filledWith.get(matrix);
      if (scratch === undefined) continue;
      this.#filledWith.delete(matrix);
      this.#components.buffers.give(scratch);
    }
  }

  /** A matrix whose entries are written into working memory, which is given back when the matrix is released. */
  async #filled(rows: number, columns: number, fill: (entries: Scratch) => void | Promise<void>): Promise<Matrix> {
    const { device, buffers } = this.#components;
    const length = rows * columns;
    const scratch = device.type === 'float64' ? buffers.float64(length) : buffers.float32(length);
    await fill(scratch);
    const matrix = await this.upload(scratch, rows, columns);
    this.#filledWith.set(matrix, scratch);
    return matrix;
  }

  /** Transfers count as the device's work. */
  async #transfer<T>(work: () => Promise<T>): Promise<T> {
    const { meter, name } = this.#components;
    return meter.time('products', name, work);
  }
}
