/** Gives a history to nodes of the product, and compares each of them with the oracle and with the others. */

import { isDeepStrictEqual } from 'node:util';
import type { Delivery, Item } from './generate/deliveries.ts';
import type { Made } from './generate/signing.ts';
import { type Writing, worldOf } from './generate/writing.ts';
import { consult, type Outcome } from './index.ts';
import { ProductNode } from './product.ts';

export interface Mismatch {
  /** Index of the node, and how much of its delivery it had. */
  readonly node: number;
  readonly items: number;
  /** Names of the fields of the outcome that differ. */
  readonly differs: readonly string[];
  readonly expected: Outcome;
  readonly actual: Outcome;
}

/** Remembers what the oracle said: the nodes of a history mostly look at the same. */
export class Oracle {
  readonly #writing: Writing;
  readonly #said = new Map<string, Outcome>();

  constructor(writing: Writing) {
    this.#writing = writing;
  }

  of(items: readonly Item[], without: ReadonlySet<Made> = new Set()): Outcome {
    const records = items.flatMap((item) => (item.kind === 'record' && !without.has(item.made) ? [item.made] : []));
    const stored = items.flatMap((item) => (item.kind === 'payload' ? [item.id] : []));
    const seals = items.flatMap((item) => (item.kind === 'seal' ? [item.made] : []));
    const ids = [records.map(({ rec }) => rec.id), stored, seals.map(({ seal }) => seal.id)];
    const key = ids.map((list) => [...new Set(list)].sort().join()).join(' ');
    const outcome = this.#said.get(key) ?? consult(worldOf(this.#writing, records, stored, seals));
    this.#said.set(key, outcome);
    return outcome;
  }
}

/** The first difference at any look of any node, or null. */
export async function compare(
  writing: Writing,
  deliveries: readonly Delivery[],
  oracle = new Oracle(writing),
): Promise<Mismatch | null> {
  for (const [node, { items }] of deliveries.entries()) {
    const product = new ProductNode(writing);
    for (const [at, item] of [...items, { kind: 'look' as const }].entries()) {
      switch (item.kind) {
        case 'record':
          product.record(item.made);
          break;
        case 'payload':
          product.payload(item.id);
          break;
        case 'seal':
          product.seal(item.made);
          break;
        case 'restart':
          product.restart();
          break;
        case 'look': {
          product.again();
          const actual = await product.outcome();
          const expected = oracle.of(items.slice(0, at), product.sentBack);
          const differs = (Object.keys(expected) as (keyof Outcome)[]).filter(
            (field) => !isDeepStrictEqual(expected[field], actual[field]),
          );
          if (differs.length > 0) return { node, items: at, differs, expected, actual };
        }
      }
    }
  }
  return null;
}

/** A mismatch of a delivery with as few items as dropping one after another leaves, several times over. */
export async function shrink(
  writing: Writing,
  delivery: readonly Item[],
  mismatch: Mismatch,
): Promise<{ items: readonly Item[]; mismatch: Mismatch }> {
  let best = { items: delivery.slice(0, mismatch.items), mismatch };
  for (let before = Number.POSITIVE_INFINITY; best.items.length < before; ) {
    before = best.items.length;
    for (let at = best.items.length - 1; at >= 0; at--) {
      const items = best.items.filter((_, i) => i !== at);
      const found = await compare(writing, [{ group: 'whole', items }]);
      if (found !== null) best = { items: items.slice(0, found.items), mismatch: found };
    }
  }
  return best;
}

/** A mismatch in words: the seed, and the shortest delivery that was found to show it. */
export async function describeMismatch(
  writing: Writing,
  deliveries: readonly Delivery[],
  first: Mismatch,
): Promise<string> {
  const { items, mismatch } = await shrink(writing, deliveries[first.node]!.items, first);
  const { expected, actual, differs } = mismatch;
  const fields = differs.map((field) => {
    const of = (outcome: Outcome) => JSON.stringify(outcome[field as keyof Outcome]);
    return `${field}: expected ${of(expected)}\n  actual ${of(actual)}`;
  });
  const lines = [`KINMERGE_HISTORY_SEED=${writing.seed}, node ${first.node}`, ...items.map(itemText), ...fields];
  return lines.join('\n');
}

function itemText(item: Item): string {
  switch (item.kind) {
    case 'record':
      return `record ${JSON.stringify(item.made.rec)}`;
    case 'payload':
      return `payload ${item.id}`;
    case 'seal': {
      const { id, number, previous, frontier, decisions } = item.made.seal;
      return `seal ${JSON.stringify({ id, number, previous, frontier, decisions })}`;
    }
    default:
      return item.kind;
  }
}
