import { KinmergeError } from '../errors.ts';

/** What can be wrong with an input of the encoder. */
export type EncodeErrorCode =
  /** The tensor table itself is malformed (order, sizes, limits). */
  | 'BAD_TABLE'
  /** Density, scale factor or mode outside their range. */
  | 'BAD_PARAMETER'
  /** Base, fine-tune and table do not have the same float tensors; `fields` lists every difference. */
  | 'TENSOR_MISMATCH'
  /** A task vector has a NaN or an infinity; `fields.tensor` names where. */
  | 'NOT_FINITE'
  /** The scale does not fit a float32. */
  | 'SCALE_OVERFLOW'
  /** A ternary tensor given to the encoder contradicts itself or the table. */
  | 'BAD_TENSOR';

/** What can be wrong with payload bytes. Each is a function of the bytes and the table alone. */
export const PAYLOAD_ERROR_CODES = [
  /** The bytes end inside a header or a section. */
  'TRUNCATED',
  /** Not a payload: the first four bytes differ. */
  'BAD_MAGIC',
  /** A version that this decoder does not know. */
  'UNSUPPORTED_VERSION',
  /** Reserved flag bits are set, or a flag contradicts the content. */
  'BAD_FLAGS',
  /** More sections than the table has tensors. */
  'BAD_TENSOR_COUNT',
  /** A varint is not minimal or exceeds 2^53 - 1. */
  'BAD_VARINT',
  /** A tensor index is outside the table. */
  'INDEX_RANGE',
  /** Tensor indices do not ascend. */
  'INDEX_ORDER',
  /** The non-zero count is 0, above the tensor's elements, impossible in the section's length, or not the code's. */
  'BAD_COUNT',
  /** A coding other than 0, 1 and 2, or other than 0 and 1 for a factor. */
  'UNSUPPORTED_CODING',
  /** The Golomb parameter is outside 1..elements. */
  'BAD_GOLOMB_PARAMETER',
  /** The row width or the priors of coding 1 are out of bounds. */
  'BAD_MODEL',
  /** The rows or the rank of coding 2 are out of bounds. */
  'BAD_FACTORS',
  /** A scale is not a positive normal float32, or has more bits than the rank of coding 2 leaves it. */
  'BAD_SCALE',
  /** A section's length is impossible for its count, or differs from what its code takes. */
  'BAD_SECTION_LENGTH',
  /** A position at or past the tensor's end, a unary run past it included. */
  'POSITION_RANGE',
  /** Padding bits after the last entry are not zero. */
  'BAD_PADDING',
  /** A code of coding 1 does not begin with a state of the coder, or does not end in the one that it must. */
  'BAD_CODER_STATE',
  /** Bytes follow the last section. */
  'TRAILING_BYTES',
] as const;
export type PayloadErrorCode = (typeof PAYLOAD_ERROR_CODES)[number];

/** The source of a payload failed, which says nothing about the payload. */
export type ReadErrorCode =
  /** A file could not be opened or read, or became shorter while it was open. */
  'READ_FAILED';

/** What can be wrong with an offline container around a payload. */
export type ContainerErrorCode =
  /** Not a container: the first four bytes differ. */
  | 'BAD_CONTAINER_MAGIC'
  /** A container version that this decoder does not know. */
  | 'UNSUPPORTED_CONTAINER_VERSION'
  /** The container's header is too long, not canonical dag-cbor, or not of the documented form. */
  | 'BAD_CONTAINER_HEADER';

/** The machine could not do it, which says nothing about the payload or the input. */
export type ResourceErrorCode =
  /** The memory that a tensor needs is not to be had. */
  'OUT_OF_MEMORY';

export type CodecErrorCode =
  | EncodeErrorCode
  | PayloadErrorCode
  | ReadErrorCode
  | ContainerErrorCode
  | ResourceErrorCode;

/** Thrown by everything in this folder, beside the errors of checkpoints and file systems that it calls. */
export class CodecError extends KinmergeError<CodecErrorCode> {}

const PAYLOAD_CODES: ReadonlySet<string> = new Set(PAYLOAD_ERROR_CODES);

/**
 * True for a verdict on the payload itself: every machine with the same bytes and table reaches it, with the same code
 * and message. False for everything else, such as a failing disk or an aborted run.
 */
export function isPayloadFault(error: unknown): error is CodecError {
  return error instanceof CodecError && PAYLOAD_CODES.has(error.code);
}
