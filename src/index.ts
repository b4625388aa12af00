/**
 * kinmerge as a library: everything that works on files and bytes alone, without a network and without a daemon.
 *
 * - `tensors`: safetensors files and Hugging Face directories
 * - `choose`: density and scale of an update, by default or by evidence; `encodeFinetune` from paths to a payload
 * - `codec`: task vectors to compressed updates and back; `encode` is short for `encodeTaskVector`
 * - `kinship`: how related updates are, and which of them a community accepts
 * - `merge`: merged checkpoints, made and verified; `merge` is short for `runMerge`
 * - `compute`: the matrix work of a merge; `evaluate`: accuracy on test sets
 * - `log`: charter, record, recipe and the other documents of a community
 */

export * from './choose/index.ts';
export * from './codec/index.ts';
export { encodeTaskVector as encode } from './codec/index.ts';
export * from './compute/index.ts';
export { errorCode, KinmergeError } from './errors.ts';
export * from './evaluate/index.ts';
export * from './kinship/index.ts';
export * from './log/index.ts';
export * from './merge/index.ts';
export { runMerge as merge } from './merge/index.ts';
export type { Progress, RunOptions } from './run-options.ts';
export * from './tensors/index.ts';
// Two folders bound side files by a constant of this name; the one of checkpoints on disk is the public one.
export { MAX_SIDE_FILES } from './tensors/index.ts';
