import type { CID } from 'multiformats/cid';
import type { Charter } from './charter.ts';

/** What every record says, whatever its kind. */
interface RecordLinks {
  readonly version: 1;
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
}

/** The statement of one update. Nothing in it could be computed from the payload. */
export interface UpdateRecord extends RecordLinks {
  readonly kind: 'update';
  /** Id of the payload's manifest. */
  readonly payload: CID;
  readonly title: string;
  /** SPDX expression by convention; not interpreted. */
  readonly license: string;
  readonly note: string;
}

/** Takes an update out, by its author or by the charter's owner; final. */
export interface RevocationRecord extends RecordLinks {
  readonly kind: 'revocation';
  /** The update: one of the parents, so that it stands before this record in every order. */
  readonly target: CID;
  readonly note: string;
}

/** What an amendment does to the list of members. */
export interface MembershipChange {
  /** Whether everybody may contribute from then on. */
  readonly open: boolean;
  /** Ascending, each once; no key in both. */
  readonly add: readonly Uint8Array[];
  readonly remove: readonly Uint8Array[];
}

/** What an amendment can change; null leaves a section as it is. */
export interface RuleChanges {
  readonly membership: MembershipChange | null;
  readonly budgets: Charter['budgets'] | null;
  readonly admission: Charter['admission'] | null;
  readonly sealers: Charter['sealers'] | null;
}

/** Changes the rules of the community from the next seal on; by the charter's owner. */
export interface AmendmentRecord extends RecordLinks, RuleChanges {
  readonly kind: 'amendment';
  /** From 1, one more than that of `previous`. */
  readonly number: number;
  /** The amendment before it; null exactly when `number` is 1. */
  readonly previous: CID | null;
  readonly note: string;
}

export type LogRecord = UpdateRecord | RevocationRecord | AmendmentRecord;

/** A record whose signature was made or checked by this program. */
export interface SignedRecord<R extends LogRecord = LogRecord> {
  /** Id of `body`. The signature is no part of it. */
  readonly id: CID;
  readonly record: R;
  /** Canonical unsigned bytes. */
  readonly body: Uint8Array;
  /** 64 bytes. */
  readonly signature: Uint8Array;
}

export type SignedUpdate = SignedRecord<UpdateRecord>;

export function isUpdate(signed: SignedRecord): signed is SignedUpdate {
  return signed.record.kind === 'update';
}

/** The payload that a record names; only updates have one. */
export function payloadOf(record: LogRecord): CID | null {
  return record.kind === 'update' ? record.payload : null;
}
