/** docs/log-format.md: Decisions, over one section in canonical order. */

import type { Id, Rec, Update } from './documents.ts';
import { type PayloadGate, payloadGate } from './gates.ts';
import type { Rules } from './rules.ts';
import { chain, type World } from './world.ts';

export type Gate = 'equivocation' | 'membership' | 'budget' | PayloadGate;
const BYTES = [
  'accepted',
  'equivocation',
  'membership',
  'budget',
  'bounds',
  'norm',
  'duplicate',
  'opposite',
  'kinship',
];

export interface Decided {
  readonly record: Rec;
  /** Null for an accepted update and for a record that is no update. */
  readonly gate: Gate | null;
}

export function decisionByte({ record, gate }: Decided): number {
  return record.kind === 'update' ? BYTES.indexOf(gate ?? 'accepted') : 255;
}

/** What stands before a section: everything decided, in canonical order, and the accepted updates taken out since. */
export interface Before {
  readonly decided: readonly Decided[];
  readonly out: ReadonlySet<Id>;
}

export interface Section extends Before {
  /** Revocations of this section with an effect at once, in canonical order. */
  readonly atOnce: readonly Id[];
}

export function decideSection(world: World, rules: Rules, before: Before, order: readonly Rec[]): Section {
  const decided = [...before.decided];
  const out = new Set(before.out);
  const atOnce: Id[] = [];
  const all = [...before.decided.map(({ record }) => record), ...order];
  const isAccepted = (id: Id): boolean =>
    decided.some(({ record, gate }) => record.id === id && record.kind === 'update' && gate === null);
  for (const record of order) {
    if (record.kind === 'update') {
      const gate = gateOf(world, rules, record, all, decided, out);
      decided.push({ record, gate });
      continue;
    }
    decided.push({ record, gate: null });
    if (record.kind !== 'revocation' || !order.some(({ id }) => id === record.target)) continue;
    if (isAccepted(record.target) && !out.has(record.target)) {
      out.add(record.target);
      atOnce.push(record.id);
    }
  }
  return { decided, out, atOnce };
}

function gateOf(
  world: World,
  rules: Rules,
  update: Update,
  all: readonly Rec[],
  decided: readonly Decided[],
  out: ReadonlySet<Id>,
): Gate | null {
  const authors = all.filter(({ author }) => author === update.author).map(({ seq }) => seq);
  const doubled = authors.filter((seq, at) => authors.indexOf(seq) !== at);
  if (doubled.length > 0 && update.seq >= Math.min(...doubled)) return 'equivocation';

  if (!rules.open && !rules.members.includes(update.author)) return 'membership';

  const updates = chain(world, update).filter((one) => one.kind === 'update');
  const bytes = updates.reduce((sum, one) => sum + world.fact(one.payload).bytes, 0);
  if (updates.length > rules.budgets.updates || bytes > rules.budgets.bytes) return 'budget';

  const accepted = decided.flatMap(({ record, gate }) =>
    record.kind === 'update' && gate === null ? [{ payload: record.payload, out: out.has(record.id) }] : [],
  );
  return payloadGate(world, rules.admission, update.payload, accepted);
}
