import type { CID } from 'multiformats/cid';
import { equalBytes, idOf } from './canonical.ts';
import { LogError } from './errors.ts';
import { encodeSigned, MAX_SIGNED_RECORD_BYTES, openSigned } from './record.ts';
import type { SignedRecord } from './record-types.ts';
import { decodeSignedSeal, encodeSignedSeal, MAX_SIGNED_SEAL_BYTES, type SignedSeal } from './seal.ts';

/** A seal as it travels: known by the id of its signed form, so that another signature makes it another entry. */
export interface SealEntry {
  readonly id: CID;
  readonly sealed: SignedSeal;
}

/** What travels between logs: signed, in some community, after its parents. A record is known by the id of its body. */
export type LogEntry = SignedRecord | SealEntry;

/** An entry of which the id is known. */
export interface OpenEntry {
  readonly id: CID;
  /** Size, canonical form, fields and signatures, in this order. @throws LogError */
  read(): LogEntry;
}

/** Most bytes of an encoded entry. */
export const MAX_ENTRY_BYTES = Math.max(MAX_SIGNED_RECORD_BYTES, MAX_SIGNED_SEAL_BYTES);

/** An entry of a version or kind that a newer program may know: passed over, never held against who sent it. */
const NEWER: ReadonlySet<string> = new Set(['VERSION_UNKNOWN', 'RECORD_KIND_UNKNOWN']);

/** A map of two, and its first key: `body`. */
const BODY_KEY = Uint8Array.of(0xa2, 0x64, 0x62, 0x6f, 0x64, 0x79);
/** The head of a text of ten characters: `signatures`, where a record has `signature`. */
const SIGNATURES_HEAD = 0x6a;

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

/** Its id, also of a kind that this program does not know. @throws LogError, as does `read` */
export function openEntry(bytes: Uint8Array): OpenEntry {
  if (!isSeal(bytes)) return openSigned(bytes);
  return { id: idOf(bytes), read: () => sealEntry(decodeSignedSeal(bytes)) };
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

/** Both envelopes are canonical maps of two keys, and of the second one the length tells which it is; anything else is none. */
function isSeal(bytes: Uint8Array): boolean {
  const { length } = BODY_KEY;
  if (!equalBytes(bytes.subarray(0, length), BODY_KEY)) return false;
  // The heads of byte strings of 24 bytes and more: their length has one, two or four bytes.
  const width = { 88: 1, 89: 2, 90: 4 }[bytes[length] ?? 0];
  if (width === undefined || bytes.length < length + 1 + width) return false;
  let size = 0;
  for (let i = 0; i < width; i++) size = size * 256 + bytes[length + 1 + i]!;
  return bytes[length + 1 + width + size] === SIGNATURES_HEAD;
}
