import type { CID } from 'multiformats/cid';
import type { Log, SignedRecord } from '../../src/log/index.ts';
import { canonicalOrder, idKey, payloadOf } from '../../src/log/index.ts';
import { ignoreMissing } from '../files.ts';
import type { HomeContent } from '../stores/home-journal.ts';
import { Turns } from '../turns.ts';
import type { PayloadStore } from './payload-store.ts';
import type { RecordFiles } from './record-files.ts';

/**
 * Fills an empty log from what a home holds. What is damaged is passed over with a warning: peers may still have it.
 *
 * @param options - `repair`: also put back on disk what can be made anew; otherwise nothing changes there
 */
export async function readRecords(
  components: { log: Log; charterId: CID; files: RecordFiles; payloads: PayloadStore; content: HomeContent },
  { repair }: { repair: boolean },
): Promise<void> {
  const { log, charterId, files, payloads, content } = components;
  const records = await files.readAll(content);
  // One look at the directory for all payloads: what was noted as stored was whole.
  const names = new Set(await payloads.blobs.names().catch(ignoreMissing));
  const turns = new Turns();
  for (const signed of parentsFirst(records, charterId)) {
    const payload = payloadOf(signed.record);
    if (payload !== null) await learnPayload(log, payloads, payload, { names, repair });
    log.addRecord(signed);
    if (log.state(signed.id) !== 'held') files.stall(signed);
    await turns.next();
  }
}

async function learnPayload(
  log: Log,
  payloads: PayloadStore,
  payload: CID,
  { names, repair }: { names: ReadonlySet<string>; repair: boolean },
): Promise<void> {
  const size = await payloads.settledSize(payload, names);
  if (size !== undefined) log.setPayload(payload, size);
  if (payloads.hasManifest(payload)) {
    if (size === undefined) {
      const manifest = await payloads.manifest(payload);
      if (manifest !== undefined) log.setManifest(payload, manifest.size);
    }
    return;
  }
  // A payload that is whole says what its manifest was.
  const made = names.has(payload.toString()) ? await payloads.remake(payload) : undefined;
  if (made === undefined) return;
  if (repair) {
    payloads.learnManifest(payload, made.bytes);
    payloads.learnStored(payload, made.manifest.size);
  }
  log.setPayload(payload, made.manifest.size);
}

/**
 * The journal has the records in the order in which they became held; one that was lost and came again stands behind its
 * children. A record that comes before its parents would wait, and what waits is bounded.
 */
function parentsFirst(records: readonly SignedRecord[], charterId: CID): readonly SignedRecord[] {
  const all = new Map(records.map((signed) => [idKey(signed.id), signed]));
  const seen = new Set<string>();
  const inOrder = records.every(({ id, record }) => {
    seen.add(idKey(id));
    return record.parents.every((parent) => seen.has(idKey(parent)) || !all.has(idKey(parent)));
  });
  if (inOrder) return records;
  return canonicalOrder(records, charterId.bytes).map((id) => all.get(idKey(id))!);
}
