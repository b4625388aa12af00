import type { CID } from 'multiformats/cid';
import {
  canonicalOrder,
  idKey,
  isUpdate,
  type Log,
  MAX_EPOCH_RECORDS,
  type Seal,
  type SignedRecord,
  type SignedUpdate,
} from '../log/index.ts';
import type { Epochs } from './epochs.ts';
import { adoptedDecision } from './steps.ts';

/**
 * Waiting updates that the next seal declines: nothing will ever depend on their payloads. Empty while a record of its epoch
 * was never seen.
 */
export function declinedAhead(seal: Seal, { log, epochs }: { log: Log; epochs: Epochs }): SignedUpdate[] {
  if (!epochs.continuedBy(seal)) return [];
  const records = closure(seal.frontier, log, epochs);
  if (records?.size !== seal.decisions.length) return [];
  return canonicalOrder(records.values(), epochs.salt)
    .map((id) => records.get(idKey(id))!)
    .filter(({ id }, place) => {
      return adoptedDecision(seal.decisions[place]!)?.accepted === false && log.get(id) === undefined;
    })
    .filter(isUpdate);
}

/** The ids and their ancestors, held or waiting, that are in no epoch; undefined when one was never seen. */
function closure(ids: readonly CID[], log: Log, epochs: Epochs): Map<string, SignedRecord> | undefined {
  const records = new Map<string, SignedRecord>();
  const stack = [...ids];
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    const key = idKey(id);
    if (records.has(key)) continue;
    const signed = log.find(id);
    if (signed === undefined || records.size >= MAX_EPOCH_RECORDS) return undefined;
    if (epochs.has(signed)) continue;
    records.set(key, signed);
    stack.push(...signed.record.parents);
  }
  return records;
}
