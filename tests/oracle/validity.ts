/** docs/log-format.md: Validity, Held and pending. */

import { type Amendment, hex, type Id, type Rec } from './documents.ts';
import { ancestors, chain, past, type World } from './world.ts';

/** Judges one record whose parents are all valid and held, so that all its ancestors and their payloads are known. */
export function isValid(world: World, record: Rec): boolean {
  const before = ancestors(world, record)!;
  const owner = hex(world.charter.owner);
  if (record.charter !== world.charterId) return false;
  if (record.prev !== null) {
    const prev = before.get(record.prev)!;
    if (prev.author !== record.author || prev.seq !== record.seq - 1) return false;
  }
  const amendments = past(world, before);
  const mostUpdates = largest(world.charter.budgets.updates, amendments, ({ budgets }) => budgets?.updates);
  const own = chain(world, record);
  switch (record.kind) {
    case 'update': {
      const bytes = world.fact(record.payload).bytes;
      const mostBytes = largest(world.charter.budgets.bytes, amendments, ({ budgets }) => budgets?.bytes);
      const mostPayload = largest(
        world.charter.admission.maxPayloadBytes,
        amendments,
        (a) => a.admission?.maxPayloadBytes,
      );
      const updates = own.filter((one) => one.kind === 'update');
      const sum = updates.reduce((total, one) => total + world.fact(one.payload).bytes, 0);
      return (
        wasEverMember(world, amendments, record.author) &&
        bytes > 0 &&
        bytes <= mostPayload &&
        updates.length <= mostUpdates &&
        sum <= mostBytes
      );
    }
    case 'revocation': {
      const target = before.get(record.target);
      if (target?.kind !== 'update') return false;
      if (record.author === owner) return true;
      return record.author === target.author && own.filter((one) => one.kind === 'revocation').length <= mostUpdates;
    }
    case 'amendment': {
      const tip = amendments[0];
      return (
        record.author === owner &&
        record.number === (tip?.number ?? 0) + 1 &&
        record.previous === (tip === undefined ? null : tip.id)
      );
    }
  }
}

function largest(
  charter: number,
  amendments: readonly Amendment[],
  of: (amendment: Amendment) => number | undefined,
): number {
  return Math.max(charter, ...amendments.map((amendment) => of(amendment) ?? 0));
}

function wasEverMember(world: World, amendments: readonly Amendment[], author: string): boolean {
  const { membership } = world.charter;
  if (membership === 'open' || membership.some((key) => hex(key) === author)) return true;
  return amendments.some((one) => one.membership?.open === true || one.membership?.add.includes(author) === true);
}

/** The held records: valid, payload stored, parents held. */
export function heldSet(world: World): Map<Id, Rec> {
  const held = new Map<Id, Rec>();
  const refused = new Set<Id>();
  for (let again = true; again; ) {
    again = false;
    for (const record of world.records.values()) {
      if (held.has(record.id) || refused.has(record.id)) continue;
      if (!record.parents.every((parent) => held.has(parent))) continue;
      if (record.kind === 'update' && !world.stored.has(record.payload)) continue;
      again = true;
      if (isValid(world, record)) held.set(record.id, record);
      else refused.add(record.id);
    }
  }
  return held;
}
