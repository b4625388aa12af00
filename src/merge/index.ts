/**
 * Merging: OPCM as a fold over updates with constant-size state, and offline merges from a configuration.
 *
 * - `opcm.ts`: the rule on eigenvalues; `fold.ts`, `fold-tensor.ts`, `buffers.ts`, `check.ts`: one step of the fold
 * - `state.ts`: the state on disk; `task-vector.ts`: what a fold reads; `linear.ts`: which tensors are linear
 * - `export.ts`, `merged.ts`: the merged checkpoint; `verify.ts`, `verify-tensor.ts`: checks one against its recipe
 * - `config.ts`, `run.ts`, `source.ts`, `engine-options.ts`, `asked-device.ts`: merges of files; `registry.ts`, `method.ts`, `opcm-method.ts`, `average.ts`:
 *   the methods
 */
export { checkAskedDevice } from './asked-device.ts';
export {
  CONFIG_BYTES_MAX,
  CONFIG_DTYPES,
  CONFIG_MODELS_MAX,
  type MergeConfig,
  parseMergeConfig,
  readMergeConfig,
} from './config.ts';
export type { MergeEngineOptions } from './engine-options.ts';
export { MergeError, type MergeErrorCode } from './errors.ts';
export { type ExportInput, type ExportReport, exportMerged, writeMerged } from './export.ts';
export { type FoldInput, type FoldSummary, foldStep } from './fold.ts';
export type { FoldedTensor } from './fold-tensor.ts';
export { defaultLinear, EMBEDDING_NAME_PARTS, isLinearByDefault } from './linear.ts';
export type { MergedDeltas } from './merged.ts';
export type { MergeMethod, MergeOutcome, MergeTask } from './method.ts';
export { OPCM_VARIANTS, type OpcmRule, type OpcmVariant, type Spectrum, spectrumOf } from './opcm.ts';
export { withPayloadUpdate } from './payload-update.ts';
export { MERGE_METHODS } from './registry.ts';
export { foldTensors, type MergeReport, type RunMergeComponents, type RunMergeOptions, runMerge } from './run.ts';
export { openTaskVector, type TaskVectorSource } from './source.ts';
export {
  type MergeState,
  openState,
  STATE_FILE,
  STATE_JSON_MAX,
  STATE_VERSION,
  type StateHeader,
  type StateTensor,
  SUM_FILE,
} from './state.ts';
export type { FoldTensor, TaskVector } from './task-vector.ts';
export { type TensorFault, type TensorVerdict, type VerifyInput, type VerifyReport, verifyMerged } from './verify.ts';
export {
  ENTRY_DEVIATIONS,
  LAMBDA_TOLERANCE,
  type LambdaEstimate,
  RELATIVE_TOLERANCE,
  type TensorComparison,
} from './verify-tensor.ts';
