import { KinmergeError } from '../errors.ts';

/**
 * What can be wrong with a document of the log.
 *
 * - `TOO_LARGE`: more bytes than the document's limit; nothing was parsed
 * - `TOO_DEEP`: nested deeper than the document's limit
 * - `TOO_MANY_ITEMS`: more CBOR items than the document's limit
 * - `MALFORMED_CBOR`: not one complete CBOR item
 * - `NOT_CANONICAL`: the bytes do not re-encode to themselves
 * - `WRONG_TYPE`: a field has another type than the format says
 * - `UNKNOWN_FIELD`: a map has a key that the format does not know
 * - `MISSING_FIELD`: a map lacks a key of the format
 * - `OUT_OF_RANGE`: a number or a length outside the allowed range
 * - `BAD_TEXT`: a text with lone surrogates, control characters, a leading byte order mark, or too many bytes
 * - `BAD_NAME`: a file name that is not a plain portable base name
 * - `BAD_CID`: a content id that is not CIDv1, dag-cbor, sha2-256
 * - `NOT_SORTED`: a list that must be sorted and free of repetition is not
 * - `VERSION_UNKNOWN`: a document version that this program does not know; a newer one may
 * - `RECORD_KIND_UNKNOWN`: a record kind that this program does not know; a newer one may
 * - `CHAIN_FIELDS`: `seq` and `prev` contradict each other, or `prev` is not among the parents
 * - `BAD_SIGNATURE`: the signature is not the key owner's over these bytes
 * - `BAD_KEY`: not a usable ed25519 key
 * - `BAD_KEY_TEXT`: not the text form `z6Mk…` of an ed25519 public key
 * - `BAD_COMMUNITY_ID`: not the text form of a community id
 * - `MANIFEST_MISMATCH`: a manifest's block count does not follow from its size
 * - `CHARTER_INVALID`: a charter's fields contradict each other
 * - `ALGORITHM_UNKNOWN`: a merge method, variant or algorithm that this program does not know; a newer one may
 * - `PARENT_CYCLE`: records that name each other as parents, which hashes make impossible
 * - `AUTHOR_EQUIVOCATED`: the author signed two records with one `seq` and has no chain to continue
 */
export type LogErrorCode =
  | 'TOO_LARGE'
  | 'TOO_DEEP'
  | 'TOO_MANY_ITEMS'
  | 'MALFORMED_CBOR'
  | 'NOT_CANONICAL'
  | 'WRONG_TYPE'
  | 'UNKNOWN_FIELD'
  | 'MISSING_FIELD'
  | 'OUT_OF_RANGE'
  | 'BAD_TEXT'
  | 'BAD_NAME'
  | 'BAD_CID'
  | 'NOT_SORTED'
  | 'VERSION_UNKNOWN'
  | 'RECORD_KIND_UNKNOWN'
  | 'CHAIN_FIELDS'
  | 'BAD_SIGNATURE'
  | 'BAD_KEY'
  | 'BAD_KEY_TEXT'
  | 'BAD_COMMUNITY_ID'
  | 'MANIFEST_MISMATCH'
  | 'CHARTER_INVALID'
  | 'ALGORITHM_UNKNOWN'
  | 'PARENT_CYCLE'
  | 'AUTHOR_EQUIVOCATED';

/** Every error that the log's functions throw on purpose. */
export class LogError extends KinmergeError<LogErrorCode> {}
