/**
 * Reading for the oracle: a second, plain implementation of docs/log-format.md, written from that page alone. Nothing
 * here is shared with `src/log` but the type of a charter.
 *
 * Ids and keys are hexadecimal texts: they all have one length, so comparing the texts compares the bytes.
 */

import { createHash } from 'node:crypto';
import * as dagCbor from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import type { Charter } from '../../src/log/index.ts';

/** Hex of the 36 bytes of an id. */
export type Id = string;
/** Hex of the 32 bytes of a public key. */
export type Key = string;

export type Budgets = Charter['budgets'];
export type Admission = Charter['admission'];
export interface Sealers {
  readonly keys: readonly Key[];
  readonly threshold: number;
}

interface Common {
  readonly id: Id;
  readonly author: Key;
  readonly charter: Id;
  readonly seq: number;
  readonly prev: Id | null;
  readonly parents: readonly Id[];
}
export interface Update extends Common {
  readonly kind: 'update';
  readonly payload: Id;
}
export interface Revocation extends Common {
  readonly kind: 'revocation';
  readonly target: Id;
}
export interface Amendment extends Common {
  readonly kind: 'amendment';
  readonly number: number;
  readonly previous: Id | null;
  readonly membership: { readonly open: boolean; readonly add: readonly Key[]; readonly remove: readonly Key[] } | null;
  readonly budgets: Budgets | null;
  readonly admission: Admission | null;
  readonly sealers: Sealers | null;
}
export type Rec = Update | Revocation | Amendment;

/** What a seal says about its epoch, and what a node computes itself. */
export interface SealClaims {
  readonly decisions: readonly number[];
  readonly amendments: readonly Id[];
  readonly revocations: readonly Id[];
  readonly accepted: number;
  readonly recipe: Id;
}
export interface Seal extends SealClaims {
  readonly id: Id;
  readonly charter: Id;
  readonly number: number;
  readonly previous: Id | null;
  readonly frontier: readonly Id[];
  readonly body: Uint8Array;
  readonly signatures: readonly { readonly key: Key; readonly signature: Uint8Array }[];
}

export function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

export function sha256(hexText: string | Uint8Array): string {
  const bytes = typeof hexText === 'string' ? Buffer.from(hexText, 'hex') : hexText;
  return createHash('sha256').update(bytes).digest('hex');
}

/** The id of a document's bytes. */
export function idOfBytes(bytes: Uint8Array): Id {
  return `01711220${sha256(bytes)}`;
}

export function cidOf(id: Id): CID {
  return CID.decode(new Uint8Array(Buffer.from(id, 'hex')));
}

/** The fields of records and seals as dag-cbor gives them. */
interface RawSealers {
  readonly keys: readonly Uint8Array[];
  readonly threshold: number;
}
interface RawRecord {
  readonly kind: string;
  readonly author: Uint8Array;
  readonly charter: CID;
  readonly seq: number;
  readonly prev: CID | null;
  readonly parents: readonly CID[];
  readonly payload: CID;
  readonly target: CID;
  readonly number: number;
  readonly previous: CID | null;
  readonly membership: { open: boolean; add: readonly Uint8Array[]; remove: readonly Uint8Array[] } | null;
  readonly budgets: Budgets | null;
  readonly admission: Admission | null;
  readonly sealers: RawSealers | null;
}
interface RawSeal {
  readonly charter: CID;
  readonly number: number;
  readonly previous: CID | null;
  readonly frontier: readonly CID[];
  readonly decisions: Uint8Array;
  readonly amendments: readonly CID[];
  readonly revocations: readonly CID[];
  readonly accepted: number;
  readonly recipe: CID;
}
interface RawSigned {
  readonly body: Uint8Array;
  readonly signatures: readonly { readonly key: Uint8Array; readonly signature: Uint8Array }[];
}

const link = (cid: CID): Id => hex(cid.bytes);
const linkOrNull = (cid: CID | null): Id | null => (cid === null ? null : link(cid));

/** A record from its canonical body. */
export function readRecord(body: Uint8Array): Rec {
  const raw = dagCbor.decode<RawRecord>(body);
  const common = {
    id: idOfBytes(body),
    author: hex(raw.author),
    charter: link(raw.charter),
    seq: raw.seq,
    prev: linkOrNull(raw.prev),
    parents: raw.parents.map(link),
  };
  switch (raw.kind) {
    case 'update':
      return { ...common, kind: 'update', payload: link(raw.payload) };
    case 'revocation':
      return { ...common, kind: 'revocation', target: link(raw.target) };
    case 'amendment': {
      const { number, previous, membership, budgets, admission, sealers } = raw;
      return {
        ...common,
        kind: 'amendment',
        number,
        previous: linkOrNull(previous),
        membership: membership && {
          open: membership.open,
          add: membership.add.map(hex),
          remove: membership.remove.map(hex),
        },
        budgets,
        admission,
        sealers: sealers && { keys: sealers.keys.map(hex), threshold: sealers.threshold },
      };
    }
    default:
      throw new Error(`a record of kind ${raw.kind}`);
  }
}

/** A seal from its signed form. */
export function readSeal(signed: Uint8Array): Seal {
  const { body, signatures } = dagCbor.decode<RawSigned>(signed);
  const raw = dagCbor.decode<RawSeal>(body);
  return {
    id: idOfBytes(body),
    charter: link(raw.charter),
    number: raw.number,
    previous: linkOrNull(raw.previous),
    frontier: raw.frontier.map(link),
    decisions: [...raw.decisions],
    amendments: raw.amendments.map(link),
    revocations: raw.revocations.map(link),
    accepted: raw.accepted,
    recipe: link(raw.recipe),
    body,
    signatures: signatures.map(({ key, signature }) => ({ key: hex(key), signature })),
  };
}
