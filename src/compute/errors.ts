import { KinmergeError } from '../errors.ts';

/**
 * Why matrix work could not be done.
 *
 * - `DEVICE_UNAVAILABLE`: the asked-for device does not work on this machine, or its name is unknown.
 * - `WRONG_DEVICE`: large products ran on another device than the one that was asked for by name.
 * - `EIGENSOLVER_UNAVAILABLE`: the asked-for eigensolver needs a LAPACK library that is not here, or has no such name.
 * - `BAD_JOB`: the job's shapes, lengths or rule do not fit together (a mistake of the caller).
 * - `NON_FINITE`: an operand or the result holds NaN or an infinity.
 * - `INVARIANT_BROKEN`: the projected update is not orthogonal to the sum it was projected against.
 * - `WORKER_CRASHED`: the thread or process that ran the job died; the next job gets a fresh one.
 * - `ENGINE_FAILED`: threads died twice in a row; the engine takes no more work.
 * - `ENGINE_CLOSED`: the engine was closed before or while the job ran.
 * - `RUNTIME_FAILED`: onnxruntime refused or failed a graph.
 */
export type ComputeErrorCode =
  | 'DEVICE_UNAVAILABLE'
  | 'WRONG_DEVICE'
  | 'EIGENSOLVER_UNAVAILABLE'
  | 'BAD_JOB'
  | 'NON_FINITE'
  | 'INVARIANT_BROKEN'
  | 'WORKER_CRASHED'
  | 'ENGINE_FAILED'
  | 'ENGINE_CLOSED'
  | 'RUNTIME_FAILED';

export class ComputeError extends KinmergeError<ComputeErrorCode> {}
