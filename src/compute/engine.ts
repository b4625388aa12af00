/** What every backend for matrix work offers. */
import { availableParallelism } from 'node:os';
import type { OpcmRule } from '../merge/opcm.ts';
import type { RunOptions } from '../run-options.ts';
import { createCpuEngine } from './cpu-engine.ts';
import { describeEigensolver, type EigensolverName, type EigensolverStatus } from './eigen/index.ts';
import { ComputeError } from './errors.ts';
import type { Phase } from './meter.ts';

export const DEVICES = ['auto', 'cpu', 'webgpu', 'cuda', 'coreml', 'dml'] as const;
export type Device = (typeof DEVICES)[number];

/** One fold of an update into the sum of one linear tensor (docs/algorithms.md, C.2 and C.5.2). */
export interface ProjectionJob {
  /** rows x columns, row-major: the sum S before the step. Transferred: detached once the job is handed over. */
  readonly sum: Float32Array<ArrayBuffer>;
  /** rows x columns, row-major: the update's task vector T. Transferred as `sum` is; it may not share its buffer. */
  readonly update: Float32Array<ArrayBuffer>;
  readonly rows: number;
  readonly columns: number;
  readonly rule: OpcmRule;
  /** Takes this split rank instead of the one that the spectrum gives; it must be that one's neighbour. */
  readonly splitRank?: number;
}

export interface ProjectionResult {
  /** The new sum S + P_S(T), rounded once to float32, in the buffer that came as `sum`. */
  readonly sum: Float32Array<ArrayBuffer>;
  /** The buffer that came as `update`, for reuse; its content is unspecified. */
  readonly update: Float32Array<ArrayBuffer>;
  /** float64, of the new sum as rounded; flat order by blocks (`sumSquares`). */
  readonly sumSquares: number;
  /** Sums of squares of S and T as given, and of the projected update C. */
  readonly squares: { readonly sum: number; readonly update: number; readonly projected: number };
  /** <S, C> as measured; 0 up to rounding for a matrix of full numerical rank. */
  readonly innerProduct: number;
  readonly splitRank: number;
  /** See `Spectrum`. */
  readonly splitNeighbour: number | null;
  /** The numerical rank of S. */
  readonly rank: number;
  readonly nuclearNorm: number;
  readonly sigmaMax: number;
  /** Where the time went. */
  readonly phases: readonly Phase[];
}

/**
 * A backend for matrix work. Only the large products run on its device: the Gram matrix S S^T, the eigenproblem, the
 * split rank and the numerical rank are float64 on the CPU on every backend, because one rank off moves a merged
 * tensor by several per cent.
 *
 * Nothing runs in the caller's thread. On one machine the result's bytes do not depend on the number of workers.
 */
export interface MatrixEngine {
  readonly device: Exclude<Device, 'auto'>;
  /** For people: what runs where, and how it was chosen. */
  readonly description: string;
  /** Jobs that make progress at the same time; more are queued. */
  readonly workers: number;
  /** What solves the eigenproblems. */
  readonly eigensolver: EigensolverStatus;
  /**
   * @throws ComputeError `BAD_JOB`, `NON_FINITE`, `INVARIANT_BROKEN`, `WORKER_CRASHED`, `ENGINE_FAILED`,
   *   `ENGINE_CLOSED`, `RUNTIME_FAILED`; the signal's reason when aborted (at once; the thread itself stops at its next
   *   slice). After any of these the job's buffers are lost.
   */
  project(job: ProjectionJob, options?: RunOptions): Promise<ProjectionResult>;
  /** Stops the threads; jobs still under way fail with `ENGINE_CLOSED`. Safe to call twice. */
  close(): Promise<void>;
}

export interface EngineOptions {
  readonly device?: Device;
  /** Jobs at a time; each holds one matrix with its working copies in memory. Default: the machine's cores, at most 8. */
  readonly workers?: number;
  /** Default: `auto`. */
  readonly eigensolver?: 'auto' | EigensolverName;
}

/** Each worker holds a matrix and its float64 copies: memory, not speed, says not to take every core of a large machine. */
export const DEFAULT_WORKERS_MAX = 8;
/** Threads that one engine may be asked for. */
export const WORKERS_MAX = 256;

/**
 * Opens a backend. `auto` takes the best one that this version has and says so in `description`: the CPU.
 *
 * @throws ComputeError `DEVICE_UNAVAILABLE` for any other device, `EIGENSOLVER_UNAVAILABLE`, `BAD_JOB` for an unusable
 *   number of workers
 */
export async function createEngine(options: EngineOptions = {}): Promise<MatrixEngine> {
  const device = options.device ?? 'auto';
  const workers = options.workers ?? Math.min(availableParallelism(), DEFAULT_WORKERS_MAX);
  if (!Number.isInteger(workers) || workers < 1 || workers > WORKERS_MAX) {
    throw new ComputeError('BAD_JOB', `The number of workers must be a whole number from 1 to ${WORKERS_MAX}.`, {
      workers,
    });
  }
  const eigensolver = describeEigensolver(options.eigensolver);
  if (device === 'cpu') return createCpuEngine({ workers, eigensolver, chosen: 'as asked' });
  if (device === 'auto')
    return createCpuEngine({ workers, eigensolver, chosen: 'by auto: this version ships the cpu backend only' });
  throw new ComputeError(
    'DEVICE_UNAVAILABLE',
    DEVICES.includes(device)
      ? `The device '${device}' is not available: this version ships the cpu backend only. Use 'cpu' or 'auto'.`
      : `There is no device '${device}'. Known are: ${DEVICES.join(', ')}.`,
    { device, available: ['cpu'] },
  );
}
