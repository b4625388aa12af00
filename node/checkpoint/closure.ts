import type { CID } from 'multiformats/cid';
import type { Charter, SignedRecord, SignedSeal } from '../../src/log/index.ts';
import { canonicalOrder, decodeManifest, decodeSigned, decodeSignedSeal, Log, payloadOf } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import { cidNames } from '../files.ts';
import type { HomePaths } from '../home/paths.ts';
import { BlobStore } from '../stores/blob-store.ts';
import { ObjectStore } from '../stores/object-store.ts';

/**
 * A log of exactly the records and seals that a checkpoint was decided on: the frontier and its ancestors, the seal and those before it, as a home stores them.
 * It only reads, so that it can look at the home of a running daemon.
 *
 * @throws NodeError `UPDATE_UNKNOWN` when the home lacks one of them or its payload, or has it damaged
 */
export async function readClosure(
  home: HomePaths,
  community: { charter: Charter; charterId: CID },
  { frontier, seal }: { readonly frontier: readonly CID[]; readonly seal: CID | null },
  run: RunOptions = {},
): Promise<Log> {
  const { records, missing } = await readRecords(new ObjectStore({ directory: home.records }), frontier, run);
  const log = new Log(community);
  if (missing.length === 0) {
    const objects = new ObjectStore({ directory: home.objects });
    const blobs = new BlobStore({ directory: home.blobs });
    // Parents first: a record that came before its parents would wait, and what waits is bounded.
    for (const id of canonicalOrder(records.values(), community.charterId.bytes)) {
      run.signal?.throwIfAborted();
      const signed = records.get(id.toString())!;
      const payload = payloadOf(signed.record);
      const size = payload === null ? undefined : await payloadSize(objects, payload);
      if (payload !== null && size !== undefined && (await blobs.has(payload, size))) log.setPayload(payload, size);
      if (log.addRecord(signed).outcome !== 'held') {
        missing.push(id.toString());
        break;
      }
    }
  }
  if (missing.length === 0 && seal !== null)
    await readSeals(new ObjectStore({ directory: home.seals }), seal, log, missing);
  if (missing.length === 0) return log;
  throw new NodeError(
    'UPDATE_UNKNOWN',
    `this home lacks updates that the checkpoint was decided on, ${missing[0]} for one: pull with this --home first, or let its daemon catch up`,
    { missing },
  );
}

/** The seal and those before it. */
async function readSeals(store: ObjectStore, last: CID, log: Log, missing: string[]): Promise<void> {
  const seals: SignedSeal[] = [];
  for (let id: CID | null = last; id !== null; ) {
    const bytes: Uint8Array | undefined = await store.get(id);
    const signed: SignedSeal | undefined = bytes === undefined ? undefined : decodeSignedSeal(bytes);
    if (signed === undefined || !signed.id.equals(id)) {
      missing.push(id.toString());
      return;
    }
    seals.push(signed);
    id = signed.seal.previous;
  }
  for (const signed of seals.reverse()) log.seals.add(signed);
}

/** How many records a home stores beside those of a log: what a checkpoint was not decided on. */
export async function countBeyond(home: HomePaths, log: Log): Promise<number> {
  try {
    return (await cidNames(home.records)).length - log.size;
  } catch (error) {
    // A home that joined but never ran has no records.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
}

async function readRecords(store: ObjectStore, frontier: readonly CID[], run: RunOptions) {
  const records = new Map<string, SignedRecord>();
  const missing: string[] = [];
  const seen = new Set<string>();
  const stack = [...frontier];
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    run.signal?.throwIfAborted();
    const key = id.toString();
    if (seen.has(key)) continue;
    seen.add(key);
    const signed = await readRecord(store, id);
    if (signed === undefined) {
      missing.push(key);
      continue;
    }
    records.set(key, signed);
    stack.push(...signed.record.parents);
  }
  return { records, missing };
}

/** Undefined for one that is not there or damaged: the node that owns the home mends it. */
async function readRecord(store: ObjectStore, id: CID): Promise<SignedRecord | undefined> {
  const bytes = await store.get(id);
  if (bytes === undefined) return undefined;
  try {
    const signed = decodeSigned(bytes);
    return signed.id.equals(id) ? signed : undefined;
  } catch {
    return undefined;
  }
}

async function payloadSize(objects: ObjectStore, payload: CID): Promise<number | undefined> {
  try {
    const bytes = await objects.getVerified(payload);
    return bytes === undefined ? undefined : decodeManifest(bytes).size;
  } catch {
    return undefined;
  }
}
