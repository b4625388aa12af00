/** The backends other than the CPU: products in a process of their own, the rest in the CPU backend's threads. */
import type { RunOptions } from '../../run-options.ts';
import { type CpuMatrixEngine, CRASHES_MAX } from '../cpu/cpu-engine.ts';
import type { EngineComponents, MatrixEngine, ProjectionJob, ProjectionResult } from '../engine.ts';
import { ComputeError } from '../errors.ts';
import type { PreparedJob } from '../projection/projection.ts';
import type { DeviceProcess } from './device-process.ts';
import { productsParcel, productsResult } from './products-parcel.ts';
import type { Provider } from './provider-sessions.ts';

export interface ProviderEngineOptions {
  readonly provider: Provider;
  /** How the backend was chosen, for the description. */
  readonly chosen: string;
}

export interface ProviderEngineComponents extends EngineComponents {
  readonly cpu: CpuMatrixEngine;
  readonly process: DeviceProcess;
}

/** Providers that were run on a device of their kind; the others follow onnxruntime's documentation. */
const TESTED: ReadonlySet<Provider> = new Set<Provider>(['webgpu']);

/**
 * A matrix whose products failed is done again in a fresh process. When CRASHES_MAX processes failed in a row, without
 * a matrix finished between, the engine goes on as the CPU's, and `device` and `description` say so.
 */
export class ProviderEngine implements MatrixEngine {
  readonly workers: number;
  readonly eigensolver: MatrixEngine['eigensolver'];
  readonly #options: ProviderEngineOptions;
  readonly #cpu: CpuMatrixEngine;
  readonly #process: DeviceProcess;
  readonly #onNotice: EngineComponents['onNotice'];
  #failures = 0;
  /** What the device was given up for; null while it is used. */
  #givenUp: string | null = null;
  #closing: Promise<void> | null = null;

  constructor(options: ProviderEngineOptions, { cpu, process, onNotice }: ProviderEngineComponents) {
    this.workers = cpu.workers;
    this.eigensolver = cpu.eigensolver;
    this.#options = options;
    this.#cpu = cpu;
    this.#process = process;
    this.#onNotice = onNotice;
  }

  get device(): MatrixEngine['device'] {
    return this.#givenUp === null ? this.#options.provider : 'cpu';
  }

  get description(): string {
    const { provider, chosen } = this.#options;
    if (this.#givenUp !== null) return `${this.#cpu.description}, instead of ${provider}: ${this.#givenUp}`;
    const tested = TESTED.has(provider) ? '' : ', untested';
    return `${provider}: onnxruntime in a process of its own, float32 products (${chosen}${tested})`;
  }

  async project(job: ProjectionJob, options: RunOptions = {}): Promise<ProjectionResult> {
    if (this.#givenUp !== null) return this.#cpu.project(job, options);
    const prepared = await this.#cpu.prepare(job, options);
    if (!('decomposition' in prepared)) return prepared;
    const result = await this.#onDevice(job, prepared, options);
    const { sum, update } = prepared;
    return result ?? this.#cpu.project({ ...job, sum, update }, options);
  }

  close(): Promise<void> {
    this.#closing ??= Promise.all([this.#process.close(), this.#cpu.close()]).then(() => undefined);
    return this.#closing;
  }

  /** Null when the device was given up. */
  async #onDevice(job: ProjectionJob, prepared: PreparedJob, options: RunOptions): Promise<ProjectionResult | null> {
    const parcel = productsParcel(job, prepared);
    while (this.#givenUp === null) {
      try {
        const answer = await this.#process.call('products', parcel, options);
        this.#failures = 0;
        return productsResult(prepared, answer);
      } catch (error) {
        if (this.#closing !== null) throw error;
        // The calls that waited when the device was given up end with its process.
        if (this.#givenUp === null && !this.#noteFailure(error)) throw error;
      }
    }
    return null;
  }

  /** Whether the error is the device's failure, and not the job's. */
  #noteFailure(error: unknown): boolean {
    if (!(error instanceof ComputeError)) return false;
    const { code, message, fields } = error;
    if (code !== 'WORKER_CRASHED' && code !== 'RUNTIME_FAILED') return false;
    const { provider } = this.#options;
    const how = code === 'WORKER_CRASHED' ? `${message} (${fields.signal ?? `exit code ${fields.code}`})` : message;
    this.#failures++;
    if (this.#failures < CRASHES_MAX) {
      this.#onNotice?.(`${how} It was started again, and the matrix is done anew.`);
      // What is left after an error of the device (its memory was full, say) is not to be trusted.
      if (code === 'RUNTIME_FAILED') this.#process.discard();
      return true;
    }
    this.#givenUp = `it failed ${CRASHES_MAX} times in a row`;
    this.#onNotice?.(
      `${how} The ${provider} device failed ${CRASHES_MAX} times in a row: the work goes on with the cpu.`,
    );
    void this.#process.close();
    return true;
  }
}
