/** Records and seals as bytes, made without `src/log`'s codecs, so that these are tested by them. */

import { sign } from 'node:crypto';
import * as dagCbor from '@ipld/dag-cbor';
import { keyFromSeed, type SigningKey } from '../../../src/log/index.ts';
import {
  type Admission,
  type Budgets,
  cidOf,
  hex,
  type Id,
  type Key,
  type Rec,
  readRecord,
  readSeal,
  type Seal,
  type SealClaims,
} from '../documents.ts';

/** A record with its bytes. */
export interface Made {
  readonly rec: Rec;
  readonly body: Uint8Array;
  readonly signature: Uint8Array;
}
export interface MadeSeal {
  readonly seal: Seal;
  /** Signed form. */
  readonly bytes: Uint8Array;
}

export interface Links {
  readonly charter: Id;
  readonly seq: number;
  readonly prev: Id | null;
  readonly parents: readonly Id[];
}
export interface MembershipChange {
  readonly open: boolean;
  readonly add: readonly Key[];
  readonly remove: readonly Key[];
}
export interface SealersChange {
  readonly keys: readonly Key[];
  readonly threshold: number;
}
export type Content =
  | { readonly kind: 'update'; readonly payload: Id; readonly note: string }
  | { readonly kind: 'revocation'; readonly target: Id }
  | {
      readonly kind: 'amendment';
      readonly number: number;
      readonly previous: Id | null;
      readonly membership: MembershipChange | null;
      readonly budgets: Budgets | null;
      readonly admission: Admission | null;
      readonly sealers: SealersChange | null;
    };

const keys = new Map<number, SigningKey>();

/** Key number n, the same in every run. */
export function keyNumber(n: number): SigningKey {
  let key = keys.get(n);
  if (key === undefined) {
    const seed = new Uint8Array(32);
    new DataView(seed.buffer).setUint32(0, n + 1);
    key = keyFromSeed(seed);
    keys.set(n, key);
  }
  return key;
}

export function makeRecord(author: SigningKey, links: Links, content: Content): Made {
  const body = dagCbor.encode({
    version: 1,
    author: author.publicKey,
    charter: cidOf(links.charter),
    seq: links.seq,
    prev: links.prev === null ? null : cidOf(links.prev),
    parents: [...new Set(links.parents)].sort().map(cidOf),
    ...fieldsOf(content),
  });
  return {
    rec: readRecord(body),
    body,
    // Not part of the id: who grinds ids does not sign what it throws away.
    get signature() {
      return signed('kinmerge/record/1', author, body);
    },
  };
}

function fieldsOf(content: Content): Record<string, unknown> {
  switch (content.kind) {
    case 'update':
      return { ...content, payload: cidOf(content.payload), title: '', license: '' };
    case 'revocation':
      return { ...content, target: cidOf(content.target), note: '' };
    case 'amendment': {
      const { membership, sealers, previous } = content;
      return {
        ...content,
        previous: previous === null ? null : cidOf(previous),
        membership: membership && {
          open: membership.open,
          add: bytesOf(membership.add),
          remove: bytesOf(membership.remove),
        },
        sealers: sealers && { keys: bytesOf(sealers.keys), threshold: sealers.threshold },
        note: '',
      };
    }
  }
}

export function makeSeal(
  signers: readonly SigningKey[],
  head: Pick<Seal, 'charter' | 'number' | 'previous' | 'frontier'>,
  claims: SealClaims,
): MadeSeal {
  const body = dagCbor.encode({
    version: 1,
    charter: cidOf(head.charter),
    number: head.number,
    previous: head.previous === null ? null : cidOf(head.previous),
    frontier: [...head.frontier].sort().map(cidOf),
    decisions: Uint8Array.from(claims.decisions),
    amendments: claims.amendments.map(cidOf),
    revocations: claims.revocations.map(cidOf),
    accepted: claims.accepted,
    recipe: cidOf(claims.recipe),
  });
  const signatures = signers.map((key) => ({ key: key.publicKey, signature: signed('kinmerge/seal/1', key, body) }));
  signatures.sort((a, b) => Buffer.compare(a.key, b.key));
  const bytes = dagCbor.encode({ body, signatures });
  return { seal: readSeal(bytes), bytes };
}

function signed(domain: string, key: SigningKey, body: Uint8Array): Uint8Array {
  return new Uint8Array(sign(null, Buffer.concat([Buffer.from(`${domain}\0`), body]), key.privateKey));
}

function bytesOf(list: readonly Key[]): Uint8Array[] {
  return [...list].sort().map((key) => new Uint8Array(Buffer.from(key, 'hex')));
}

export function keyText(key: SigningKey): Key {
  return hex(key.publicKey);
}
