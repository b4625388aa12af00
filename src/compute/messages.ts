/** What the CPU engine and its worker threads say to each other. */
import type { ProjectionJob, ProjectionResult } from './engine.ts';

export type ToWorker =
  | { readonly kind: 'project'; readonly job: ProjectionJob; readonly cancelled: Int32Array<SharedArrayBuffer> }
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
