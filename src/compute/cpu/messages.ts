/** What the CPU engine and its worker threads say to each other. */
import type { ProjectionJob, ProjectionResult } from '../engine.ts';
import type { Failure } from '../failures.ts';
import type { PreparedJob } from '../projection/projection.ts';

/** Entries of a job's shared `control` array. */
export const CONTROL = {
  /** Not 0: the caller gave the job up. */
  cancelled: 0,
  /** Not 0: the thread runs plain JavaScript, or has left the job, and may be terminated. */
  interruptible: 1,
  entries: 2,
} as const;

/** What a thread does with a job: all of it, or all but the large products. */
export interface WorkerTasks {
  readonly project: ProjectionResult;
  readonly prepare: ProjectionResult | PreparedJob;
}

export type ToWorker =
  | { readonly kind: keyof WorkerTasks; readonly job: ProjectionJob; readonly control: Int32Array<SharedArrayBuffer> }
  | { readonly kind: 'close' };

export type FromWorker =
  | { readonly kind: 'done'; readonly result: WorkerTasks[keyof WorkerTasks] }
  | { readonly kind: 'cancelled' }
  | ({ readonly kind: 'failed' } & Failure);
