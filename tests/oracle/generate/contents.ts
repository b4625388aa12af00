/** What a record says, and what it names as parents. */

import type { Id, Rec } from '../documents.ts';
import { ancestors, past, type World } from '../world.ts';
import { type Cast, drawAdmission, drawBudgets } from './community.ts';
import type { Dice } from './dice.ts';
import { type Content, keyText, type Made } from './signing.ts';

/** Mostly the heads; sometimes some of them, old records, or none: a slow, a careless or a dishonest writer. */
export function drawParents(dice: Dice, seen: ReadonlyMap<Id, Made>): Id[] {
  const all = [...seen.keys()];
  if (all.length === 0) return [];
  const named = new Set([...seen.values()].flatMap(({ rec }) => rec.parents));
  const heads = all.filter((id) => !named.has(id)).slice(0, 12);
  switch (dice.weighted({ heads: 45, some: 20, old: 20, none: 15 })) {
    case 'heads':
      return heads;
    case 'some':
      return dice.some(heads);
    case 'old':
      return [dice.pick(all)];
    case 'none':
      return [];
  }
}

/**
 * An amendment that follows its parents' tip.
 *
 * @param skip - how many numbers it leaves out, which makes it invalid
 */
export function drawAmendment(
  dice: Dice,
  cast: Cast,
  known: Pick<World, 'records'>,
  parents: readonly Rec[],
  skip: number,
): Content {
  const before = new Map(parents.flatMap((parent) => [[parent.id, parent] as const, ...ancestors(known, parent)!]));
  const tip = past(known, before)[0];
  const sections = dice.some(['membership', 'budgets', 'admission', 'sealers'] as const);
  const everybody = [...cast.authors, cast.owner].map(keyText);
  const add = dice.chance(0.7) ? dice.some(everybody) : [];
  const remove = dice.chance(0.6) ? everybody.filter((key) => !add.includes(key) && dice.chance(0.4)) : [];
  const sealers = dice.chance(0.9) ? dice.some(cast.sealers).map(keyText) : [];
  return {
    kind: 'amendment',
    number: (tip?.number ?? 0) + 1 + skip,
    previous: tip?.id ?? (skip > 0 ? (parents[0]?.id ?? cast.charterId) : null),
    membership: sections.includes('membership') ? { open: dice.chance(0.3), add, remove } : null,
    budgets: sections.includes('budgets') ? drawBudgets(dice) : null,
    admission: sections.includes('admission') ? drawAdmission(dice) : null,
    sealers: sections.includes('sealers') ? { keys: sealers, threshold: sealers.length === 0 ? 0 : 1 } : null,
  };
}
