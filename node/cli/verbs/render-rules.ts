import type { ChangesDocument } from '../../service/describe-record.ts';
import type { AmendmentDocument, RulesDocument } from '../../service/documents.ts';
import { areSame, fieldsOf, type RuleDifferences } from '../../service/rule-sections.ts';
import { table } from '../output.ts';

/** What an amendment changes, in a few words. */
export function summarizeChanges({ membership, budgets, admission, sealers }: ChangesDocument): string {
  return [
    ...(membership ? [membershipText(membership)] : []),
    ...(budgets ? ['budgets'] : []),
    ...(admission ? ['admission limits'] : []),
    ...(sealers ? [`sealers (${sealers.keys.length})`] : []),
  ].join('; ');
}

function membershipText({ open, add, remove }: NonNullable<ChangesDocument['membership']>): string {
  const counts = [add.length > 0 ? `+${add.length}` : '', remove.length > 0 ? `-${remove.length}` : ''];
  const members = counts.filter((text) => text !== '').join(' ');
  if (members === '') return open ? 'open to everybody' : 'members only';
  return `members ${members}${open ? ', open to everybody' : ''}`;
}

/** What an amendment changes, in full: rows of name and value. */
export function changeRows({ membership, budgets, admission, sealers }: ChangesDocument): string[][] {
  return [
    ...(membership ? [['membership.open', String(membership.open)]] : []),
    ...(membership?.add ?? []).map((key) => ['member added', key]),
    ...(membership?.remove ?? []).map((key) => ['member removed', key]),
    ...Object.entries(admission ?? {}).map(([name, value]) => [`admission.${name}`, valueText(value)]),
    ...Object.entries(budgets ?? {}).map(([name, value]) => [`budgets.${name}`, valueText(value)]),
    ...(sealers?.keys ?? []).map((key) => ['sealer', key]),
    ...(sealers ? [['sealers.threshold', String(sealers.threshold)]] : []),
  ];
}

/** An amendment that was just signed. */
export function renderAmendment({ id, number, changes }: AmendmentDocument): string {
  return [
    `amendment ${number}  ${id}`,
    summarizeChanges(changes),
    'in effect from the next seal on: `kinmerge seal`, by a sealer',
  ].join('\n');
}

export function renderRules(rules: RulesDocument): string {
  const { keys } = rules.sealers;
  const rows = [
    ['rules', rules.amendment === 0 ? 'as the charter was written' : `with amendments up to ${rules.amendment}`],
    ['owner', rules.owner],
    ...(keys.length === 0 ? [['sealer', 'none: everything stays provisional']] : keys.map((key) => ['sealer', key])),
    ['members', `${rules.membership.members.length} (kinmerge member list)`],
    ...Object.entries(fieldsOf(rules)).map(([field, value]) => [field, valueText(value)]),
    ...rules.pending.map(({ number, changes }) => ['next seal', `amendment ${number}: ${summarizeChanges(changes)}`]),
  ];
  return table(rows);
}

export function renderDifferences(differences: RuleDifferences): string {
  const { from, to, fields, members, sealers } = differences;
  const side = (number: number) => (number === 0 ? 'the charter' : `amendment ${number}`);
  if (from === to) return `nothing differs: both sides are ${side(from)}`;
  const heading = `from ${side(from)} to ${side(to)}`;
  if (areSame(differences)) return `${heading}: nothing differs`;
  return [
    heading,
    table([
      ...fields.map(({ field, from: before, to: after }) => [field, `${valueText(before)}  ->  ${valueText(after)}`]),
      ...members.added.map((key) => ['member added', key]),
      ...members.removed.map((key) => ['member removed', key]),
      ...sealers.added.map((key) => ['sealer added', key]),
      ...sealers.removed.map((key) => ['sealer removed', key]),
    ]),
  ].join('\n');
}

/** Bands as `low to high`; numbers in full, because a rounded limit is another limit. */
export function valueText(value: unknown): string {
  if (Array.isArray(value)) return value.map(String).join(' to ');
  return typeof value === 'boolean' ? (value ? 'yes' : 'no') : String(value);
}
