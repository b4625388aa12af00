/** docs/log-format.md: Order. */

import { type Id, type Rec, sha256 } from './documents.ts';

/** Kahn's algorithm over the parents inside the set, by the salted digest. */
export function canonical(set: ReadonlyMap<Id, Rec>, salt: Id): Rec[] {
  const waiting = new Map(set);
  const digest = new Map([...set.keys()].map((id) => [id, sha256(salt + id)]));
  const order: Rec[] = [];
  while (waiting.size > 0) {
    const ready = [...waiting.values()].filter(({ parents }) => parents.every((parent) => !waiting.has(parent)));
    const next = ready.reduce((a, b) => (digest.get(b.id)! < digest.get(a.id)! ? b : a));
    order.push(next);
    waiting.delete(next.id);
  }
  return order;
}
