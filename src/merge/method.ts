/** What every merge method offers to an offline merge. */
import type * as z from 'zod';
import type { MatrixEngine, Phase } from '../compute/index.ts';
import type { RunOptions } from '../run-options.ts';
import type { Checkpoint, FloatDtype } from '../tensors/index.ts';
import type { TaskVectorSource } from './source.ts';
import type { FoldTensor } from './task-vector.ts';

/** One merge to be done: everything is opened, and names and shapes are checked. */
export interface MergeTask {
  readonly base: Checkpoint;
  /** The base's float tensors in code-point order of their names. */
  readonly tensors: readonly FoldTensor[];
  /** In the order of the configuration. */
  readonly sources: readonly TaskVectorSource[];
  readonly out: string;
  readonly overwrite: boolean;
  readonly dtype: FloatDtype;
  readonly metadata: Readonly<Record<string, string>>;
  /** An existing directory for intermediate state, beside `out`. */
  readonly workDirectory: string;
  /** Bytes for the matrices in work; see `foldStep`. */
  readonly memory?: number;
  /** The matrix engine; started when first asked for. */
  engine(): Promise<MatrixEngine>;
  /** To be called with a step's phases. @throws ComputeError `WRONG_DEVICE` (`checkAskedDevice`) */
  checkPhases(phases: readonly Phase[]): void;
}

export interface MergeOutcome {
  /** Divisor of the accumulated sum; null for methods without one. */
  readonly lambda: number | null;
  /** Norm of each model's task vector; null for methods that do not take it. */
  readonly norms: readonly number[] | null;
  /** Where the time of the matrix work went, over all steps; empty for methods without any. */
  readonly phases: readonly Phase[];
  readonly tensors: number;
  readonly bytes: number;
}

/** A method that wrote down its parameters' schema: `parameters` of the configuration, and those of each model. */
export interface MergeMethod<Parameters extends z.ZodType = z.ZodType, ModelParameters extends z.ZodType = z.ZodType> {
  readonly name: string;
  readonly parameters: Parameters;
  readonly modelParameters: ModelParameters;
  /** Writes the merged checkpoint directory, or leaves nothing. */
  merge(
    task: MergeTask,
    parameters: z.output<Parameters>,
    modelParameters: readonly z.output<ModelParameters>[],
    options: RunOptions,
  ): Promise<MergeOutcome>;
}
