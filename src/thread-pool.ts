import { type Transferable, Worker } from 'node:worker_threads';
import { KinmergeError } from './errors.ts';

/** What a thread answers: the result of a job, or an error that crossed with its code. */
export type ThreadReply<Result> =
  | { readonly ok: true; readonly result: Result }
  | { readonly ok: false; readonly message: string; readonly code?: string; readonly fields?: object };

/** An error of a job that has no better class on this side. */
export class ThreadError extends KinmergeError {}

/** Jobs that a busy thread holds: the one at work, and the next, so that it need not wait for this side to answer. */
export const JOBS_AT_HAND = 2;

interface Task<Job, Result> {
  readonly job: Job;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

export interface ThreadPoolOptions {
  /** The module that serves the jobs (`serveJobs`). */
  readonly url: URL;
  /** Threads at most; they are started as jobs come. */
  readonly threads: number;
  readonly name: string;
  /** What every thread is given at its start. */
  readonly workerData?: unknown;
}

/**
 * Threads that do one job each at a time, in the order of the calls. For work that may be cut off anywhere: closing
 * terminates them. (Not for onnxruntime, which aborts the process then.)
 */
export class ThreadPool<Job, Result> {
  readonly #options: ThreadPoolOptions;
  readonly #waiting: Task<Job, Result>[] = [];
  /** What each thread was given, in the order of its work. */
  readonly #threads = new Map<Worker, Task<Job, Result>[]>();
  #closing: Promise<void> | undefined;

  /** @throws RangeError below one thread: jobs would wait for ever */
  constructor(options: ThreadPoolOptions) {
    if (!(options.threads >= 1)) throw new RangeError(`a pool needs at least one thread, not ${options.threads}`);
    this.#options = options;
  }

  /** Starts all threads now, so that they are ready when the first jobs come. */
  warmUp(): void {
    try {
      while (this.#threads.size < this.#options.threads) this.#start();
    } catch {
      // The first job says what is wrong.
    }
  }

  /** Waits for a free thread. @throws ThreadError with the job's code, `THREAD_DIED`, `POOL_CLOSED` */
  run(job: Job): Promise<Result> {
    if (this.#closing) return Promise.reject(closed());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ job, resolve, reject });
      this.#dispatch();
    });
  }

  /** Ends all threads, whatever they do; every call waits until they have ended. Jobs that are not done are rejected. */
  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  /** Ends what is under way or waits, at once; those jobs are rejected. Jobs that come later get new threads. */
  cancel(): Promise<void> {
    return this.#end();
  }

  async #end(): Promise<void> {
    const tasks = [...this.#threads.values(), this.#waiting.splice(0)].flat();
    const threads = [...this.#threads.keys()];
    this.#threads.clear();
    for (const task of tasks) task.reject(closed());
    await Promise.all(threads.map((thread) => thread.terminate()));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      let worker: Worker | undefined;
      try {
        worker = this.#free();
        if (worker === undefined) return;
        worker.postMessage(this.#waiting[0]!.job);
        this.#threads.get(worker)!.push(this.#waiting.shift()!);
      } catch (cause) {
        // A thread that cannot start, or a job that cannot be sent, fails this job alone.
        const text = `A job could not be given to a thread (${(cause as Error).message}). Try again with fewer threads.`;
        this.#waiting.shift()!.reject(new ThreadError('THREAD_FAILED', text, {}, { cause }));
      }
    }
  }

  /** A thread without work, a new one, or one that may have its next job already: of the last jobs none waits behind another. */
  #free(): Worker | undefined {
    const { threads } = this.#options;
    const below = (jobs: number) => [...this.#threads].find(([, tasks]) => tasks.length < jobs)?.[0];
    const idle = below(1) ?? (this.#threads.size < threads ? this.#start() : undefined);
    return idle ?? (this.#waiting.length >= threads ? below(JOBS_AT_HAND) : undefined);
  }

  #start(): Worker {
    const { name, workerData } = this.#options;
    const worker = new Worker(this.#options.url, { name, workerData });
    let cause: unknown;
    this.#threads.set(worker, []);
    worker.on('message', (reply: ThreadReply<Result>) => {
      const task = this.#threads.get(worker)?.shift();
      if (task === undefined) return;
      if (reply.ok) task.resolve(reply.result);
      else task.reject(failure(reply));
      this.#dispatch();
    });
    worker.on('error', (error) => {
      cause = error;
    });
    worker.on('messageerror', (error) => {
      cause = error;
      void worker.terminate();
    });
    worker.on('exit', () => {
      const [task, ...untouched] = this.#threads.get(worker) ?? [];
      this.#threads.delete(worker);
      if (task === undefined) return;
      this.#waiting.unshift(...untouched);
      const text = `A thread died at its work (${cause instanceof Error ? cause.message : 'no reason given'}). Try again with more free memory.`;
      task.reject(new ThreadError('THREAD_DIED', text, {}, { cause }));
      this.#dispatch();
    });
    return worker;
  }
}

function failure({ code, message, fields }: Extract<ThreadReply<unknown>, { ok: false }>): ThreadError {
  if (code !== undefined) return new ThreadError(code, message, { ...fields });
  const text = `A thread failed at its work: ${message}. Try again with more free memory; if that does not help, report it.`;
  return new ThreadError('THREAD_FAILED', text);
}

function closed(): ThreadError {
  return new ThreadError(
    'POOL_CLOSED',
    'The threads were closed before the job was done. Open new ones to do it again.',
  );
}

/** What a job of a thread comes to: its result, and the memory in it that is handed over instead of copied. */
export interface JobResult<Result> {
  readonly result: Result;
  readonly transfer?: readonly Transferable[];
}

/** The thread's side: answers each job in turn. */
export function serveJobs<Job, Result>(
  port: import('node:worker_threads').MessagePort,
  work: (job: Job) => JobResult<Result>,
): void {
  port.on('message', (job: Job) => {
    let reply: ThreadReply<Result>;
    let transfer: readonly Transferable[] = [];
    try {
      const done = work(job);
      reply = { ok: true, result: done.result };
      transfer = done.transfer ?? [];
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      reply =
        error instanceof KinmergeError
          ? { ok: false, message, code: error.code, fields: error.fields }
          : { ok: false, message };
    }
    port.postMessage(reply, [...transfer]);
  });
}
