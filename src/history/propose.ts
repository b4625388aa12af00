import type { CID } from 'multiformats/cid';
import {
  compareBytes,
  idKey,
  MAX_EPOCH_AMENDMENTS,
  MAX_EPOCH_RECORDS,
  MAX_EPOCH_REVOCATIONS,
  MAX_SEAL_FRONTIER,
  type SignedRecord,
} from '../log/index.ts';

/**
 * As many records of a tail as one seal can hold, and their frontier; null for an empty tail. What is left is for the next
 * seal.
 *
 * @param tail - in canonical order: parents before children
 */
export function chooseEpoch(tail: readonly SignedRecord[]): { records: SignedRecord[]; frontier: CID[] } | null {
  let records = prefix(tail);
  if (records.length === 0) return null;
  let frontier = headsOf(records);
  if (frontier.length > MAX_SEAL_FRONTIER) {
    frontier = frontier.slice(0, MAX_SEAL_FRONTIER);
    records = closureOf(records, frontier);
  }
  return { records, frontier };
}

function prefix(tail: readonly SignedRecord[]): SignedRecord[] {
  let amendments = 0;
  let revocations = 0;
  const end = tail.findIndex(({ record }, place) => {
    if (record.kind === 'amendment') amendments++;
    if (record.kind === 'revocation') revocations++;
    return place >= MAX_EPOCH_RECORDS || amendments > MAX_EPOCH_AMENDMENTS || revocations > MAX_EPOCH_REVOCATIONS;
  });
  return end < 0 ? [...tail] : tail.slice(0, end);
}

/** Those that none of the others names as a parent, ascending by bytes. */
export function headsOf(records: readonly SignedRecord[]): CID[] {
  const heads = new Map(records.map(({ id }) => [idKey(id), id]));
  for (const { record } of records) for (const parent of record.parents) heads.delete(idKey(parent));
  return [...heads.values()].sort((a, b) => compareBytes(a.bytes, b.bytes));
}

/** Those of the records that are among the ids or their ancestors. */
function closureOf(records: readonly SignedRecord[], ids: readonly CID[]): SignedRecord[] {
  const wanted = new Set(ids.map(idKey));
  // Children come after their parents: seen from the end, every child is met first.
  const chosen = records.toReversed().filter(({ id, record }) => {
    if (!wanted.has(idKey(id))) return false;
    for (const parent of record.parents) wanted.add(idKey(parent));
    return true;
  });
  return chosen.reverse();
}
