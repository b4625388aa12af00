import type { CID } from 'multiformats/cid';
import { idKey } from './canonical.ts';
import type { LogState } from './log-state.ts';
import type { Missing, PendingInfo } from './log-types.ts';
import type { Waiting } from './pending.ts';
import { payloadOf, type SignedRecord } from './record-types.ts';

/** The first waiting records and what each waits for, in order of arrival. */
export function pendingInfos({ entries, held, pool, payloads }: LogState, limit: number): PendingInfo[] {
  const first: Waiting[] = [];
  for (const waiting of pool.values()) {
    if (first.length >= limit) break;
    first.push(waiting);
  }
  return first.map(({ signed, source, since }) => {
    const unheld = signed.record.parents.filter((parent) => !held.has(parent));
    const id = payloadOf(signed.record);
    const payload = id === null ? null : idKey(id);
    return {
      signed,
      source,
      since,
      missingRecords: unheld.filter((parent) => !entries.has(idKey(parent))),
      pendingParents: unheld.filter((parent) => entries.has(idKey(parent))),
      missingManifest: payload !== null && payloads.size(payload) === undefined,
      missingPayload: payload !== null && !payloads.stored(payload),
    };
  });
}

/**
 * What is to be fetched, in order of arrival, except that payloads of records whose parents are all held come first.
 * The other payloads are named as long as there is room for them.
 */
export function missingParts(state: LogState): Missing {
  const { entries, held, pool, payloads } = state;
  const records = new Map<string, CID>();
  const manifests = new Map<string, CID>();
  const wanted = new Map<string, CID>();
  const early: [string, CID][] = [];
  for (const { key, signed } of pool.values()) {
    for (const parent of signed.record.parents) {
      const parentKey = idKey(parent);
      if (!entries.has(parentKey)) records.set(parentKey, parent);
    }
    const id = payloadOf(signed.record);
    if (id === null) continue;
    const payload = idKey(id);
    if (payloads.size(payload) === undefined) manifests.set(payload, id);
    else if (!payloads.stored(payload) && entries.get(key)!.totals !== null) {
      if (held.hasAll(signed.record.parents)) wanted.set(payload, id);
      else early.push([payload, id]);
    }
  }
  let room = state.payloadBytes - payloads.waitingBytes;
  for (const [payload, id] of early) {
    if (wanted.has(payload)) continue;
    room -= payloads.size(payload)!;
    if (room < 0) break;
    wanted.set(payload, id);
  }
  return { records: [...records.values()], manifests: [...manifests.values()], payloads: [...wanted.values()] };
}

/** Whether `missingParts` names the payload, or would when others were held: it is not stored, and worth its bytes. */
export function payloadWanted(
  { entries, held, payloads, payloadBytes }: LogState,
  payload: string,
  besides: number,
): boolean {
  const size = payloads.size(payload);
  if (size === undefined || payloads.stored(payload)) return false;
  const room = payloads.waitingBytes + besides + size <= payloadBytes;
  for (const user of payloads.users(payload)) {
    const { signed, totals } = entries.get(user)!;
    if (totals !== null && (room || held.hasAll(signed.record.parents))) return true;
  }
  return false;
}

/** Whether there is room for the bytes of a record's payload, as `Log.hasPayloadRoom` describes it. */
export function payloadRoom(
  { held, payloads, payloadBytes }: LogState,
  { record }: SignedRecord,
  size: number,
): boolean {
  return held.hasAll(record.parents) || payloads.waitingBytes + size <= payloadBytes;
}
