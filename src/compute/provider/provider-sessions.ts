/** Sessions of onnxruntime on one execution provider, which run there or fail. */
import * as ort from 'onnxruntime-node';
import type { Device } from '../engine.ts';
import { encodeModel, type Graph } from '../onnx-model.ts';

export type Provider = Exclude<Device, 'auto' | 'cpu'>;

/** onnxruntime's level for errors only: what it would warn of are its own optimisations. */
const LOG_ERRORS_ONLY = 3;

/** Where a session leaves its results. */
export type ResultPlace = 'device' | 'host';

/**
 * Whether results can stay on the device and feed the next run. onnxruntime-node keeps them there with WebGPU alone;
 * elsewhere it copies each result back.
 */
export function keepsResults(provider: Provider): boolean {
  return provider === 'webgpu';
}

/**
 * onnxruntime by default runs on the CPU what a provider cannot, without a word; these sessions refuse such a graph.
 *
 * @throws the error of onnxruntime, when there is no such device or it cannot run a node of the graph
 */
export function createSession(provider: Provider, graph: Graph, results: ResultPlace): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(encodeModel(graph), {
    executionProviders: [providerOptions(provider)],
    intraOpNumThreads: 1,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: LOG_ERRORS_ONLY,
    extra: { session: { disable_cpu_ep_fallback: '1' } },
    ...(keepsResults(provider) && { preferredOutputLocation: results === 'device' ? 'gpu-buffer' : 'cpu' }),
  });
}

function providerOptions(provider: Provider): ort.InferenceSession.ExecutionProviderConfig {
  // By default every size of buffer that was once needed is kept for later, which for the many shapes of a model is
  // several times as much memory and no faster.
  if (provider === 'webgpu') return { name: 'webgpu', storageBufferCacheMode: 'lazyRelease' };
  return { name: provider };
}
