/** Runs the projection's graphs with onnxruntime. For worker threads only: a run blocks its thread. */
import * as ort from 'onnxruntime-node';
import { ComputeError } from './errors.ts';
import { buildGraph, type GraphName } from './graphs.ts';
import { encodeModel } from './onnx-model.ts';

export interface Operand {
  readonly data: Float64Array;
  readonly dims: readonly [number, number];
}

/** Runs one graph on float64 operands; the result `Y` is written into `out`. */
export interface Kernels {
  run(graph: GraphName, feeds: Readonly<Record<string, Operand>>, out: Operand): Promise<void>;
}

/** onnxruntime's level for errors only: what it would warn of are its own optimisations. */
const LOG_ERRORS_ONLY = 3;

/**
 * One session per graph, made when first needed. One thread per session: parallelism comes from the workers, and
 * threads of its own would only compete with them.
 *
 * @throws ComputeError `RUNTIME_FAILED` from `run`
 */
export function createCpuKernels(): Kernels {
  const sessions = new Map<GraphName, Promise<ort.InferenceSession>>();
  return {
    async run(graph, feeds, out) {
      try {
        let session = sessions.get(graph);
        if (session === undefined) {
          session = ort.InferenceSession.create(encodeModel(buildGraph(graph, 'float64')), {
            executionProviders: ['cpu'],
            intraOpNumThreads: 1,
            interOpNumThreads: 1,
            executionMode: 'sequential',
            logSeverityLevel: LOG_ERRORS_ONLY,
          });
          sessions.set(graph, session);
        }
        const inputs: Record<string, ort.Tensor> = {};
        for (const [name, operand] of Object.entries(feeds)) inputs[name] = tensorOf(operand);
        await (await session).run(inputs, { Y: tensorOf(out) });
      } catch (error) {
        throw new ComputeError('RUNTIME_FAILED', `onnxruntime could not run the graph ${graph}: ${String(error)}`, {
          graph,
        });
      }
    },
  };
}

function tensorOf(operand: Operand): ort.Tensor {
  return new ort.Tensor('float64', operand.data, operand.dims);
}
