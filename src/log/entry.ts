import type { CID } from 'multiformats/cid';
import { type DocumentLimits, decodeCanonical, idOf } from './canonical.ts';
import { MAX_SEALERS } from './charter-fields.ts';
import { LogError } from './errors.ts';
import { Fields } from './fields.ts';
import { decodeSigned, encodeSigned, MAX_RECORD_BYTES, MAX_SIGNED_RECORD_BYTES } from './record.ts';
import type { SignedRecord } from './record-types.ts';
import { decodeSignedSeal, encodeSignedSeal, MAX_SIGNED_SEAL_BYTES, type SignedSeal } from './seal.ts';

/** A seal as it travels: known by the id of its signed form, so that another signature makes it another entry. */
export interface SealEntry {
  readonly id: CID;
  readonly sealed: SignedSeal;
}

/** What travels between logs: signed, in some community, after its parents. A record is known by the id of its body. */
export type LogEntry = SignedRecord | SealEntry;

/** Most bytes of an encoded entry. */
export const MAX_ENTRY_BYTES = Math.max(MAX_SIGNED_RECORD_BYTES, MAX_SIGNED_SEAL_BYTES);

/** An entry of a version or kind that a newer program may know: passed over, never held against who sent it. */
const NEWER: ReadonlySet<string> = new Set(['VERSION_UNKNOWN', 'RECORD_KIND_UNKNOWN']);

const ENVELOPE_LIMITS: DocumentLimits = {
  what: 'entry',
  maxBytes: MAX_ENTRY_BYTES,
  maxDepth: 4,
  maxItems: 5 * MAX_SEALERS + 16,
};

export function isSealEntry(entry: LogEntry): entry is SealEntry {
  return 'sealed' in entry;
}

/** A seal as an entry. */
export function sealEntry(sealed: SignedSeal): SealEntry {
  return { id: idOf(encodeSignedSeal(sealed)), sealed };
}

export function encodeEntry(entry: LogEntry): Uint8Array {
  return isSealEntry(entry) ? encodeSignedSeal(entry.sealed) : encodeSigned(entry);
}

/** Size, canonical form, fields and signatures, in this order. @throws LogError */
export function decodeEntry(bytes: Uint8Array): LogEntry {
  return isSeal(decodeCanonical(bytes, ENVELOPE_LIMITS)) ? sealEntry(decodeSignedSeal(bytes)) : decodeSigned(bytes);
}

/** Id of the community's first charter. */
export function entryCharter(entry: LogEntry): CID {
  return isSealEntry(entry) ? entry.sealed.seal.charter : entry.record.charter;
}

/** The entries that come before it wherever it goes. A seal waits for its records wherever it is. */
export function entryParents(entry: LogEntry): readonly CID[] {
  return isSealEntry(entry) ? [] : entry.record.parents;
}

export function isNewer(error: unknown): boolean {
  return error instanceof LogError && NEWER.has(error.code);
}

/** The id of an entry, also of a kind that this program does not know. @throws LogError */
export function entryId(bytes: Uint8Array): CID {
  const envelope = decodeCanonical(bytes, ENVELOPE_LIMITS);
  if (isSeal(envelope)) return idOf(bytes);
  const fields = new Fields(envelope, 'entry').closed(['body', 'signature']);
  return idOf(fields.bytesUpTo('body', MAX_RECORD_BYTES));
}

function isSeal(envelope: unknown): boolean {
  return typeof envelope === 'object' && envelope !== null && Object.hasOwn(envelope, 'signatures');
}
