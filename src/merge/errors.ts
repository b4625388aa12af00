import { KinmergeError } from '../errors.ts';

/**
 * Why a merge could not be done.
 *
 * - `BAD_INPUT`: the tensors, the rule or another argument do not make sense.
 * - `TARGET_EXISTS`: the directory to be written is already there.
 * - `STATE_MISSING`: there is no state directory at that path.
 * - `STATE_UNREADABLE`: the operating system refused to give the state's files; nothing is said about their content.
 * - `STATE_CORRUPT`: the state's files are cut, changed or do not belong together; fold again from an earlier state.
 * - `STATE_VERSION`: the state was written in a form that this version does not know; fold again.
 * - `STATE_MISMATCH`: the state was made for other tensors or under another rule.
 * - `BASE_MISMATCH`: the base lacks a tensor of the state, or has it in another shape or not as floating point.
 * - `MODEL_MISMATCH`: a model to be merged lacks a tensor of the base, has one more, or one in another shape.
 * - `NON_FINITE`: a value to be merged, or a merged value, is NaN or infinite.
 * - `CONFIG_UNREADABLE`: the configuration cannot be read, is too large, or is not YAML.
 * - `CONFIG_INVALID`: the configuration has an unknown key, a wrong value, or lacks something.
 * - `MODEL_UNREADABLE`: a path of the configuration names nothing that can be merged.
 */
export type MergeErrorCode =
  | 'BAD_INPUT'
  | 'TARGET_EXISTS'
  | 'STATE_MISSING'
  | 'STATE_UNREADABLE'
  | 'STATE_CORRUPT'
  | 'STATE_VERSION'
  | 'STATE_MISMATCH'
  | 'BASE_MISMATCH'
  | 'MODEL_MISMATCH'
  | 'NON_FINITE'
  | 'CONFIG_UNREADABLE'
  | 'CONFIG_INVALID'
  | 'MODEL_UNREADABLE';

export class MergeError extends KinmergeError<MergeErrorCode> {}
