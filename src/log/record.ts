import type { CID } from 'multiformats/cid';
import {
  compareBytes,
  type DocumentLimits,
  decodeCanonical,
  decodeTrusted,
  encodeCanonical,
  idOf,
} from './canonical.ts';
import { LogError } from './errors.ts';
import { checkAscending, checkId, Fields } from './fields.ts';
import { checkPublicKey, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type SigningKey, signBytes, verifyBytes } from './keys.ts';
import { KIND_KEYS, MAX_SEQ, readAmendment, readRevocation, readUpdate } from './record-fields.ts';
import type { LogRecord, SignedRecord } from './record-types.ts';

/** Most bytes of a record's canonical body: a record is read by everybody and kept for ever. */
export const MAX_RECORD_BYTES = 4096;
/** Most bytes of a signed record: the body, the signature, and the map around them. */
export const MAX_SIGNED_RECORD_BYTES = MAX_RECORD_BYTES + 128;
/** Most parents of a record: enough to join the heads of a busy network in few records. */
export const MAX_PARENTS = 16;

const DOMAIN = 'kinmerge/record/1';
/** Items: an amendment of as many keys as fit has some 250. */
const BODY_LIMITS: DocumentLimits = { what: 'record', maxBytes: MAX_RECORD_BYTES, maxDepth: 4, maxItems: 384 };
const SIGNED_LIMITS: DocumentLimits = {
  what: 'signed record',
  maxBytes: MAX_SIGNED_RECORD_BYTES,
  maxDepth: 2,
  maxItems: 8,
};

const COMMON_KEYS = ['version', 'kind', 'author', 'charter', 'seq', 'prev', 'parents'] as const;

/** Canonical unsigned bytes of a record, after checking every field. @throws LogError */
export function encodeRecord(record: LogRecord): Uint8Array {
  const fields: Record<string, unknown> = {};
  // Only the record's own fields, so that an object with more of them does not leak into the bytes.
  for (const key of [...COMMON_KEYS, ...KIND_KEYS[record.kind]]) fields[key] = record[key as keyof LogRecord];
  const read = readRecord(new Fields(fields, 'record'));
  return encodeCanonical({ ...read }, BODY_LIMITS);
}

/**
 * Reads a record's canonical unsigned bytes.
 *
 * @throws LogError; `VERSION_UNKNOWN` and `RECORD_KIND_UNKNOWN` say that a newer program may know it: ignore such a
 *   record, do not hold it against the peer that sent it
 */
export function decodeRecord(body: Uint8Array): LogRecord {
  return readRecord(new Fields(decodeCanonical(body, BODY_LIMITS), 'record'));
}

/** Signs a record with its author's key. @throws LogError `BAD_KEY` when the key is not the author's */
export function signRecord<R extends LogRecord>(record: R, key: SigningKey): SignedRecord<R> {
  if (compareBytes(record.author, key.publicKey) !== 0) {
    throw new LogError('BAD_KEY', 'the signing key is not the key of the record’s author', {});
  }
  const body = encodeRecord(record);
  // A copy that is exactly what the bytes say, of the same kind.
  return { id: idOf(body), record: decodeRecord(body) as R, body, signature: signBytes(key, DOMAIN, body) };
}

/** The form in which a record travels and is stored. */
export function encodeSigned(signed: SignedRecord): Uint8Array {
  return encodeCanonical({ body: signed.body, signature: signed.signature }, SIGNED_LIMITS);
}

/** Size, canonical form, fields and signature, in this order. @throws LogError */
export function decodeSigned(bytes: Uint8Array): SignedRecord {
  return openSigned(bytes).read();
}

/**
 * The same in two steps: its id, also of a kind that this program does not know, before its signature costs anything.
 *
 * @throws LogError, at either step
 */
export function openSigned(bytes: Uint8Array): { readonly id: CID; read(): SignedRecord } {
  const envelope = openEnvelope(bytes, decodeCanonical);
  const read = () => {
    const signed = readBody(envelope, decodeCanonical);
    if (!verifyBytes(signed.record.author, DOMAIN, signed.body, signed.signature)) {
      throw new LogError('BAD_SIGNATURE', 'the signature is not the author’s over this record', {});
    }
    return signed;
  };
  return { id: envelope.id, read };
}

/**
 * The same without the signature and without a look at the canonical form: for bytes that this program checked before it
 * stored them, and that are known to be those.
 *
 * @throws LogError
 */
export function decodeStored(bytes: Uint8Array): SignedRecord {
  return readBody(openEnvelope(bytes, decodeTrusted), decodeTrusted);
}

interface Envelope {
  readonly id: CID;
  readonly body: Uint8Array;
  readonly fields: Fields;
}

function openEnvelope(bytes: Uint8Array, decode: typeof decodeCanonical): Envelope {
  const fields = new Fields(decode(bytes, SIGNED_LIMITS), 'signed record').closed(['body', 'signature']);
  const body = fields.bytesUpTo('body', MAX_RECORD_BYTES);
  return { id: idOf(body), body, fields };
}

function readBody({ id, body, fields }: Envelope, decode: typeof decodeCanonical): SignedRecord {
  const signature = fields.bytes('signature', SIGNATURE_BYTES);
  return { id, record: readRecord(new Fields(decode(body, BODY_LIMITS), 'record')), body, signature };
}

function readRecord(fields: Fields): LogRecord {
  fields.version(1);
  const kind = fields.text('kind', { minBytes: 1, maxBytes: 64 });
  if (!Object.hasOwn(KIND_KEYS, kind)) {
    throw new LogError('RECORD_KIND_UNKNOWN', `this program does not know records of kind ${kind}`, { kind });
  }
  const known = kind as LogRecord['kind'];
  fields.closed([...COMMON_KEYS, ...KIND_KEYS[known]]);
  const links = {
    version: 1,
    author: checkPublicKey(fields.bytes('author', PUBLIC_KEY_BYTES), 'record.author'),
    charter: fields.id('charter'),
    seq: fields.uint('seq', 0, MAX_SEQ),
    prev: fields.idOrNull('prev'),
    parents: fields.list('parents', 0, MAX_PARENTS).map((parent) => checkId(parent, 'record.parents')),
  } as const;
  checkLinks(links);
  switch (known) {
    case 'update':
      return { ...links, kind: known, ...readUpdate(fields) };
    case 'revocation':
      return { ...links, kind: known, ...readRevocation(fields, links.parents) };
    case 'amendment':
      return { ...links, kind: known, ...readAmendment(fields) };
  }
}

function checkLinks({ parents, prev, seq }: Pick<LogRecord, 'parents' | 'prev' | 'seq'>): void {
  checkAscending(parents, 'record.parents', (a, b) => compareBytes(a.bytes, b.bytes));
  if ((seq === 0) !== (prev === null)) {
    throw new LogError('CHAIN_FIELDS', 'prev must be null exactly when seq is 0', { seq });
  }
  // The author's chain is then part of the causal past, and the canonical order keeps it.
  if (prev !== null && !parents.some((parent) => parent.equals(prev))) {
    throw new LogError('CHAIN_FIELDS', 'prev must be one of the parents', { seq });
  }
}
