import type { MessagePort } from 'node:worker_threads';
import { Worker } from 'node:worker_threads';
import { KinmergeError } from '../../src/errors.ts';
import type { Progress, RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';

/** Progress messages of one call are thinned to one per this many milliseconds: they cross threads. */
export const PROGRESS_INTERVAL_MS = 50;

/**
 * How long a closing worker may take, in milliseconds, before it is terminated: longer than one slice of matrix work.
 * onnxruntime aborts the whole process when a thread inside it is terminated, so that is the last resort.
 */
export const CLOSE_TIMEOUT_MS = 10_000;

type Request =
  | { type: 'call'; id: number; method: string; args: unknown }
  | { type: 'abort'; id: number }
  | { type: 'close' };
type Reply =
  | { type: 'progress'; id: number; progress: Progress }
  | { type: 'result'; id: number; value: unknown }
  | { type: 'error'; id: number; error: WireError };
interface WireError {
  name: string;
  message: string;
  code?: string;
  fields?: Record<string, unknown>;
  stack?: string;
}

/** The calls that a worker answers: arguments and results must survive structured cloning. */
export type Handlers = Record<string, (args: never, options: RunOptions) => Promise<unknown>>;

/** An error that crossed from a worker with its code and fields. */
export class WorkerError extends KinmergeError {}

interface PendingCall {
  resolve(value: unknown): void;
  reject(error: Error): void;
  onProgress: ((progress: Progress) => void) | undefined;
}

/**
 * One worker thread and the calls under way in it. A worker that dies fails its calls and is started again by the next
 * call.
 */
export class WorkerThread<H extends Handlers> {
  readonly #url: URL;
  readonly #workerData: unknown;
  readonly #calls = new Map<number, PendingCall>();
  #worker: Worker | undefined;
  #nextId = 0;
  #closed = false;

  constructor(url: URL, workerData?: unknown) {
    this.#url = url;
    this.#workerData = workerData;
  }

  /** Runs one call in the worker. Aborting rejects at once; the worker stops at its next check. */
  async call<M extends keyof H & string>(
    method: M,
    args: Parameters<H[M]>[0],
    options: RunOptions = {},
  ): Promise<Awaited<ReturnType<H[M]>>> {
    options.signal?.throwIfAborted();
    const worker = this.#start();
    const id = this.#nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    const onAbort = () => {
      worker.postMessage({ type: 'abort', id } satisfies Request);
      this.#calls.delete(id);
      reject(options.signal?.reason instanceof Error ? options.signal.reason : new Error('aborted'));
    };
    this.#calls.set(id, { resolve, reject, onProgress: options.onProgress });
    options.signal?.addEventListener('abort', onAbort, { once: true });
    worker.postMessage({ type: 'call', id, method, args } satisfies Request);
    try {
      return (await promise) as Awaited<ReturnType<H[M]>>;
    } finally {
      options.signal?.removeEventListener('abort', onAbort);
      this.#calls.delete(id);
    }
  }

  /** Aborts the calls under way, lets the worker end by itself, and waits for that. */
  async close(): Promise<void> {
    this.#closed = true;
    const worker = this.#worker;
    if (worker === undefined) return;
    const ended = new Promise((resolve) => worker.once('exit', resolve));
    worker.postMessage({ type: 'close' } satisfies Request);
    const timer = setTimeout(() => void worker.terminate(), CLOSE_TIMEOUT_MS);
    await ended;
    clearTimeout(timer);
  }

  #start(): Worker {
    if (this.#closed) throw new NodeError('WORKER_FAILED', 'the node is shutting down');
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(this.#url, { workerData: this.#workerData });
    worker.on('message', (reply: Reply) => this.#receive(reply));
    worker.on('error', (error) => this.#fail(worker, error));
    worker.on('exit', (code) => this.#fail(worker, new Error(`exit code ${code}`)));
    this.#worker = worker;
    return worker;
  }

  #receive(reply: Reply): void {
    const call = this.#calls.get(reply.id);
    if (call === undefined) return;
    if (reply.type === 'progress') call.onProgress?.(reply.progress);
    else if (reply.type === 'result') call.resolve(reply.value);
    else call.reject(fromWire(reply.error));
  }

  #fail(worker: Worker, cause: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const reason = cause instanceof Error ? cause.message : String(cause);
    for (const call of this.#calls.values()) {
      call.reject(
        new NodeError('WORKER_FAILED', `a worker thread stopped (${reason}); the work can be tried again`, { reason }),
      );
    }
    this.#calls.clear();
  }
}

/**
 * The worker's side: answers calls, one after another, until it is told to close.
 *
 * @param release - ends what the handlers keep running
 */
export function serveCalls(port: MessagePort, handlers: Handlers, release: () => Promise<void> = async () => {}): void {
  const controllers = new Map<number, AbortController>();
  let tail = Promise.resolve();
  port.on('message', (request: Request) => {
    if (request.type === 'close') {
      for (const controller of controllers.values()) controller.abort();
      tail = tail.then(release).finally(() => port.close());
      return;
    }
    if (request.type === 'abort') {
      controllers.get(request.id)?.abort();
      return;
    }
    const controller = new AbortController();
    controllers.set(request.id, controller);
    tail = tail.then(async () => {
      const reply = await answer(port, handlers, request, controller.signal);
      controllers.delete(request.id);
      port.postMessage(reply);
    });
  });
}

async function answer(
  port: MessagePort,
  handlers: Handlers,
  request: Extract<Request, { type: 'call' }>,
  signal: AbortSignal,
): Promise<Reply> {
  const { id, method, args } = request;
  let last = 0;
  const onProgress = (progress: Progress) => {
    const now = performance.now();
    if (now - last < PROGRESS_INTERVAL_MS && progress.done < progress.total) return;
    last = now;
    port.postMessage({ type: 'progress', id, progress } satisfies Reply);
  };
  try {
    signal.throwIfAborted();
    const handler = handlers[method];
    if (handler === undefined) throw new Error(`no such call: ${method}`);
    return { type: 'result', id, value: await handler(args as never, { signal, onProgress }) };
  } catch (error) {
    return { type: 'error', id, error: toWire(error) };
  }
}

function toWire(error: unknown): WireError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const wire: WireError = { name: error.name, message: error.message };
  if (error.stack !== undefined) wire.stack = error.stack;
  if (error instanceof KinmergeError) {
    wire.code = error.code;
    wire.fields = JSON.parse(JSON.stringify(error.fields)) as Record<string, unknown>;
  }
  return wire;
}

function fromWire(wire: WireError): Error {
  const error =
    wire.code === undefined ? new Error(wire.message) : new WorkerError(wire.code, wire.message, wire.fields);
  error.name = wire.name;
  if (wire.stack !== undefined) error.stack = wire.stack;
  return error;
}
