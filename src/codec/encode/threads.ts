import { availableParallelism } from 'node:os';
import { CheckpointError } from '../../tensors/index.ts';
import { ThreadError, ThreadPool } from '../../thread-pool.ts';
import { siblingModule } from '../../worker-url.ts';
import { CodecError } from '../errors.ts';
import { FileCache } from '../file-cache.ts';
import { Kernel, kernelModule } from '../kernel/kernel.ts';
import { type EncodeJob, type EncodeResult, runEncodeJob } from './jobs.ts';
import { checkThreads } from './settings.ts';

/** Up to so many elements the work is done where it is asked for: starting threads would take longer. About 30 ms. */
export const MAX_INLINE_ELEMENTS = 4 * 2 ** 20;

/**
 * Jobs under way for each thread. Results are taken in order, and a large tensor between many small ones must not leave
 * threads without work; but each finished one waits with its code.
 */
const JOBS_PER_THREAD = 8;

/**
 * Runs the jobs of encodings, in threads or, for little work, in the caller's. It may serve several encodings, one at a
 * time: threads take a while to start, and longer until their code is at its fastest.
 */
export interface EncodeThreads {
  /** Jobs to have under way at once, for `inOrder`. */
  readonly window: number;
  /** @throws CheckpointError FILE_CHANGED, IO_FAILED; ThreadError */
  run<Kind extends EncodeJob['kind']>(job: Extract<EncodeJob, { kind: Kind }>): Promise<EncodeResult<Kind>>;
  /** Ends whatever is under way; other jobs may follow. */
  cancel(): Promise<void>;
  /** Ends whatever is under way, and all threads. */
  close(): Promise<void>;
}

/**
 * Opens threads for the work and closes them behind it, or lends the work those that are given. What is under way ends
 * at once when the signal aborts, and whatever fails after that fails with the signal's reason: jobs that were cut off
 * fail before anybody looks at the signal.
 *
 * @param tensors - what the jobs will be about, at most
 * @param given - threads that the caller keeps, or how many to open at most; default: one for each core
 * @throws what the work throws; the signal's reason
 */
export async function withEncodeThreads<Result>(
  tensors: readonly { readonly elements: number }[],
  given: number | EncodeThreads | undefined,
  signal: AbortSignal | undefined,
  work: (threads: EncodeThreads) => Promise<Result>,
): Promise<Result> {
  const lent = typeof given === 'object';
  const threads = lent ? given : openEncodeThreads(tensors, given);
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped = lent ? threads.cancel() : threads.close();
  };
  signal?.addEventListener('abort', stop, { once: true });
  try {
    return await work(threads);
  } catch (error) {
    // Jobs that nobody waits for any more must not hold up the next encoding.
    if (lent) stopped ??= threads.cancel();
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', stop);
    await (lent ? stopped : threads.close());
  }
}

/**
 * @param tensors - what the jobs will be about, at most
 * @param threads - at most; default: one for each core
 * @throws CodecError BAD_PARAMETER
 */
export function openEncodeThreads(
  tensors: readonly { readonly elements: number }[],
  threads = availableParallelism(),
): EncodeThreads {
  checkThreads(threads);
  const elements = tensors.reduce((sum, tensor) => sum + tensor.elements, 0);
  return elements <= MAX_INLINE_ELEMENTS ? inline() : pooled(Math.min(threads, tensors.length));
}

function inline(): EncodeThreads {
  const components = { kernel: new Kernel(), files: new FileCache() };
  return {
    window: 1,
    run: async (job) => runEncodeJob(components, job) as never,
    cancel: async () => undefined,
    close: async () => components.files.close(),
  };
}

function pooled(threads: number): EncodeThreads {
  const pool = new ThreadPool<EncodeJob, EncodeResult>({
    url: siblingModule(import.meta.url, './worker'),
    threads,
    name: 'kinmerge-encode',
    workerData: kernelModule(),
  });
  pool.warmUp();
  return {
    window: JOBS_PER_THREAD * threads,
    run: (job) => pool.run(job).catch(rethrow) as never,
    cancel: () => pool.cancel(),
    close: () => pool.close(),
  };
}

/** What a job threw, as the caller would have seen it without threads. */
function rethrow(error: unknown): never {
  if (!(error instanceof ThreadError)) throw error;
  const { code, message, fields } = error;
  if (code === 'FILE_CHANGED' || code === 'IO_FAILED')
    throw new CheckpointError(code, message, fields, { cause: error });
  if (code === 'OUT_OF_MEMORY') throw new CodecError(code, message, fields, { cause: error });
  throw error;
}
