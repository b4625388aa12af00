/** What every backend for matrix work offers. */
import { availableParallelism } from 'node:os';
import type { OpcmRule } from '../merge/opcm.ts';
import type { RunOptions } from '../run-options.ts';
import { createCpuEngine } from './cpu/cpu-engine.ts';
import { describeEigensolver, type EigensolverName, type EigensolverStatus } from './eigen/index.ts';
import { ComputeError } from './errors.ts';
import type { Phase } from './meter.ts';
import { DeviceProcess } from './provider/device-process.ts';
import { chooseDevice, requireDevice } from './provider/probe.ts';
import { ProviderEngine } from './provider/provider-engine.ts';
import type { Provider } from './provider/provider-sessions.ts';

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
 * tensor by several per cent. So are the right singular vectors that `ref` needs on a device of float32 products.
 *
 * Nothing runs in the caller's thread. On one machine the result's bytes do not depend on the number of workers.
 */
export interface MatrixEngine {
  /** Changes to `cpu` when another device failed and was given up. */
  readonly device: Exclude<Device, 'auto'>;
  /** For people: what runs where, and how it was chosen. Changes with the device. */
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

export interface EngineComponents {
  /** Told, in words for people, when a device failed and what is done about it. */
  readonly onNotice?: ((notice: string) => void) | undefined;
}

/** Each worker holds a matrix and its float64 copies: memory, not speed, says not to take every core of a large machine. */
export const DEFAULT_WORKERS_MAX = 8;
/** Threads that one engine may be asked for. */
export const WORKERS_MAX = 256;

/**
 * Opens a backend. `auto` takes the first device that multiplies clearly faster than the CPU, and says in `description`
 * which and why. A device is tried first, which takes a few tenths of a second, once for the process.
 *
 * @throws ComputeError `DEVICE_UNAVAILABLE` for a device that does not work here or has no such name,
 *   `EIGENSOLVER_UNAVAILABLE`, `BAD_JOB` for an unusable number of workers
 */
export async function createEngine(
  options: EngineOptions = {},
  { onNotice }: EngineComponents = {},
): Promise<MatrixEngine> {
  const device = options.device ?? 'auto';
  const workers = options.workers ?? Math.min(availableParallelism(), DEFAULT_WORKERS_MAX);
  if (!Number.isInteger(workers) || workers < 1 || workers > WORKERS_MAX) {
    throw new ComputeError('BAD_JOB', `The number of workers must be a whole number from 1 to ${WORKERS_MAX}.`, {
      workers,
    });
  }
  const eigensolver = describeEigensolver(options.eigensolver);
  if (!DEVICES.includes(device)) {
    const message = `There is no device '${device}'. Known are: ${DEVICES.join(', ')}.`;
    throw new ComputeError('DEVICE_UNAVAILABLE', message, { device });
  }
  const { provider, chosen } = await choose(device, workers);
  if (provider === null) return createCpuEngine({ workers, eigensolver, chosen });
  const cpu = createCpuEngine({ workers, eigensolver, chosen: 'beside another device' });
  return new ProviderEngine({ provider, chosen }, { cpu, process: new DeviceProcess({ provider }), onNotice });
}

/** @returns null for the CPU; and how it was chosen */
async function choose(device: Device, workers: number): Promise<{ provider: Provider | null; chosen: string }> {
  if (device === 'auto') {
    const { provider, why } = await chooseDevice(Math.min(workers, availableParallelism()));
    return { provider, chosen: `by auto: ${why}` };
  }
  if (device === 'cpu') return { provider: null, chosen: 'as asked' };
  await requireDevice(device);
  return { provider: device, chosen: 'as asked' };
}
