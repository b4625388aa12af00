import type { CID } from 'multiformats/cid';
import { compareBytes, type DocumentLimits, decodeCanonical, encodeCanonical, idOf } from './canonical.ts';
import { MAX_SEALERS } from './charter-fields.ts';
import { LogError } from './errors.ts';
import { checkAscending, checkId, checkList, checkUint, Fields } from './fields.ts';
import { checkPublicKey, PUBLIC_KEY_BYTES, SIGNATURE_BYTES, type SigningKey, signBytes, verifyBytes } from './keys.ts';
import { MAX_RECIPE_UPDATES } from './recipe.ts';
import { MAX_SEQ } from './record-fields.ts';

/** Most records of one epoch: 64 KiB of decisions. A community with more of them seals them in several epochs. */
export const MAX_EPOCH_RECORDS = 65_536;
/** Most ids of a seal's frontier: a busy network has a handful of heads; what is left out waits for the next seal. */
export const MAX_SEAL_FRONTIER = 1024;
/** Most amendments of one epoch. */
export const MAX_EPOCH_AMENDMENTS = 1024;
/** Most revocations of one epoch that took something out. */
export const MAX_EPOCH_REVOCATIONS = 1024;
/** Most bytes of a seal's canonical body: decisions, and 41 for each id of the full lists. */
export const MAX_SEAL_BYTES = 256 * 1024;
/** Most bytes of a signed seal: its body and the signatures, 105 each. */
export const MAX_SIGNED_SEAL_BYTES = MAX_SEAL_BYTES + MAX_SEALERS * 120 + 128;

/** Decision byte of a record that is no update. */
export const NOT_AN_UPDATE = 255;

const DOMAIN = 'kinmerge/seal/1';
const BODY_LIMITS: DocumentLimits = {
  what: 'seal',
  maxBytes: MAX_SEAL_BYTES,
  maxDepth: 3,
  maxItems: 2 * (MAX_SEAL_FRONTIER + MAX_EPOCH_AMENDMENTS + MAX_EPOCH_REVOCATIONS) + 64,
};
const SIGNED_LIMITS: DocumentLimits = {
  what: 'signed seal',
  maxBytes: MAX_SIGNED_SEAL_BYTES,
  maxDepth: 4,
  maxItems: 5 * MAX_SEALERS + 16,
};
const KEYS = [
  'version',
  'charter',
  'number',
  'previous',
  'frontier',
  'decisions',
  'amendments',
  'revocations',
  'accepted',
  'recipe',
] as const;

/** What makes the order and the decisions of an epoch final. */
export interface Seal {
  readonly version: 1;
  /** Id of the community's first charter. */
  readonly charter: CID;
  /** From 1. */
  readonly number: number;
  /** The seal before; null exactly when `number` is 1. */
  readonly previous: CID | null;
  /** These records and their ancestors, without those of earlier epochs, are the epoch. Ascending by bytes. */
  readonly frontier: readonly CID[];
  /** For each record of the epoch in canonical order: 0 accepted, the number of the gate that declined it, or `NOT_AN_UPDATE`. */
  readonly decisions: Uint8Array;
  /** Amendments that it puts into effect, ascending by number. */
  readonly amendments: readonly CID[];
  /** Revocations of the epoch that took an update out, in canonical order. */
  readonly revocations: readonly CID[];
  /** Updates in the recipe. */
  readonly accepted: number;
  /** Recipe of everything sealed so far. */
  readonly recipe: CID;
}

export interface SealSignature {
  /** Raw ed25519 public key, 32 bytes. */
  readonly key: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

/** A seal whose signatures were made or checked by this program. Whose they are is another question: `isSealedBy`. */
export interface SignedSeal {
  /** Id of `body`. The signatures are no part of it. */
  readonly id: CID;
  readonly seal: Seal;
  /** Canonical unsigned bytes. */
  readonly body: Uint8Array;
  /** Ascending by key, each key once. */
  readonly signatures: readonly SealSignature[];
}

/** Canonical unsigned bytes of a seal, after checking every field. @throws LogError */
export function encodeSeal(seal: Seal): Uint8Array {
  const fields: Record<string, unknown> = {};
  for (const key of KEYS) fields[key] = seal[key];
  return encodeCanonical({ ...readSeal(new Fields(fields, 'seal')) }, BODY_LIMITS);
}

/** @throws LogError; `VERSION_UNKNOWN` says that a newer program may know it */
export function decodeSeal(body: Uint8Array): Seal {
  return readSeal(new Fields(decodeCanonical(body, BODY_LIMITS), 'seal'));
}

/** Signs a seal with these keys, at least one. @throws LogError */
export function signSeal(seal: Seal, keys: readonly SigningKey[]): SignedSeal {
  const body = encodeSeal(seal);
  const signatures = [...keys]
    .sort((a, b) => compareBytes(a.publicKey, b.publicKey))
    .map((key) => ({ key: key.publicKey, signature: signBytes(key, DOMAIN, body) }));
  return checkSignatures({ id: idOf(body), seal: decodeSeal(body), body, signatures });
}

/** The form in which a seal travels and is stored. */
export function encodeSignedSeal({ body, signatures }: SignedSeal): Uint8Array {
  return encodeCanonical(
    { body, signatures: signatures.map(({ key, signature }) => ({ key, signature })) },
    SIGNED_LIMITS,
  );
}

/** Size, canonical form, fields and every signature, in this order. @throws LogError */
export function decodeSignedSeal(bytes: Uint8Array): SignedSeal {
  const fields = new Fields(decodeCanonical(bytes, SIGNED_LIMITS), 'signed seal').closed(['body', 'signatures']);
  const signatures = fields.list('signatures', 1, MAX_SEALERS).map((value) => {
    const one = new Fields(value, 'seal signature').closed(['key', 'signature']);
    return { key: one.bytes('key', PUBLIC_KEY_BYTES), signature: one.bytes('signature', SIGNATURE_BYTES) };
  });
  const body = fields.bytesUpTo('body', MAX_SEAL_BYTES);
  return checkSignatures({ id: idOf(body), seal: decodeSeal(body), body, signatures });
}

/** Whether enough of these sealers have signed. Without sealers nothing is ever sealed. */
export function isSealedBy(
  { signatures }: SignedSeal,
  { keys, threshold }: { readonly keys: readonly Uint8Array[]; readonly threshold: number },
): boolean {
  if (threshold < 1) return false;
  const signed = signatures.filter(({ key }) => keys.some((sealer) => compareBytes(sealer, key) === 0));
  return signed.length >= threshold;
}

/** @throws LogError `BAD_SIGNATURE`, `BAD_KEY`, `NOT_SORTED`, `OUT_OF_RANGE` */
function checkSignatures(signed: SignedSeal): SignedSeal {
  const { signatures, body } = signed;
  checkList([...signatures], 'seal.signatures', 1, MAX_SEALERS);
  checkAscending(signatures, 'seal.signatures', (a, b) => compareBytes(a.key, b.key));
  for (const { key, signature } of signatures) {
    checkPublicKey(key, 'seal.signatures');
    if (!verifyBytes(key, DOMAIN, body, signature)) {
      throw new LogError('BAD_SIGNATURE', 'a signature is not the sealer’s over this seal', {});
    }
  }
  return signed;
}

function readSeal(fields: Fields): Seal {
  fields.version(1);
  fields.closed(KEYS);
  const ids = (key: 'frontier' | 'amendments' | 'revocations', min: number, max: number) => {
    const list = fields.list(key, min, max).map((id) => checkId(id, `seal.${key}`));
    checkOnce(list, `seal.${key}`);
    return list;
  };
  const number = fields.uint('number', 1, MAX_SEQ);
  const previous = fields.idOrNull('previous');
  if ((number === 1) !== (previous === null)) {
    throw new LogError('CHAIN_FIELDS', 'previous must be null exactly when number is 1', { number });
  }
  const frontier = ids('frontier', 1, MAX_SEAL_FRONTIER);
  checkAscending(frontier, 'seal.frontier', (a, b) => compareBytes(a.bytes, b.bytes));
  const decisions = fields.bytesUpTo('decisions', MAX_EPOCH_RECORDS);
  checkUint(decisions.length, 'seal.decisions length', 1, MAX_EPOCH_RECORDS);
  return {
    version: 1,
    charter: fields.id('charter'),
    number,
    previous,
    frontier,
    decisions,
    amendments: ids('amendments', 0, MAX_EPOCH_AMENDMENTS),
    revocations: ids('revocations', 0, MAX_EPOCH_REVOCATIONS),
    accepted: fields.uint('accepted', 0, MAX_RECIPE_UPDATES),
    recipe: fields.id('recipe'),
  };
}

function checkOnce(ids: readonly CID[], field: string): void {
  if (new Set(ids.map(String)).size !== ids.length)
    throw new LogError('NOT_SORTED', `${field} names an id twice`, { field });
}
