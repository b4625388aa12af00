/** The CPU backend: worker threads with one onnxruntime session per graph each, one matrix per worker at a time. */
import { Worker } from 'node:worker_threads';
import type { RunOptions } from '../../run-options.ts';
import { disableTelemetry } from '../../telemetry.ts';
import { siblingModule } from '../../worker-url.ts';
import type { EigensolverStatus } from '../eigen/index.ts';
import type { MatrixEngine, ProjectionJob, ProjectionResult } from '../engine.ts';
import { ComputeError } from '../errors.ts';
import { errorOf } from '../failures.ts';
import { checkJob } from '../job.ts';
import type { PreparedJob } from '../projection/projection.ts';
import { CONTROL, type FromWorker, type ToWorker, type WorkerTasks } from './messages.ts';

/** Threads that may die in a row, without a job finished between, before the engine gives up. */
export const CRASHES_MAX = 2;
/**
 * Milliseconds that a thread has to leave a cancelled or closed job by itself. Products end with their slice, well
 * within this; the eigenproblem of a large matrix is one piece of work and does not, so its thread is terminated then.
 *
 * A thread inside onnxruntime is never terminated: its add-on aborts the whole process when that happens.
 */
export const STOP_GRACE_MS = 2_000;

/** Milliseconds that an exiting process waits for a slice to end; a slice takes about a tenth of that. */
export const EXIT_WAIT_MS = 10_000;

/**
 * Mebibytes of each thread for objects that have just been made. Its matrices lie elsewhere and what it makes is small and
 * soon forgotten, but by default 48 MiB of that are kept before any is collected.
 */
const YOUNG_GENERATION_MB = 3;

interface Task {
  readonly kind: keyof WorkerTasks;
  readonly job: ProjectionJob;
  readonly control: Int32Array<SharedArrayBuffer>;
  resolve(result: WorkerTasks[keyof WorkerTasks]): void;
  reject(error: unknown): void;
}

interface Slot {
  worker: Worker | null;
  task: Task | null;
}

export interface CpuEngineOptions {
  readonly workers: number;
  /** The one that the threads use. */
  readonly eigensolver: EigensolverStatus;
  /** How the backend was chosen, for the description. */
  readonly chosen: string;
  /** The worker's module; another one only in tests of crashes. */
  readonly workerUrl?: URL;
  /** Default: STOP_GRACE_MS. */
  readonly stopGraceMs?: number;
}

/** Engines with threads, which a leaving process must not interrupt inside onnxruntime. */
const open = new Set<CpuEngine>();

/** Leaving the process terminates its threads: cancels what runs and waits, at most a slice, until that is safe. */
function settleThreads(): void {
  for (const engine of open) engine.settleThreads();
}

/** The CPU backend, which also does for others what is not a large product. */
export interface CpuMatrixEngine extends MatrixEngine {
  /** As `project`, but leaves the large products, where there are any to do. */
  prepare(job: ProjectionJob, options?: RunOptions): Promise<ProjectionResult | PreparedJob>;
}

export function createCpuEngine(options: CpuEngineOptions): CpuMatrixEngine {
  return new CpuEngine(options);
}

class CpuEngine implements CpuMatrixEngine {
  readonly device = 'cpu';
  readonly description: string;
  readonly workers: number;
  readonly eigensolver: EigensolverStatus;
  readonly #slots: Slot[];
  readonly #waiting: Task[] = [];
  readonly #workerUrl: URL;
  readonly #stopGraceMs: number;
  #crashes = 0;
  #closing: Promise<void> | null = null;

  constructor(options: CpuEngineOptions) {
    this.workers = options.workers;
    this.eigensolver = options.eigensolver;
    this.description = `cpu: onnxruntime in ${options.workers} worker thread(s), float64 products (${options.chosen})`;
    this.#workerUrl = options.workerUrl ?? siblingModule(import.meta.url, './cpu-worker');
    this.#stopGraceMs = options.stopGraceMs ?? STOP_GRACE_MS;
    this.#slots = Array.from({ length: options.workers }, () => ({ worker: null, task: null }));
  }

  project(job: ProjectionJob, options: RunOptions = {}): Promise<ProjectionResult> {
    return this.#submit('project', job, options);
  }

  prepare(job: ProjectionJob, options: RunOptions = {}): Promise<ProjectionResult | PreparedJob> {
    return this.#submit('prepare', job, options);
  }

  async #submit<Kind extends keyof WorkerTasks>(
    kind: Kind,
    job: ProjectionJob,
    options: RunOptions,
  ): Promise<WorkerTasks[Kind]> {
    checkJob(job);
    const { signal } = options;
    signal?.throwIfAborted();
    if (this.#closing !== null) throw closed();
    if (this.#crashes >= CRASHES_MAX) throw gaveUp();
    const control = new Int32Array(new SharedArrayBuffer(CONTROL.entries * Int32Array.BYTES_PER_ELEMENT));
    const settled = Promise.withResolvers<WorkerTasks[Kind]>();
    const resolve = settled.resolve as Task['resolve'];
    const task: Task = { kind, job, control, resolve, reject: settled.reject };
    const onAbort = (): void => {
      Atomics.store(control, CONTROL.cancelled, 1);
      const index = this.#waiting.indexOf(task);
      if (index >= 0) this.#waiting.splice(index, 1);
      else setTimeout(() => this.#replaceStuck(task), this.#stopGraceMs).unref();
      settled.reject(signal?.reason);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
    try {
      this.#waiting.push(task);
      this.#dispatch();
      return await settled.promise;
    } finally {
      signal?.removeEventListener('abort', onAbort);
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#shutDown();
    return this.#closing;
  }

  /** Blocks the caller. */
  settleThreads(): void {
    const tasks = this.#slots.flatMap(({ task }) => (task === null ? [] : [task]));
    for (const { control } of tasks) Atomics.store(control, CONTROL.cancelled, 1);
    for (const { control } of tasks) Atomics.wait(control, CONTROL.interruptible, 0, EXIT_WAIT_MS);
  }

  #dispatch(): void {
    for (const slot of this.#slots) {
      while (slot.task === null) {
        const task = this.#waiting.shift();
        if (task === undefined) return;
        this.#hand(slot, task);
      }
    }
  }

  #hand(slot: Slot, task: Task): void {
    if (open.size === 0) process.on('exit', settleThreads);
    open.add(this);
    try {
      slot.worker ??= this.#start(slot);
    } catch (cause) {
      const text = 'A compute thread cannot be started. Free memory or use fewer workers.';
      task.reject(new ComputeError('WORKER_CRASHED', text, {}, { cause }));
      return;
    }
    const { kind, job, control } = task;
    try {
      const message: ToWorker = { kind, job, control };
      slot.worker.postMessage(message, [job.sum.buffer, job.update.buffer]);
      slot.worker.ref();
      slot.task = task;
    } catch (cause) {
      const text = 'The buffers of a job cannot be transferred: they are shared, or were given away before.';
      task.reject(new ComputeError('BAD_JOB', text, {}, { cause }));
    }
  }

  #start(slot: Slot): Worker {
    disableTelemetry();
    const worker = new Worker(this.#workerUrl, {
      name: 'kinmerge-compute',
      workerData: this.eigensolver.name,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MB },
    });
    let cause: unknown;
    worker.on('message', (message: FromWorker) => this.#onMessage(slot, worker, message));
    worker.on('error', (error) => {
      cause = error;
    });
    worker.on('exit', () => this.#onExit(slot, worker, cause));
    return worker;
  }

  #onMessage(slot: Slot, worker: Worker, message: FromWorker): void {
    // The last word of a thread that was already replaced is about a job that was given up.
    if (slot.worker !== worker) return;
    const task = slot.task;
    slot.task = null;
    this.#crashes = 0;
    // An idle thread does not keep the process alive.
    worker.unref();
    if (message.kind === 'done') task?.resolve(message.result);
    if (message.kind === 'failed') task?.reject(errorOf(message));
    if (this.#closing === null) this.#dispatch();
  }

  #onExit(slot: Slot, worker: Worker, cause: unknown): void {
    if (slot.worker !== worker) return;
    const task = slot.task;
    slot.worker = null;
    slot.task = null;
    if (this.#closing !== null) {
      task?.reject(closed());
      return;
    }
    this.#crashes++;
    task?.reject(
      new ComputeError(
        'WORKER_CRASHED',
        'The compute thread died during a projection. Try again: the next job gets a fresh thread.',
        { crashes: this.#crashes },
        { cause },
      ),
    );
    if (this.#crashes >= CRASHES_MAX) {
      for (const waiting of this.#waiting.splice(0)) waiting.reject(gaveUp());
      return;
    }
    this.#dispatch();
  }

  /** Takes the thread away from a cancelled job that it did not leave; the next job gets a fresh one. */
  #replaceStuck(task: Task): void {
    const slot = this.#slots.find((candidate) => candidate.task === task);
    // A job that is not interruptible now ends with its slice: it looks at the cancellation before any long work.
    if (slot === undefined || this.#closing !== null || !isInterruptible(task)) return;
    const stuck = slot.worker;
    slot.worker = null;
    slot.task = null;
    void stuck?.terminate();
    this.#dispatch();
  }

  async #shutDown(): Promise<void> {
    for (const task of this.#waiting.splice(0)) task.reject(closed());
    await Promise.all(
      this.#slots.map(async (slot) => {
        const { worker, task } = slot;
        if (worker === null) return;
        if (task !== null) {
          Atomics.store(task.control, CONTROL.cancelled, 1);
          task.reject(closed());
        }
        const left = new Promise<void>((resolve) => worker.once('exit', () => resolve()));
        worker.ref();
        worker.postMessage({ kind: 'close' } satisfies ToWorker);
        const timer = setTimeout(() => {
          if (task !== null && isInterruptible(task)) void worker.terminate();
        }, this.#stopGraceMs);
        await left;
        clearTimeout(timer);
      }),
    );
    open.delete(this);
    if (open.size === 0) process.off('exit', settleThreads);
  }
}

/** Whether the job's thread runs plain JavaScript; once cancelled, it does not enter onnxruntime from there. */
function isInterruptible(task: Task): boolean {
  return Atomics.load(task.control, CONTROL.interruptible) !== 0;
}

function closed(): ComputeError {
  return new ComputeError('ENGINE_CLOSED', 'The matrix engine was closed. Open a new one to go on.');
}

function gaveUp(): ComputeError {
  return new ComputeError(
    'ENGINE_FAILED',
    `Compute threads died ${CRASHES_MAX} times in a row. Look at the first failure, free memory or use fewer workers, ` +
      'and open a new engine.',
    { crashes: CRASHES_MAX },
  );
}
