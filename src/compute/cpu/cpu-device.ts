/** Products on the CPU with onnxruntime in float64. For worker threads only: a run blocks its thread. */
import * as ort from 'onnxruntime-node';
import type { Buffers } from '../buffers.ts';
import type { DeviceMatrix, MatrixDevice } from '../device.ts';
import { ComputeError } from '../errors.ts';
import { buildGraph, type GraphName } from '../graphs.ts';
import { encodeModel } from '../onnx-model.ts';

/** onnxruntime's level for errors only: what it would warn of are its own optimisations. */
const LOG_ERRORS_ONLY = 3;

/** Multiply-adds per slice: about half a second on one core of a small machine. */
export const SLICE_PRODUCTS = 8e9;

/** Entries of a block: 5 MiB. Three are in use at once in each worker, and longer ones are not multiplied faster. */
export const CPU_BLOCK_ELEMENTS = 5 * 2 ** 17;
/** Columns of a block at least. */
export const CPU_BLOCK_COLUMNS = 512;

export interface CpuMatrix extends DeviceMatrix {
  readonly data: Float64Array;
  /** Memory that goes back when the matrix is released; null for what belongs to the caller. */
  readonly scratch: Float64Array<ArrayBuffer> | null;
}

/**
 * One session per graph, made when first needed. One thread per session: parallelism comes from the workers, and
 * threads of its own would only compete with them.
 */
export class CpuDevice implements MatrixDevice<CpuMatrix> {
  readonly type = 'float64';
  readonly resident = false;
  readonly blockElements = CPU_BLOCK_ELEMENTS;
  readonly blockColumns = CPU_BLOCK_COLUMNS;
  readonly sliceProducts: number;
  readonly #buffers: Buffers;
  readonly #sessions = new Map<GraphName, Promise<ort.InferenceSession>>();

  constructor({ sliceProducts = SLICE_PRODUCTS }: { sliceProducts?: number }, { buffers }: { buffers: Buffers }) {
    this.sliceProducts = sliceProducts;
    this.#buffers = buffers;
  }

  async upload(data: Float32Array | Float64Array, rows: number, columns: number): Promise<CpuMatrix> {
    if (data instanceof Float64Array) return { rows, columns, data, scratch: null };
    const scratch = this.#buffers.float64(rows * columns);
    scratch.set(data);
    return { rows, columns, data: scratch, scratch };
  }

  async run(
    graph: GraphName,
    inputs: Readonly<Record<string, CpuMatrix>>,
    rows: number,
    columns: number,
  ): Promise<CpuMatrix> {
    const scratch = this.#buffers.float64(rows * columns);
    const result = { rows, columns, data: scratch, scratch };
    try {
      const session = await this.#session(graph);
      const feeds: Record<string, ort.Tensor> = {};
      for (const [name, matrix] of Object.entries(inputs)) feeds[name] = tensorOf(matrix);
      const { Y } = await session.run(feeds, { Y: tensorOf(result) });
      // The binding gives a copy of what was written into `result`: its memory goes back now and not when it is collected.
      const { buffer } = Y!.data as Float64Array<ArrayBuffer>;
      if (buffer !== scratch.buffer) buffer.transfer(0);
    } catch (error) {
      throw new ComputeError('RUNTIME_FAILED', `onnxruntime could not run the graph ${graph}: ${String(error)}`, {
        graph,
      });
    }
    return result;
  }

  async download({ data }: CpuMatrix): Promise<Float64Array> {
    return data;
  }

  release(...matrices: readonly CpuMatrix[]): void {
    for (const { scratch } of matrices) if (scratch !== null) this.#buffers.give(scratch);
  }

  #session(graph: GraphName): Promise<ort.InferenceSession> {
    let session = this.#sessions.get(graph);
    if (session === undefined) {
      session = ort.InferenceSession.create(encodeModel(buildGraph(graph, this.type)), {
        executionProviders: ['cpu'],
        intraOpNumThreads: 1,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        // Its arenas keep what they once needed; packing a product's operands is all that they would serve here.
        enableCpuMemArena: false,
        enableMemPattern: false,
        logSeverityLevel: LOG_ERRORS_ONLY,
      });
      this.#sessions.set(graph, session);
      // What failed once, for lack of memory say, may work the next time.
      session.catch(() => this.#sessions.delete(graph));
    }
    return session;
  }
}

function tensorOf({ data, rows, columns }: CpuMatrix): ort.Tensor {
  return new ort.Tensor('float64', data, [rows, columns]);
}
