import type { CID } from 'multiformats/cid';
import { payloadOf } from '../../src/log/index.ts';
import type { View } from './view.ts';

/**
 * Which payloads a node may give up when its disk is full: those that only updates name which a seal declined. Everything in the
 * tail may still be decided otherwise, and every update that comes is compared with all that was ever accepted.
 */
export function collectable(view: View): (payload: CID) => boolean {
  const sealed = view.seals.at(-1)?.records ?? 0;
  const declined = new Set<string>();
  const needed = new Set<string>();
  for (const [place, { id, record }] of view.records.entries()) {
    const payload = payloadOf(record);
    if (payload === null) continue;
    const accepted = view.decisions.get(id.toString())?.accepted;
    if (place < sealed && accepted === false) declined.add(payload.toString());
    else needed.add(payload.toString());
  }
  return (payload) => declined.has(payload.toString()) && !needed.has(payload.toString());
}
