import type { CID } from 'multiformats/cid';
import type { Log, Manifest } from '../../src/log/index.ts';
import { canonicalOrder, payloadOf } from '../../src/log/index.ts';
import type { PayloadStore } from './payload-store.ts';
import type { RecordFiles } from './record-files.ts';

/**
 * Fills an empty log from the files of a home. What is damaged is passed over with a warning: peers may still have it.
 *
 * @param options - `repair`: also put back on disk what can be made anew; otherwise nothing changes there
 */
export async function readRecords(
  { log, charterId, files, payloads }: { log: Log; charterId: CID; files: RecordFiles; payloads: PayloadStore },
  { repair }: { repair: boolean },
): Promise<void> {
  const records = await files.readAll();
  // Parents first: a record that comes before its parents would wait, and what waits is bounded.
  for (const id of canonicalOrder(records.values(), charterId.bytes)) {
    const signed = records.get(id.toString())!;
    const payload = payloadOf(signed.record);
    const manifest =
      payload === null
        ? undefined
        : ((await payloads.manifest(payload)) ?? (await remakeManifest(payloads, payload, repair)));
    if (payload !== null && manifest !== undefined) {
      const whole = await payloads.blobs.has(payload, manifest.size);
      if (whole) log.setPayload(payload, manifest.size);
      else log.setManifest(payload, manifest.size);
    }
    log.addRecord(signed);
    if (log.state(id) !== 'held') files.stall(signed);
  }
}

/** A payload that is whole says what its manifest was. */
async function remakeManifest(payloads: PayloadStore, payload: CID, repair: boolean): Promise<Manifest | undefined> {
  const made = await payloads.remake(payload);
  if (made !== undefined && repair) await payloads.objects.put(payload, made.bytes);
  return made?.manifest;
}
