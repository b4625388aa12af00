/**
 * Checkpoints on disk: safetensors files and Hugging Face directories, read and written as streams.
 *
 * - `open.ts`, `checkpoint.ts`: `openCheckpoint`, and reading tensor by tensor
 * - `header.ts`, `strict-json.ts`, `sniff.ts`, `file.ts`: the strict parser of one file
 * - `shard-index.ts`, `side-files.ts`: what else a directory holds
 * - `layout.ts`, `writer.ts`, `directory-writer.ts`: deterministic, durable output
 * - `hub-name.ts`, `hub-cache.ts`: checkpoints named `hf:org/name`, found in the local Hugging Face cache
 * - `lora/`: PEFT's LoRA adapters; `differences.ts`, `tied.ts`, `same-values.ts`: what differs, and what is the same
 * - `dtype.ts`, `convert.ts`, `float8.ts`, `describe.ts`: dtypes, float32 and back, hash and norm of a tensor
 * - `errors.ts`, `limits.ts`: every error code, every bound
 */
export type { Checkpoint, ChunkOptions, TensorPlace } from './checkpoint.ts';
export { narrow, widen, widenInto } from './convert.ts';
export { describeTensor, type TensorDescription } from './describe.ts';
export {
  type CheckpointDirectoryPlan,
  type CheckpointDirectoryWriter,
  createCheckpointDirectory,
} from './directory-writer.ts';
export { compareNames, type Dtype, dtypeBytes, FLOAT_DTYPES, type FloatDtype, isDtype, isFloat } from './dtype.ts';
export {
  CheckpointError,
  type CheckpointErrorCode,
  quote,
  SafetensorsError,
  type SafetensorsErrorCode,
} from './errors.ts';
export { type ParsedHeader, type ParseOptions, parseHeader, type TensorInfo } from './header.ts';
export { hubCacheDir, locateCheckpoint, pinCheckpointPath } from './hub-cache.ts';
export { isHubName, resolveCheckpointPath } from './hub-name.ts';
export type { TensorPlan } from './layout.ts';
export * from './limits.ts';
export * from './lora/index.ts';
export { INDEX_FILE, type OpenOptions, openCheckpoint, SINGLE_FILE } from './open.ts';
export { isPlainName } from './shard-index.ts';
export type { CheckpointWarning, SideFile } from './side-files.ts';
export { type CheckpointWriter, createSafetensors } from './writer.ts';
