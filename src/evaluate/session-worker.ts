/** The worker thread of an evaluation: onnxruntime's `run` blocks its thread, so it never runs in the caller's. */
import { parentPort } from 'node:worker_threads';
import * as ort from 'onnxruntime-node';
import type { FromWorker, ToWorker } from './messages.ts';
import type { Feed, GraphPort } from './types.ts';

/** onnxruntime's level for errors only; what it would warn of is its own business. */
const LOG_ERRORS_ONLY = 3;

const port = parentPort!;
const held: Record<string, ort.Tensor> = Object.create(null);
let session: ort.InferenceSession | undefined;

port.on('message', async (message: ToWorker) => {
  if (message.kind === 'close') {
    await session?.release();
    port.close();
    return;
  }
  try {
    const reply = await answer(message);
    port.postMessage(reply, reply.kind === 'scores' ? [reply.data.buffer as ArrayBuffer] : []);
  } catch (error) {
    const reply: FromWorker = { kind: 'failed', message: error instanceof Error ? error.message : String(error) };
    port.postMessage(reply);
  }
});

async function answer(message: Exclude<ToWorker, { kind: 'close' }>): Promise<FromWorker> {
  if (message.kind === 'open') {
    session = await ort.InferenceSession.create(message.graph, {
      executionProviders: ['cpu'],
      logSeverityLevel: LOG_ERRORS_ONLY,
    });
    return {
      kind: 'opened',
      inputs: session.inputMetadata.map(describe),
      outputs: session.outputMetadata.map(describe),
    };
  }
  const tensor = tensorOf(message.feed);
  if (message.kind === 'hold') {
    held[message.name] = tensor;
    return { kind: 'held' };
  }
  const results = await session!.run({ ...held, [message.name]: tensor }, [message.output]);
  const output = results[message.output] as ort.Tensor;
  if (output.type !== 'float32') throw new Error(`output ${message.output} is ${output.type}, not float32`);
  // A copy: the memory of an output belongs to onnxruntime and cannot be transferred.
  return { kind: 'scores', data: Float32Array.from(output.data as Float32Array), dims: output.dims };
}

function tensorOf({ type, data, dims }: Feed): ort.Tensor {
  return new ort.Tensor(type, data as Float32Array, dims) as ort.Tensor;
}

function describe(value: ort.InferenceSession.ValueMetadata): GraphPort {
  return value.isTensor
    ? { name: value.name, type: value.type, shape: value.shape }
    : { name: value.name, type: 'not a tensor', shape: [] };
}
