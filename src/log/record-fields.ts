import type { CID } from 'multiformats/cid';
import { compareBytes } from './canonical.ts';
import { checkAdmission, checkBudgets, checkKeys, checkSealers } from './charter-fields.ts';
import { LogError } from './errors.ts';
import type { Fields } from './fields.ts';
import type { AmendmentRecord, MembershipChange, RevocationRecord, RuleChanges, UpdateRecord } from './record-types.ts';
import type { TextRule } from './text.ts';

/** Largest sequence number, and largest number of an amendment: unsigned 32 bits. */
export const MAX_SEQ = 0xffffffff;
/** Most bytes of the texts (UTF-8); together with 16 parents they fit a record of 4 KiB. */
export const MAX_TITLE_BYTES = 256;
export const MAX_LICENSE_BYTES = 128;
export const MAX_NOTE_BYTES = 2048;
/** Most keys that one amendment adds or removes: 34 bytes each, so that they fit a record of 4 KiB. */
export const MAX_MEMBERS_CHANGED = 100;

const TITLE: TextRule = { maxBytes: MAX_TITLE_BYTES };
const LICENSE: TextRule = { maxBytes: MAX_LICENSE_BYTES };
const NOTE: TextRule = { maxBytes: MAX_NOTE_BYTES, multiline: true };

/** The keys of each kind beside those that all have. */
export const KIND_KEYS = {
  update: ['payload', 'title', 'license', 'note'],
  revocation: ['target', 'note'],
  amendment: ['number', 'previous', 'membership', 'budgets', 'admission', 'sealers', 'note'],
} as const;

type Own<R extends { readonly kind: string }, K extends keyof R> = Pick<R, K>;

/** @throws LogError */
export function readUpdate(fields: Fields): Own<UpdateRecord, 'payload' | 'title' | 'license' | 'note'> {
  return {
    payload: fields.id('payload'),
    title: fields.text('title', TITLE),
    license: fields.text('license', LICENSE),
    note: fields.text('note', NOTE),
  };
}

/** @throws LogError `CHAIN_FIELDS` when the target is not among the parents */
export function readRevocation(fields: Fields, parents: readonly CID[]): Own<RevocationRecord, 'target' | 'note'> {
  const target = fields.id('target');
  if (!parents.some((parent) => parent.equals(target))) {
    throw new LogError('CHAIN_FIELDS', 'a revocation names its target among its parents', { target: `${target}` });
  }
  return { target, note: fields.text('note', NOTE) };
}

/** @throws LogError */
export function readAmendment(fields: Fields): RuleChanges & Own<AmendmentRecord, 'number' | 'previous' | 'note'> {
  const number = fields.uint('number', 1, MAX_SEQ);
  const previous = fields.idOrNull('previous');
  if ((number === 1) !== (previous === null)) {
    throw new LogError('CHAIN_FIELDS', 'previous must be null exactly when number is 1', { number });
  }
  const section = <T>(key: string, read: (inner: Fields) => T): T | null =>
    fields.raw(key) === null ? null : read(fields.map(key));
  const changes: RuleChanges = {
    membership: section('membership', readMembership),
    budgets: section('budgets', checkBudgets),
    admission: section('admission', checkAdmission),
    sealers: section('sealers', checkSealers),
  };
  if (Object.values(changes).every((change) => change === null)) {
    throw new LogError('OUT_OF_RANGE', 'an amendment changes something', { number });
  }
  return { number, previous, ...changes, note: fields.text('note', NOTE) };
}

function readMembership(fields: Fields): MembershipChange {
  fields.closed(['open', 'add', 'remove']);
  const keys = (key: 'add' | 'remove') =>
    checkKeys(fields.list(key, 0, MAX_MEMBERS_CHANGED), `record.membership.${key}`);
  const change = { open: fields.boolean('open'), add: keys('add'), remove: keys('remove') };
  if (change.add.some((key) => change.remove.some((other) => compareBytes(key, other) === 0))) {
    throw new LogError('OUT_OF_RANGE', 'an amendment does not add and remove one key', {});
  }
  return change;
}
