import { KinmergeError } from '../errors.ts';

/** What can be wrong with the bytes of one safetensors file, or with a plan to write one. */
export type SafetensorsErrorCode =
  /** Fewer than the 8 bytes of the length field. */
  | 'FILE_TOO_SMALL'
  /** Another kind of file (`fields.kind`): a pickle, a zip, GGUF, a web page, a Git LFS pointer, ... */
  | 'NOT_SAFETENSORS'
  /** The length field says 0. */
  | 'HEADER_EMPTY'
  /** The length field says more than MAX_HEADER_BYTES, or a header to write would be larger. */
  | 'HEADER_TOO_LARGE'
  /** The file ends inside the header. */
  | 'HEADER_TRUNCATED'
  /** The header starts with a byte order mark. */
  | 'HEADER_BOM'
  /** The header is not UTF-8. */
  | 'HEADER_NOT_UTF8'
  /** The header is not JSON: syntax, or something after the object. */
  | 'HEADER_NOT_JSON'
  /** The header is JSON, but not an object. */
  | 'HEADER_NOT_OBJECT'
  /** JSON nested deeper than MAX_JSON_DEPTH. */
  | 'HEADER_TOO_DEEP'
  /** A string with half of a surrogate pair. */
  | 'LONE_SURROGATE'
  /** `__metadata__` is neither null nor an object of strings, or has more than MAX_METADATA_KEYS keys. */
  | 'METADATA_INVALID'
  /** `__metadata__` occurs twice. */
  | 'DUPLICATE_METADATA'
  /** A key occurs twice in `__metadata__`. */
  | 'DUPLICATE_METADATA_KEY'
  /** A tensor name occurs twice. */
  | 'DUPLICATE_TENSOR'
  /** A tensor's description is not an object. */
  | 'TENSOR_NOT_OBJECT'
  /** A field occurs twice in one tensor's description. */
  | 'DUPLICATE_FIELD'
  /** A tensor's description lacks dtype, shape or data_offsets. */
  | 'MISSING_FIELD'
  /** A tensor's description has a field that the format does not know; more than MAX_UNKNOWN_FIELDS of them where they are passed over. */
  | 'UNKNOWN_FIELD'
  /** A field has the wrong type: a string where a list belongs, ... */
  | 'FIELD_TYPE'
  /** A dimension or offset is not a plain non-negative integer: -1, 2.0, 1e0, "2". */
  | 'NUMBER_FORM'
  /** A dimension or offset above 2^53 - 1. */
  | 'NUMBER_TOO_LARGE'
  /** A dtype that the format does not have. */
  | 'UNKNOWN_DTYPE'
  /** A dtype of the format that kinmerge does not read (below one byte, complex, rare F8 forms). */
  | 'UNSUPPORTED_DTYPE'
  /** data_offsets without exactly two numbers. */
  | 'OFFSET_COUNT'
  /** A tensor ends before it begins. */
  | 'OFFSET_REVERSED'
  /** Bytes that belong to no tensor. */
  | 'OFFSET_HOLE'
  /** Bytes that belong to two tensors. */
  | 'OFFSET_OVERLAP'
  /** shape times dtype differs from the length of the range. */
  | 'SIZE_MISMATCH'
  /** shape times dtype is above 2^53 - 1. */
  | 'SIZE_OVERFLOW'
  /** The file ends before the last tensor does. */
  | 'FILE_TRUNCATED'
  /** Bytes after the last tensor. */
  | 'TRAILING_BYTES'
  /** A tensor name above MAX_NAME_BYTES. */
  | 'NAME_TOO_LONG'
  /** More dimensions than MAX_RANK. */
  | 'TOO_MANY_DIMENSIONS'
  /** More tensors than MAX_TENSORS. */
  | 'TOO_MANY_TENSORS'
  /** A name that cannot be written: `__metadata__`, or half of a surrogate pair. */
  | 'INVALID_NAME';

/** A safetensors file that is not well-formed; `fields.source` is its path. */
export class SafetensorsError extends KinmergeError<SafetensorsErrorCode> {}

/** What can go wrong with a checkpoint as a whole: paths, layout, reading and writing. */
export type CheckpointErrorCode =
  /** Nothing at that path. */
  | 'NOT_FOUND'
  /** Neither a regular file nor a directory. */
  | 'NOT_A_FILE'
  /** The operating system refused or failed an access (`fields.errno`). */
  | 'IO_FAILED'
  /** The disk is full. */
  | 'DISK_FULL'
  /** A directory without any weights that can be read. */
  | 'NO_WEIGHTS'
  /** A directory with PyTorch pickle weights only. */
  | 'PYTORCH_WEIGHTS'
  /** A directory with a LoRA adapter only. */
  | 'ADAPTER_ONLY'
  /** A directory with shards but without their index. */
  | 'INDEX_MISSING'
  /** Both model.safetensors and an index. */
  | 'AMBIGUOUS_WEIGHTS'
  /** The shard index is not what it should be (`fields.reason`). */
  | 'INDEX_INVALID'
  /** The shard index is above MAX_INDEX_BYTES. */
  | 'INDEX_TOO_LARGE'
  /** The index names more than MAX_SHARDS files. */
  | 'TOO_MANY_SHARDS'
  /** The index names a file that is not a plain name in the same directory. */
  | 'UNSAFE_SHARD_NAME'
  /** The index names a file that is not there. */
  | 'SHARD_MISSING'
  /** The index places a tensor in a shard that does not have it. */
  | 'INDEX_EXTRA_TENSOR'
  /** A shard has a tensor that the index does not place there. */
  | 'UNINDEXED_TENSOR'
  /** No tensor of that name in the checkpoint or in the plan. */
  | 'UNKNOWN_TENSOR'
  /** Values were asked of a tensor that does not hold floating point numbers. */
  | 'NOT_FLOAT'
  /** A NaN or an infinity (`fields.tensor`, `fields.index`). */
  | 'NOT_FINITE'
  /** A tensor above MAX_TENSOR_BYTES, or above the memory that is left, was to be read whole. */
  | 'TENSOR_TOO_LARGE'
  /** The file became shorter after it was opened. */
  | 'FILE_CHANGED'
  /** Used after close, commit or abort. */
  | 'CLOSED'
  /** The bytes given for a tensor are more or fewer than its shape and dtype say. */
  | 'WRONG_LENGTH'
  /** A tensor was given twice. */
  | 'ALREADY_WRITTEN'
  /** Commit before every tensor was given. */
  | 'TENSOR_MISSING'
  /** The target directory exists and is not empty. */
  | 'TARGET_EXISTS'
  /** The target to overwrite is not a checkpoint directory. */
  | 'TARGET_NOT_CHECKPOINT'
  /** The directory that should hold the target is not there. */
  | 'PARENT_MISSING'
  /** A side file whose name is not plain or is taken. */
  | 'INVALID_FILE_NAME'
  /** A side file above MAX_SIDE_FILE_BYTES, or more than MAX_SIDE_FILES of them. */
  | 'SIDE_FILE_LIMIT'
  /** Begins with `hf:` and is no name of a repository with or without a revision. */
  | 'HUB_NAME_INVALID'
  /** The repository is not in the local Hugging Face cache. */
  | 'HUB_NOT_CACHED'
  /** The repository is in the cache without that revision (`fields.revisions` are there). */
  | 'HUB_REVISION_NOT_CACHED'
  /** A file in the cache's `refs/` that does not hold a commit. */
  | 'HUB_REF_DAMAGED'
  /** A snapshot in the cache lacks files: a download was cut off, or blobs were removed. */
  | 'HUB_SNAPSHOT_INCOMPLETE'
  /** A weight file of a snapshot that links to something outside its repository's cache. */
  | 'HUB_LINK_OUTSIDE';

/** A checkpoint that cannot be opened, read or written. */
export class CheckpointError extends KinmergeError<CheckpointErrorCode> {}

/** A name from a file as it may be shown: quoted, cut, and without control or direction characters. */
export function quote(text: string): string {
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  const safe = shown
    .toWellFormed()
    .replace(/["\\]|[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}]/gu, (c) =>
      c === '"' || c === '\\' ? `\\${c}` : `\\u{${c.codePointAt(0)!.toString(16)}}`,
    );
  return `"${safe}"`;
}

/** Turns a failure of the operating system into a coded error; ours and an abort pass unchanged. */
export function asCheckpointError(error: unknown, path: string): unknown {
  const errno = (error as NodeJS.ErrnoException | null)?.code;
  if (error instanceof KinmergeError || !(error instanceof Error) || typeof errno !== 'string') return error;
  if ((error as NodeJS.ErrnoException).syscall === undefined) return error;
  const fields = { path, errno };
  switch (errno) {
    case 'ENOENT':
    case 'ENOTDIR':
      return new CheckpointError('NOT_FOUND', `${path}: nothing there. Check the path.`, fields, { cause: error });
    case 'ENOSPC':
    case 'EDQUOT':
      return new CheckpointError('DISK_FULL', `${path}: the disk is full. Free some space and repeat.`, fields, {
        cause: error,
      });
    case 'EACCES':
    case 'EPERM':
      return new CheckpointError('IO_FAILED', `${path}: access denied. Check its permissions.`, fields, {
        cause: error,
      });
    default:
      return new CheckpointError('IO_FAILED', `${path}: ${error.message}`, fields, { cause: error });
  }
}
