/**
 * The log: every document that a community agrees on, as canonical bytes, and pure functions over them.
 *
 * - `charter`, `record`, `manifest`, `recipe`, `head`, `checkpoint`: the documents, each with a strict codec
 * - `keys`: ed25519 keys, their files and text form, signatures with a domain
 * - `validity`: whether a record may be stored and relayed at all
 * - `log`: which records are held, which are pending and why, heads and equivocations
 * - `log-state`: what `log` remembers, made of `entries`, `held`, `chains`, `pending`, `payloads` and `invalid`;
 *   `intake` changes it, `pending-queries` asks what is to be fetched
 * - `id-tree`: a set of ids as a Merkle tree, by which two logs find how they differ; `entry`: what travels between logs
 * - `order`: the canonical order of held records
 * - `canonical`, `fields`, `text`: strict dag-cbor and the checks that the codecs share
 *
 * Formats: docs/log-format.md.
 */

export { authorKey } from './author-key.ts';
export {
  compareBytes,
  DIGEST_BYTES,
  equalBytes as equalKeys,
  ID_BYTES,
  ID_TEXT_CHARS,
  idFromBytes,
  idFromDigest,
  idKey,
  idOf,
  idText,
  isLogId,
  parseId,
  sha256,
  sortedIds,
} from './canonical.ts';
export type { Equivocation } from './chains.ts';
export {
  type Charter,
  type CharterAdmission,
  type CharterEncoder,
  type CharterFile,
  type CharterInput,
  type CharterTensor,
  charterId,
  createCharter,
  decodeCharter,
  encodeCharter,
  isMember,
  MAX_CHARTER_BYTES,
  MAX_COMMUNITY_NAME_BYTES,
  parseCommunityId,
} from './charter.ts';
export {
  MAX_CHARTER_TENSORS,
  MAX_FLOAT_ELEMENTS,
  MAX_MEMBERS,
  MAX_OTHER_ELEMENTS,
  MAX_PAYLOAD_VERSION,
  MAX_PAYLOAD_VERSIONS,
  MAX_SCALE_FACTOR,
  MAX_SEALERS,
  MAX_SIDE_FILES,
  MAX_TENSOR_DIMENSIONS,
  MAX_TENSOR_NAME_BYTES,
} from './charter-fields.ts';
export {
  type CheckpointDocument,
  type CheckpointFile,
  checkpointId,
  decodeCheckpoint,
  encodeCheckpoint,
  MAX_CHECKPOINT_BYTES,
  MAX_CHECKPOINT_FILES,
} from './checkpoint.ts';
export {
  encodeEntry,
  entryCharter,
  entryParents,
  isNewer,
  isSealEntry,
  type LogEntry,
  MAX_ENTRY_BYTES,
  type OpenEntry,
  openEntry,
  type SealEntry,
  sealEntry,
} from './entry.ts';
export { LogError, type LogErrorCode } from './errors.ts';
export {
  decodeSignedHead,
  encodeHead,
  encodeSignedHead,
  frontierOf,
  type Head,
  MAX_FRONTIER,
  MAX_HEAD_BYTES,
  MAX_SIGNED_HEAD_BYTES,
  type SealedHead,
  type SignedHead,
  signHead,
} from './head.ts';
export { type IdSubtree, type Ids, IdTree, MAX_LEAF_IDS, treeId, treeKey, treeKeyBytes, treeKeyOf } from './id-tree.ts';
export { MAX_REMEMBERED_INVALID } from './invalid.ts';
export {
  generateKey,
  keyFromPem,
  keyFromSeed,
  keyFromText,
  keySeed,
  keyToPem,
  keyToText,
  PUBLIC_KEY_BYTES,
  SIGNATURE_BYTES,
  type SignatureDomain,
  type SigningKey,
  signBytes,
  verifyBytes,
} from './keys.ts';
export { Log } from './log.ts';
export type { AddResult, Dropped, LogChange, LogOptions, Missing, PendingInfo } from './log-types.ts';
export {
  BLOCK_BYTES,
  blockCount,
  blockSize,
  decodeManifest,
  encodeManifest,
  type IdentifiedManifest,
  MAX_BLOCKS,
  MAX_CONTENT_BYTES,
  MAX_MANIFEST_BYTES,
  type Manifest,
  manifestOf,
} from './manifest.ts';
export { MAX_MERGE_SCALE, type MergeRule } from './merge-rule.ts';
export { canonicalOrder, canonicalOrderOf, type Orderable, type OrderSection } from './order.ts';
export { charterPast, type Past } from './past.ts';
export { MAX_LOOSE_PAYLOADS } from './payloads.ts';
export {
  DEFAULT_PENDING_LIMITS,
  MAX_PENDING,
  MAX_PENDING_PAYLOAD_BYTES,
  MAX_PENDING_PER_AUTHOR,
  MAX_PENDING_PER_SOURCE,
  PENDING_EXPIRY_MS,
  type PendingLimits,
} from './pending.ts';
export {
  decodeRecipe,
  encodeRecipe,
  MAX_RECIPE_BYTES,
  MAX_RECIPE_UPDATES,
  MERGE_ALGORITHM,
  type Recipe,
  recipeId,
} from './recipe.ts';
export {
  decodeRecord,
  decodeSigned,
  decodeStored,
  encodeRecord,
  encodeSigned,
  MAX_PARENTS,
  MAX_RECORD_BYTES,
  MAX_SIGNED_RECORD_BYTES,
  signRecord,
} from './record.ts';
export { MAX_LICENSE_BYTES, MAX_MEMBERS_CHANGED, MAX_NOTE_BYTES, MAX_SEQ, MAX_TITLE_BYTES } from './record-fields.ts';
export {
  type AmendmentRecord,
  isUpdate,
  type LogRecord,
  type MembershipChange,
  payloadOf,
  type RevocationRecord,
  type RuleChanges,
  type SignedRecord,
  type SignedUpdate,
  type UpdateRecord,
} from './record-types.ts';
export {
  amendRules,
  charterRules,
  continuesRules,
  isMemberBy,
  membersBy,
  type Rules,
  type SignedAmendment,
} from './rules.ts';
export {
  decodeSeal,
  decodeSignedSeal,
  encodeSeal,
  encodeSignedSeal,
  isSealedBy,
  MAX_EPOCH_AMENDMENTS,
  MAX_EPOCH_RECORDS,
  MAX_EPOCH_REVOCATIONS,
  MAX_SEAL_BYTES,
  MAX_SEAL_FRONTIER,
  MAX_SIGNED_SEAL_BYTES,
  NOT_AN_UPDATE,
  type Seal,
  type SealSignature,
  type SignedSeal,
  signSeal,
} from './seal.ts';
export { MAX_SEALS_AHEAD, MAX_SEALS_PER_SIGNER, type SealOutcome, SealSet } from './seal-set.ts';
export { type CharterTableTensor, charterLinear, charterTable } from './table.ts';
export { checkFileName, compareCodePoints, MAX_FILE_NAME_BYTES } from './text.ts';
export {
  type ChainTotals,
  checkValidity,
  type InvalidCode,
  type KnownRecord,
  type Validity,
  type ValidityContext,
} from './validity.ts';
