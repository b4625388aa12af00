import type { RunOptions } from '../run-options.ts';
import type { TensorInfo } from '../tensors/index.ts';

/** One labelled test set: a safetensors file. */
export interface TestSet {
  /** Name of the task; `<task>.` is the prefix of its tensors in the heads file. */
  readonly task: string;
  readonly path: string;
}

/** Named tensors to feed: an open checkpoint is one, and so is a model that exists in memory only. */
export interface WeightTensors {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** The raw little-endian bytes of a whole tensor, in memory that the caller may keep and change. */
  readRaw(name: string, options?: RunOptions): Promise<Uint8Array>;
}

/** What to evaluate on. */
export interface EvaluatorInput {
  /** Path of the ONNX graph; its weights are inputs, named as the checkpoint's tensors. */
  readonly graph: string;
  /** Tensors of single tasks, named `<task>.<graph input>`. They win over tensors of `weights`. */
  readonly heads?: WeightTensors | undefined;
  readonly tests: readonly TestSet[];
  /** Graph input, and tensor of the test sets, that holds the samples. Default `images`. */
  readonly dataInput?: string | undefined;
  /** Tensor of the test sets with one class index for each sample. Default `labels`. */
  readonly labels?: string | undefined;
  /** Graph output of shape [samples, classes]. Default `logits`. */
  readonly output?: string | undefined;
  /** Samples of one run. Default `BATCH_SAMPLES`. */
  readonly batch?: number | undefined;
}

export interface EvaluateInput extends EvaluatorInput {
  readonly weights: WeightTensors;
}

export interface TaskScore {
  /** Samples. */
  readonly n: number;
  /** Samples whose largest score is that of their label. */
  readonly correct: number;
  /** Percent. */
  readonly accuracy: number;
}

export interface Evaluation {
  /** In the order of the test sets. */
  readonly tasks: Readonly<Record<string, TaskScore>>;
  /** Unweighted mean of the tasks' accuracies, percent. */
  readonly average: number;
}

/** A graph input or output. A dimension given as text is dynamic. */
export interface GraphPort {
  readonly name: string;
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

/** What is fed to a graph input. */
export interface Feed {
  readonly type: FeedType;
  readonly dims: readonly number[];
  /** Little-endian elements; the buffer may be transferred and is not used again by the one who gave it. */
  readonly data: Float32Array | Int32Array | BigInt64Array;
}

/** Element types of graph inputs that can be fed. */
export type FeedType = 'float32' | 'int32' | 'int64';
