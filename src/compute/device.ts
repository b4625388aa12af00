/** What a backend has to offer for the large products: matrices that it keeps, and graphs that it runs on them. */
import type { GraphName } from './graphs.ts';
import type { ElementType } from './onnx-model.ts';

/** A matrix where the backend keeps it, in the backend's element type. */
export interface DeviceMatrix {
  readonly rows: number;
  readonly columns: number;
}

/** Every matrix that a device gave belongs to the caller until it is released. */
export interface MatrixDevice<Matrix extends DeviceMatrix = DeviceMatrix> {
  /** Element type of the products. */
  readonly type: ElementType;
  /**
   * Whether the device has memory of its own: what is needed twice is then kept there, and where it has not, the second
   * upload costs less than the memory.
   */
  readonly resident: boolean;
  /** Multiply-adds that one `run` may take: about half a second of work, the wait after a cancellation. */
  readonly sliceProducts: number;
  /** Entries that a block of columns of a large matrix should have: working memory, or what fits a buffer. */
  readonly blockElements: number;
  /** Columns that it should have at least, so that what is added up by blocks is not read and written too often. */
  readonly blockColumns: number;
  /**
   * Brings rows x columns entries, row-major, to the device. A device without memory of its own may keep `data` itself,
   * so it must not change until the matrix is released.
   */
  upload(data: Float32Array | Float64Array, rows: number, columns: number): Promise<Matrix>;
  /**
   * Runs one graph; the result has the given shape.
   *
   * @throws ComputeError `RUNTIME_FAILED`
   */
  run(graph: GraphName, inputs: Readonly<Record<string, Matrix>>, rows: number, columns: number): Promise<Matrix>;
  /** The entries, row-major; valid until the matrix is released. */
  download(matrix: Matrix): Promise<Float32Array | Float64Array>;
  /** Gives the memory back for other matrices. */
  release(...matrices: readonly Matrix[]): void;
}
