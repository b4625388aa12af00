import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import type { RunOptions } from '../../run-options.ts';
import { ThreadError, ThreadPool } from '../../thread-pool.ts';
import { siblingModule } from '../../worker-url.ts';
import { checkThreads } from '../encode/settings.ts';
import { CodecError, type CodecErrorCode, PAYLOAD_ERROR_CODES } from '../errors.ts';
import { FileCache, PAYLOAD_FILE_ERRORS } from '../file-cache.ts';
import { inOrder } from '../in-order.ts';
import { Kernel, kernelModule } from '../kernel/kernel.ts';
import type { PayloadReader } from '../types.ts';
import { type DecodeJob, runDecodeJob } from './jobs.ts';

/** Up to so many elements tensors are decoded where they are asked for: starting threads would take longer. */
export const MAX_INLINE_ELEMENTS = 8 * 2 ** 20;

export interface DenseOptions extends RunOptions {
  /** Threads at most. Default: one for each core. */
  readonly threads?: number;
}

/** One tensor of an update with all its entries, row-major. */
export interface DenseTensor {
  /** Position in the tensor table. */
  readonly index: number;
  /** Good until the next tensor is asked for: the memory is used again. */
  readonly values: Float32Array;
}

/**
 * Decodes the tensors of a payload to float32, in the order of its sections and ahead of their use; tensors without a section are
 * zero and left out. Ask for one at a time: two calls of `next` at once would share a tensor's memory. Memory: one tensor for each thread and one in the caller's hands, each as large as the largest.
 *
 * @throws CodecError of the payload's sections, READ_FAILED, BAD_PARAMETER, OUT_OF_MEMORY; ThreadError
 */
export async function* denseTensors(
  payload: Pick<PayloadReader, 'sections' | 'location'>,
  options: DenseOptions = {},
): AsyncGenerator<DenseTensor> {
  if (options.threads !== undefined) checkThreads(options.threads);
  const { sections, location } = payload;
  const total = sections.reduce((sum, { elements }) => sum + elements, 0);
  const threads =
    total <= MAX_INLINE_ELEMENTS || location instanceof Uint8Array ? 0 : (options.threads ?? availableParallelism());
  const run = threads === 0 ? inline() : pooled(Math.min(threads, sections.length));
  const stop = () => void run.close();
  options.signal?.addEventListener('abort', stop, { once: true });
  const slots = new Slots(threads > 0);
  const jobs = sections.map((section) => async () => {
    options.signal?.throwIfAborted();
    const out = slots.take(section.elements);
    await run.run({ source: location, section, out });
    options.signal?.throwIfAborted();
    return { index: section.index, out, elements: section.elements };
  });
  let done = 0;
  const report = () => options.onProgress?.({ phase: 'decoding', done, total: sections.length, unit: 'tensors' });
  try {
    report();
    for await (const { index, out, elements } of inOrder(jobs, Math.max(1, threads))) {
      yield { index, values: out.subarray(0, elements) };
      slots.give(out);
      done++;
      report();
    }
  } catch (error) {
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    options.signal?.removeEventListener('abort', stop);
    await run.close();
  }
}

/**
 * Output buffers, used again and again: fresh memory costs more than what is written to it. A buffer too small for a
 * tensor is not grown; the next larger tensor gets one of its own.
 */
class Slots {
  readonly #shared: boolean;
  readonly #free: Float32Array[] = [];

  constructor(shared: boolean) {
    this.#shared = shared;
  }

  /** The smallest free buffer that holds the elements, or a new one. */
  take(elements: number): Float32Array {
    const at = this.#free.findIndex((slot) => slot.length >= elements);
    if (at >= 0) return this.#free.splice(at, 1)[0]!;
    // Free buffers that are too small make room for the new one.
    this.#free.shift();
    return this.#shared
      ? new Float32Array(new SharedArrayBuffer(Float32Array.BYTES_PER_ELEMENT * elements))
      : new Float32Array(elements);
  }

  give(slot: Float32Array): void {
    this.#free.push(slot);
    this.#free.sort((a, b) => a.length - b.length);
  }
}

interface DecodeThreads {
  run(job: DecodeJob): Promise<void>;
  close(): Promise<void>;
}

function inline(): DecodeThreads {
  const components = { kernel: new Kernel(), files: new FileCache(PAYLOAD_FILE_ERRORS) };
  return {
    run: async (job) => {
      // A payload in memory is decoded here however large it is: whoever waits beside it gets a turn for each tensor.
      await setImmediate();
      runDecodeJob(components, job);
    },
    close: async () => components.files.close(),
  };
}

function pooled(threads: number): DecodeThreads {
  const pool = new ThreadPool<DecodeJob, null>({
    url: siblingModule(import.meta.url, './worker'),
    threads,
    name: 'kinmerge-decode',
    workerData: kernelModule(),
  });
  return {
    run: (job) => pool.run(job).then(() => undefined, rethrow),
    close: () => pool.close(),
  };
}

const CODES: ReadonlySet<string> = new Set<CodecErrorCode>([...PAYLOAD_ERROR_CODES, 'READ_FAILED', 'OUT_OF_MEMORY']);

/** A verdict on the payload is the same whichever thread reached it. */
function rethrow(error: unknown): never {
  if (error instanceof ThreadError && CODES.has(error.code)) {
    throw new CodecError(error.code as CodecErrorCode, error.message, { ...error.fields }, { cause: error });
  }
  throw error;
}
