import { Worker } from 'node:worker_threads';
import type { RunOptions } from '../run-options.ts';
import { disableTelemetry } from '../telemetry.ts';
import { siblingModule } from '../worker-url.ts';
import { EvaluateError } from './errors.ts';
import type { FromWorker, ToWorker } from './messages.ts';
import type { Feed, GraphPort } from './types.ts';

/** Milliseconds that a closing session waits for its thread to leave by itself before it is terminated. */
const CLOSE_GRACE_MS = 2_000;

type Reply<Kind extends FromWorker['kind']> = Extract<FromWorker, { kind: Kind }>;

/** A loaded graph in a thread of its own. Requests are made one after another. */
export class GraphSession {
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  readonly #thread: GraphThread;

  private constructor(thread: GraphThread, { inputs, outputs }: Reply<'opened'>) {
    this.#thread = thread;
    this.inputs = inputs;
    this.outputs = outputs;
  }

  /** @throws EvaluateError GRAPH_UNREADABLE, WORKER_CRASHED; the signal's reason */
  static async open(graph: string, options: RunOptions = {}): Promise<GraphSession> {
    const thread = new GraphThread();
    try {
      const reply = await thread.request({ kind: 'open', graph }, [], options);
      if (reply.kind === 'failed') {
        const text = `${graph}: onnxruntime does not accept this graph: ${reply.message}. Export the model to ONNX again.`;
        throw new EvaluateError('GRAPH_UNREADABLE', text, { path: graph });
      }
      return new GraphSession(thread, reply as Reply<'opened'>);
    } catch (error) {
      await thread.close();
      throw error;
    }
  }

  /** Keeps a value for all runs that follow. The feed's memory is handed over. */
  async hold(name: string, feed: Feed, options: RunOptions = {}): Promise<void> {
    const reply = await this.#thread.request({ kind: 'hold', name, feed }, [feed.data.buffer as ArrayBuffer], options);
    if (reply.kind === 'failed') throw runFailed(reply.message, { input: name });
  }

  /** Runs one batch. The feed's memory is handed over. @throws EvaluateError RUN_FAILED, WORKER_CRASHED */
  async run(name: string, feed: Feed, output: string, options: RunOptions = {}): Promise<Reply<'scores'>> {
    const message: ToWorker = { kind: 'run', name, feed, output };
    const reply = await this.#thread.request(message, [feed.data.buffer as ArrayBuffer], options);
    if (reply.kind === 'failed') throw runFailed(reply.message, { output });
    return reply as Reply<'scores'>;
  }

  close(): Promise<void> {
    return this.#thread.close();
  }
}

class GraphThread {
  readonly #worker: Worker;
  readonly #left: Promise<void>;
  #gone = false;
  #cause: unknown;
  #waiting: { resolve(reply: FromWorker): void; reject(error: unknown): void } | undefined;

  constructor() {
    disableTelemetry();
    this.#worker = new Worker(siblingModule(import.meta.url, './session-worker'), { name: 'kinmerge-evaluate' });
    this.#worker.on('message', (reply: FromWorker) => {
      this.#waiting?.resolve(reply);
      this.#waiting = undefined;
    });
    this.#worker.on('error', (error) => {
      this.#cause = error;
    });
    this.#left = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#gone = true;
        this.#waiting?.reject(this.#crashed());
        resolve();
      });
    });
  }

  /** An abort settles the request at once; the thread itself goes on until its current run is over. */
  async request(message: ToWorker, transfer: ArrayBuffer[], { signal }: RunOptions): Promise<FromWorker> {
    signal?.throwIfAborted();
    if (this.#gone) throw this.#crashed();
    const { promise, resolve, reject } = Promise.withResolvers<FromWorker>();
    this.#waiting = { resolve, reject };
    const onAbort = (): void => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#worker.postMessage(message, transfer);
      return await promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  async close(): Promise<void> {
    if (this.#gone) return;
    this.#worker.postMessage({ kind: 'close' } satisfies ToWorker);
    const timer = setTimeout(() => void this.#worker.terminate(), CLOSE_GRACE_MS);
    await this.#left;
    clearTimeout(timer);
  }

  #crashed(): EvaluateError {
    const text = 'The thread that runs the graph died. Try again with more free memory, or a smaller batch.';
    return new EvaluateError('WORKER_CRASHED', text, {}, { cause: this.#cause });
  }
}

function runFailed(message: string, fields: Record<string, unknown>): EvaluateError {
  const text = `onnxruntime could not run the graph: ${message}. Check that graph, model and test set belong together.`;
  return new EvaluateError('RUN_FAILED', text, fields);
}
