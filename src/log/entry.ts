import type { CID } from 'multiformats/cid';
import { decodeCanonical, idOf } from './canonical.ts';
import { LogError } from './errors.ts';
import { Fields } from './fields.ts';
import { decodeSigned, MAX_RECORD_BYTES, MAX_SIGNED_RECORD_BYTES, type SignedRecord } from './record.ts';

/** What travels between logs: signed, known by the id of its body, in some community, after its parents. */
export type LogEntry = SignedRecord;

/** Most bytes of an encoded entry. */
export const MAX_ENTRY_BYTES = MAX_SIGNED_RECORD_BYTES;

/** An entry of a version or kind that a newer program may know: passed over, never held against who sent it. */
const NEWER: ReadonlySet<string> = new Set(['VERSION_UNKNOWN', 'RECORD_KIND_UNKNOWN']);

/** Size, canonical form, fields and signature, in this order. @throws LogError */
export function decodeEntry(bytes: Uint8Array): LogEntry {
  return decodeSigned(bytes);
}

/** Id of the community's first charter. */
export function entryCharter(entry: LogEntry): CID {
  return entry.record.charter;
}

/** The entries that come before it wherever it goes. */
export function entryParents(entry: LogEntry): readonly CID[] {
  return entry.record.parents;
}

export function isNewer(error: unknown): boolean {
  return error instanceof LogError && NEWER.has(error.code);
}

/** The id of an entry, also of a kind that this program does not know. @throws LogError */
export function entryId(bytes: Uint8Array): CID {
  const fields = new Fields(decodeCanonical(bytes, ENVELOPE_LIMITS), 'entry').closed(['body', 'signature']);
  return idOf(fields.bytesUpTo('body', MAX_RECORD_BYTES));
}

const ENVELOPE_LIMITS = { what: 'entry', maxBytes: MAX_ENTRY_BYTES, maxDepth: 2, maxItems: 8 };
