/** What the CPU engine and its worker threads say to each other. */
import type { ProjectionJob, ProjectionResult } from './engine.ts';

/** Entries of a job's shared `control` array. */
export const CONTROL = {
  /** Not 0: the caller gave the job up. */
  cancelled: 0,
  /** Not 0: the thread runs plain JavaScript, or has left the job, and may be terminated. */
  interruptible: 1,
  entries: 2,
} as const;

export type ToWorker =
  | { readonly kind: 'project'; readonly job: ProjectionJob; readonly control: Int32Array<SharedArrayBuffer> }
  | { readonly kind: 'close' };

export type FromWorker =
  | { readonly kind: 'done'; readonly result: ProjectionResult }
  | { readonly kind: 'cancelled' }
  | {
      readonly kind: 'failed';
      /** A ComputeErrorCode, or empty for an error that is not ours. */
      readonly code: string;
      readonly message: string;
      readonly fields: Readonly<Record<string, unknown>>;
    };
