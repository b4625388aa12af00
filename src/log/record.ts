import type { CID } from 'multiformats/cid';
import { compareBytes, type DocumentLimits, decodeCanonical, encodeCanonical, idOf } from './canonical.ts';
import { LogError } from './errors.ts';
import { checkAscending, checkId, checkUint, Fields } from './fields.ts';
import { checkPublicKey, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type SigningKey, signBytes, verifyBytes } from './keys.ts';
import { checkText, type TextRule } from './text.ts';

/** Most bytes of a record's canonical body: a record is read by everybody and kept for ever. */
export const MAX_RECORD_BYTES = 4096;
/** Most bytes of a signed record: the body, the signature, and the map around them. */
export const MAX_SIGNED_RECORD_BYTES = MAX_RECORD_BYTES + 128;
/** Most parents of a record: enough to join the heads of a busy network in few records. */
export const MAX_PARENTS = 16;
/** Largest sequence number: unsigned 32 bits. */
export const MAX_SEQ = 0xffffffff;
/** Most bytes of the texts (UTF-8); together with 16 parents they fit a record of 4 KiB. */
export const MAX_TITLE_BYTES = 256;
export const MAX_LICENSE_BYTES = 128;
export const MAX_NOTE_BYTES = 2048;

const DOMAIN = 'kinmerge/record/1';
const BODY_LIMITS: DocumentLimits = { what: 'record', maxBytes: MAX_RECORD_BYTES, maxDepth: 4, maxItems: 128 };
const SIGNED_LIMITS: DocumentLimits = {
  what: 'signed record',
  maxBytes: MAX_SIGNED_RECORD_BYTES,
  maxDepth: 2,
  maxItems: 8,
};
const TITLE: TextRule = { maxBytes: MAX_TITLE_BYTES };
const LICENSE: TextRule = { maxBytes: MAX_LICENSE_BYTES };
const NOTE: TextRule = { maxBytes: MAX_NOTE_BYTES, multiline: true };

/** The statement of one update. Nothing in it could be computed from the payload. */
export interface UpdateRecord {
  readonly version: 1;
  readonly kind: 'update';
  /** Raw ed25519 public key, 32 bytes. */
  readonly author: Uint8Array;
  /** Id of the community's first charter. */
  readonly charter: CID;
  /** Position in the author's chain, from 0. */
  readonly seq: number;
  /** The author's record before this one: null exactly when `seq` is 0, and otherwise one of the parents. */
  readonly prev: CID | null;
  /** Heads of the author's log when it signed: ascending by bytes, each once. */
  readonly parents: readonly CID[];
  /** Id of the payload's manifest. */
  readonly payload: CID;
  readonly title: string;
  /** SPDX expression by convention; not interpreted. */
  readonly license: string;
  readonly note: string;
}

/** A record whose signature was made or checked by this program. */
export interface SignedRecord {
  /** Id of `body`. The signature is no part of it. */
  readonly id: CID;
  readonly record: UpdateRecord;
  /** Canonical unsigned bytes. */
  readonly body: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

const KEYS = [
  'version',
  'kind',
  'author',
  'charter',
  'seq',
  'prev',
  'parents',
  'payload',
  'title',
  'license',
  'note',
] as const;

/** Canonical unsigned bytes of a record, after checking every field. @throws LogError */
export function encodeRecord(record: UpdateRecord): Uint8Array {
  checkPublicKey(record.author, 'record.author');
  checkId(record.charter, 'record.charter');
  checkUint(record.seq, 'record.seq', 0, MAX_SEQ);
  checkId(record.payload, 'record.payload');
  checkText(record.title, 'record.title', TITLE);
  checkText(record.license, 'record.license', LICENSE);
  checkText(record.note, 'record.note', NOTE);
  for (const parent of record.parents) checkId(parent, 'record.parents');
  if (record.prev !== null) checkId(record.prev, 'record.prev');
  checkLinks(record);
  return encodeCanonical(
    {
      version: 1,
      kind: 'update',
      author: record.author,
      charter: record.charter,
      seq: record.seq,
      prev: record.prev,
      parents: [...record.parents],
      payload: record.payload,
      title: record.title,
      license: record.license,
      note: record.note,
    },
    BODY_LIMITS,
  );
}

/**
 * Reads a record's canonical unsigned bytes.
 *
 * @throws LogError; `VERSION_UNKNOWN` and `RECORD_KIND_UNKNOWN` say that a newer program may know it: ignore such a
 *   record, do not hold it against the peer that sent it
 */
export function decodeRecord(body: Uint8Array): UpdateRecord {
  const fields = new Fields(decodeCanonical(body, BODY_LIMITS), 'record');
  fields.version(1);
  const kind = fields.text('kind', { minBytes: 1, maxBytes: 64 });
  if (kind !== 'update') {
    throw new LogError('RECORD_KIND_UNKNOWN', `this program does not know records of kind ${kind}`, { kind });
  }
  fields.closed(KEYS);
  const record: UpdateRecord = {
    version: 1,
    kind,
    author: checkPublicKey(fields.bytes('author', PUBLIC_KEY_BYTES), 'record.author'),
    charter: fields.id('charter'),
    seq: fields.uint('seq', 0, MAX_SEQ),
    prev: fields.idOrNull('prev'),
    parents: fields.list('parents', 0, MAX_PARENTS).map((parent) => checkId(parent, 'record.parents')),
    payload: fields.id('payload'),
    title: fields.text('title', TITLE),
    license: fields.text('license', LICENSE),
    note: fields.text('note', NOTE),
  };
  checkLinks(record);
  return record;
}

/** Signs a record with its author's key. @throws LogError `BAD_KEY` when the key is not the author's */
export function signRecord(record: UpdateRecord, key: SigningKey): SignedRecord {
  if (compareBytes(record.author, key.publicKey) !== 0) {
    throw new LogError('BAD_KEY', 'the signing key is not the key of the record’s author', {});
  }
  const body = encodeRecord(record);
  return { id: idOf(body), record: decodeRecord(body), body, signature: signBytes(key, DOMAIN, body) };
}

/** The form in which a record travels and is stored. */
export function encodeSigned(signed: SignedRecord): Uint8Array {
  return encodeCanonical({ body: signed.body, signature: signed.signature }, SIGNED_LIMITS);
}

/** Size, canonical form, fields and signature, in this order. @throws LogError */
export function decodeSigned(bytes: Uint8Array): SignedRecord {
  const fields = new Fields(decodeCanonical(bytes, SIGNED_LIMITS), 'signed record').closed(['body', 'signature']);
  const signature = fields.bytes('signature', SIGNATURE_BYTES);
  const body = fields.bytesUpTo('body', MAX_RECORD_BYTES);
  const record = decodeRecord(body);
  if (!verifyBytes(record.author, DOMAIN, body, signature)) {
    throw new LogError('BAD_SIGNATURE', 'the signature is not the author’s over this record', {});
  }
  return { id: idOf(body), record, body, signature };
}

function checkLinks(record: UpdateRecord): void {
  if (record.parents.length > MAX_PARENTS) {
    throw new LogError('OUT_OF_RANGE', `a record names at most ${MAX_PARENTS} parents`, {
      parents: record.parents.length,
      max: MAX_PARENTS,
    });
  }
  checkAscending(record.parents, 'record.parents', (a, b) => compareBytes(a.bytes, b.bytes));
  const prev = record.prev;
  if ((record.seq === 0) !== (prev === null)) {
    throw new LogError('CHAIN_FIELDS', 'prev must be null exactly when seq is 0', { seq: record.seq });
  }
  // The author's chain is then part of the causal past, and the canonical order keeps it.
  if (prev !== null && !record.parents.some((parent) => parent.equals(prev))) {
    throw new LogError('CHAIN_FIELDS', 'prev must be one of the parents', { seq: record.seq });
  }
}
