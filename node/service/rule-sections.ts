import { NodeError } from '../errors.ts';
import type { ChangesDocument } from './describe-record.ts';
import type { RuleSections, RulesDocument } from './documents.ts';

/** What differs between two states of the rules. */
export interface RuleDifferences {
  /** Amendments in effect on either side; 0 is the charter. */
  readonly from: number;
  readonly to: number;
  /** By their path in the rules, `admission.kinship`. */
  readonly fields: readonly { readonly field: string; readonly from: unknown; readonly to: unknown }[];
  readonly members: KeyDifferences;
  readonly sealers: KeyDifferences;
}

export interface KeyDifferences {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** The rules after an amendment. */
export function withChanges(rules: RuleSections, changes: ChangesDocument): RuleSections {
  const { membership, budgets, admission, sealers } = changes;
  return {
    membership: membership === undefined ? rules.membership : changeMembers(rules.membership, membership),
    budgets: budgets ?? rules.budgets,
    admission: admission ?? rules.admission,
    sealers: sealers ?? rules.sealers,
  };
}

/** The rules once the next seal has put into effect what is pending. */
export function rulesToCome(rules: RulesDocument): RuleSections {
  return rules.pending.reduce((sections: RuleSections, { changes }) => withChanges(sections, changes), rules);
}

/** Number of the last amendment that is in effect or pending. */
export function lastAmendment(rules: RulesDocument): number {
  return rules.pending.at(-1)?.number ?? rules.amendment;
}

/** The rules with amendments up to this number; 0 is the charter. @throws NodeError `USAGE` for one that is not there */
export function rulesAt(rules: RulesDocument, number: number): RuleSections {
  const last = lastAmendment(rules);
  if (number > last) {
    const there = last === 0 ? 'no amendment' : `amendments 1 to ${last}`;
    throw new NodeError('USAGE', `there is no amendment ${number}: this community has ${there}, and 0 is the charter`, {
      number,
      last,
    });
  }
  return rules.amendments
    .filter(({ state, number: other }) => state !== 'void' && other <= number)
    .reduce((sections, { changes }) => withChanges(sections, changes), rules.charter);
}

/** @throws NodeError `USAGE` for a number that no amendment has */
export function differencesBetween(rules: RulesDocument, from: number, to: number): RuleDifferences {
  const before = rulesAt(rules, from);
  const after = rulesAt(rules, to);
  return { from, to, ...differences(before, after) };
}

export function differences(before: RuleSections, after: RuleSections): Omit<RuleDifferences, 'from' | 'to'> {
  const [old, now] = [fieldsOf(before), fieldsOf(after)];
  return {
    fields: Object.keys(now)
      .filter((field) => JSON.stringify(old[field]) !== JSON.stringify(now[field]))
      .map((field) => ({ field, from: old[field], to: now[field] })),
    members: keyDifferences(before.membership.members, after.membership.members),
    sealers: keyDifferences(before.sealers.keys, after.sealers.keys),
  };
}

export function areSame({ fields, members, sealers }: Omit<RuleDifferences, 'from' | 'to'>): boolean {
  return [fields, members.added, members.removed, sealers.added, sealers.removed].every((list) => list.length === 0);
}

/** Every single value of the rules, by its path. */
export function fieldsOf({ membership, budgets, admission, sealers }: RuleSections): Record<string, unknown> {
  const fields: Record<string, unknown> = { 'membership.open': membership.open };
  for (const [section, values] of Object.entries({ admission, budgets })) {
    for (const [name, value] of Object.entries(values)) fields[`${section}.${name}`] = value;
  }
  fields['sealers.threshold'] = sealers.threshold;
  return fields;
}

function changeMembers(
  { members }: RuleSections['membership'],
  { open, add, remove }: NonNullable<ChangesDocument['membership']>,
): RuleSections['membership'] {
  const after = new Set([...members, ...add]);
  for (const key of remove) after.delete(key);
  return { open, members: [...after].sort() };
}

function keyDifferences(before: readonly string[], after: readonly string[]): KeyDifferences {
  return {
    added: after.filter((key) => !before.includes(key)),
    removed: before.filter((key) => !after.includes(key)),
  };
}
