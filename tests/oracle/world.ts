/** What one node has: the input of the oracle, and plain questions about it. */

import type { Charter } from '../../src/log/index.ts';
import type { Amendment, Id, Rec, Seal } from './documents.ts';

/** What a payload is for the gates. */
export interface PayloadFact {
  /** Its size by its manifest. */
  readonly bytes: number;
  /** Null when the bytes do not parse. */
  readonly measure: {
    readonly norm: number;
    /** The largest absolute entry. */
    readonly peak: number;
    /** Share of the entries that are coded. */
    readonly density: number;
  } | null;
}

/** Two payloads side by side. */
export interface PairFact {
  readonly cosine: number | null;
  /** Inner product of the normalised payloads with 64 fractional bits (docs/algorithms.md D.2). */
  readonly fixed: bigint;
}

export interface World {
  readonly charter: Charter;
  readonly charterId: Id;
  /** Every record that the node knows, with a signature that holds. */
  readonly records: ReadonlyMap<Id, Rec>;
  /** Payloads whose bytes it has stored. */
  readonly stored: ReadonlySet<Id>;
  readonly seals: readonly Seal[];
  readonly fact: (payload: Id) => PayloadFact;
  readonly pair: (a: Id, b: Id) => PairFact;
}

/** The records that a record follows, without itself; null when one of them is unknown. */
export function ancestors(world: Pick<World, 'records'>, record: Rec): Map<Id, Rec> | null {
  const found = new Map<Id, Rec>();
  const visit = (id: Id): boolean => {
    if (found.has(id)) return true;
    const parent = world.records.get(id);
    if (parent === undefined) return false;
    found.set(id, parent);
    return parent.parents.every(visit);
  };
  return record.parents.every(visit) ? found : null;
}

/** The record, its `prev`, its `prev`, …; all of them are known. */
export function chain(world: Pick<World, 'records'>, record: Rec): Rec[] {
  return record.prev === null ? [record] : [record, ...chain(world, world.records.get(record.prev)!)];
}

/** The amendment tip, its `previous`, and so on. The charter, which comes last, is left out. */
export function past(world: Pick<World, 'records'>, before: ReadonlyMap<Id, Rec>): Amendment[] {
  const amendments = [...before.values()].filter((record) => record.kind === 'amendment');
  amendments.sort((a, b) => b.number - a.number || (a.id < b.id ? -1 : 1));
  const list: Amendment[] = [];
  for (let tip: Rec | undefined = amendments[0]; tip?.kind === 'amendment'; ) {
    list.push(tip);
    tip = tip.previous === null ? undefined : world.records.get(tip.previous);
  }
  return list;
}
