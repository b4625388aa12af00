/** In which order nodes are given a history, and which of it some of them never get. */

import type { Id } from '../documents.ts';
import { Dice } from './dice.ts';
import type { Made, MadeSeal } from './signing.ts';
import type { Writing } from './writing.ts';

export type Item =
  | { readonly kind: 'record'; readonly made: Made }
  | { readonly kind: 'payload'; readonly id: Id }
  | { readonly kind: 'seal'; readonly made: MadeSeal }
  /** The node starts again from what it has stored. */
  | { readonly kind: 'restart' }
  /** What the node decides so far is compared. */
  | { readonly kind: 'look' };

/** Share of the histories of which two nodes do not get everything. */
const WITHHOLDING = 0.6;

/** Everything of a history, in the order of writing. */
export function everything({ records, seals }: Pick<Writing, 'records' | 'seals'>): Item[] {
  const items: Item[] = records.flatMap((made) => [
    { kind: 'record' as const, made },
    ...(made.rec.kind === 'update' ? [{ kind: 'payload' as const, id: made.rec.payload }] : []),
  ]);
  for (const made of seals) {
    // As soon as a seal can exist: right after the last record that it names.
    const last = items.findLastIndex((item) => item.kind === 'record' && made.seal.frontier.includes(item.made.rec.id));
    items.splice(last + 2, 0, { kind: 'seal', made });
  }
  return items;
}

export interface Delivery {
  readonly items: readonly Item[];
  /** Nodes of one group are given the same. */
  readonly group: 'whole' | 'part';
}

/**
 * Four nodes. The first is given one update after everything else; the last two lack the same, if anything.
 *
 * @param late - the update that comes last at the first node
 */
export function deliveriesOf(writing: Writing, late: Made | null): Delivery[] {
  const dice = new Dice(writing.seed ^ 0x5eed);
  const all = everything(writing);
  const isLate = (item: Item): boolean =>
    late?.rec.kind === 'update' &&
    ((item.kind === 'record' && item.made === late) || (item.kind === 'payload' && item.id === late.rec.payload));
  const before = jumbled(
    dice,
    all.filter((item) => !isLate(item)),
  );
  const withholding = dice.chance(WITHHOLDING);
  const share = dice.pick([0.03, 0.1, 0.25]);
  const lost = new Set(
    withholding ? all.filter((item) => dice.chance(item.kind === 'payload' ? 2 * share : share / 2)) : [],
  );
  const part = all.filter((item) => !lost.has(item));
  return [
    { group: 'whole', items: [...before, { kind: 'look' }, ...all.filter(isLate)] },
    { group: 'whole', items: withLooks(dice, jumbled(dice, all)) },
    { group: 'part', items: withLooks(dice, jumbled(dice, part)) },
    { group: 'part', items: withLooks(dice, jumbled(dice, part)) },
  ];
}

/** From nearly the order of writing to none at all; some items come twice. */
function jumbled(dice: Dice, items: readonly Item[]): Item[] {
  const spread = dice.pick([2, 8, 24, 1_000]);
  const twice = items.filter(() => dice.chance(0.03));
  return [...items.entries(), ...twice.map((item) => [dice.from(0, items.length), item] as const)]
    .map(([at, item]) => ({ item, at: at + dice.number() * spread }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Two looks and up to two restarts at random places. */
function withLooks(dice: Dice, items: readonly Item[]): Item[] {
  const result = [...items];
  for (const kind of ['look', 'look', 'restart', 'restart'] as const) {
    if (kind === 'restart' && dice.chance(0.5)) continue;
    result.splice(dice.from(0, result.length), 0, { kind });
  }
  return result;
}
