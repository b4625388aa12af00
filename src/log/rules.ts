import type { CID } from 'multiformats/cid';
import { authorKey } from './author-key.ts';
import { compareBytes } from './canonical.ts';
import { type Charter, isMember } from './charter.ts';
import type { AmendmentRecord, SignedRecord } from './record-types.ts';

export type SignedAmendment = SignedRecord<AmendmentRecord>;

/** The rules of a community as the charter and the amendments that seals have put into effect make them. */
export interface Rules {
  readonly charter: Charter;
  /** The last amendment in effect; null while the charter stands as it was written. */
  readonly amendment: { readonly number: number; readonly id: CID } | null;
  /** Whether everybody may contribute. */
  readonly open: boolean;
  /** Keys (hex) that amendments added (true) or removed (false) against the charter's list. */
  readonly changed: ReadonlyMap<string, boolean>;
  readonly budgets: Charter['budgets'];
  readonly admission: Charter['admission'];
  readonly sealers: Charter['sealers'];
}

/** The rules before any amendment. */
export function charterRules(charter: Charter): Rules {
  const { budgets, admission, sealers } = charter;
  const open = charter.membership === 'open';
  return { charter, amendment: null, open, changed: new Map(), budgets, admission, sealers };
}

/** Whether an amendment is the next one of these rules. Of two with one number only the first in the order is. */
export function continuesRules(rules: Rules, { record }: SignedAmendment): boolean {
  if (record.number !== (rules.amendment?.number ?? 0) + 1) return false;
  return record.previous === null ? rules.amendment === null : record.previous.equals(rules.amendment?.id);
}

/** The rules with an amendment in effect. The caller has asked `continuesRules`. */
export function amendRules(rules: Rules, { id, record }: SignedAmendment): Rules {
  const { membership, number } = record;
  const changed = new Map(rules.changed);
  for (const key of membership?.add ?? []) changed.set(authorKey(key), true);
  for (const key of membership?.remove ?? []) changed.set(authorKey(key), false);
  return {
    charter: rules.charter,
    amendment: { number, id },
    open: membership?.open ?? rules.open,
    changed,
    budgets: record.budgets ?? rules.budgets,
    admission: record.admission ?? rules.admission,
    sealers: record.sealers ?? rules.sealers,
  };
}

/** Whether an author may contribute by these rules. */
export function isMemberBy(rules: Rules, author: Uint8Array): boolean {
  return rules.open || isListed(rules, author);
}

/** The keys that are members by name, ascending by bytes; in an open community others may contribute besides. */
export function membersBy({ charter, changed }: Rules): Uint8Array[] {
  const listed = charter.membership === 'open' ? [] : charter.membership;
  const keys = listed.filter((key) => changed.get(authorKey(key)) !== false);
  const own = new Set(listed.map(authorKey));
  for (const [key, added] of changed) if (added && !own.has(key)) keys.push(new Uint8Array(Buffer.from(key, 'hex')));
  return keys.sort(compareBytes);
}

function isListed({ charter, changed }: Rules, author: Uint8Array): boolean {
  return changed.get(authorKey(author)) ?? (charter.membership !== 'open' && isMember(charter, author));
}
