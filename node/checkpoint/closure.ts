import type { CID } from 'multiformats/cid';
import type { Charter, SignedRecord, SignedSeal } from '../../src/log/index.ts';
import { canonicalOrder, decodeSigned, decodeSignedSeal, Log, payloadOf } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import { exists } from '../files.ts';
import type { HomePaths } from '../home/paths.ts';
import { BlobStore } from '../stores/blob-store.ts';
import { type HomeContent, keyOf, readJournal } from '../stores/home-journal.ts';
import { Journal } from '../stores/journal.ts';

/**
 * A log of exactly the records and seals that a checkpoint was decided on: the frontier and its ancestors, the seal and those before it, as a home stores them.
 * It only reads, so that it can look at the home of a running daemon.
 *
 * @throws NodeError `UPDATE_UNKNOWN` when the home lacks one of them or its payload, or has it damaged; `HOME_INVALID`
 *   when it has the layout of an older version
 */
export async function readClosure(
  home: HomePaths,
  community: { charter: Charter; charterId: CID },
  { frontier, seal }: { readonly frontier: readonly CID[]; readonly seal: CID | null },
  run: RunOptions = {},
): Promise<Log> {
  const content = await readHome(home);
  const { records, missing } = readRecords(content, frontier, run);
  const log = new Log(community);
  if (missing.length === 0) {
    const blobs = new BlobStore({ directory: home.blobs });
    // Parents first: a record that came before its parents would wait, and what waits is bounded.
    for (const id of canonicalOrder(records.values(), community.charterId.bytes)) {
      run.signal?.throwIfAborted();
      const signed = records.get(id.toString())!;
      const payload = payloadOf(signed.record);
      const size = payload === null ? undefined : content.payloads.get(keyOf(payload.multihash.digest))?.size;
      if (payload !== null && size !== undefined && (await blobs.has(payload, size))) log.setPayload(payload, size);
      if (log.addRecord(signed).outcome !== 'held') {
        missing.push(id.toString());
        break;
      }
    }
  }
  if (missing.length === 0 && seal !== null) readSeals(content, seal, log, missing);
  if (missing.length === 0) return log;
  throw new NodeError(
    'UPDATE_UNKNOWN',
    `this home lacks updates that the checkpoint was decided on, ${missing[0]} for one: pull with this --home first, or let its daemon catch up`,
    { missing },
  );
}

/** The seal and those before it. */
function readSeals({ seals: stored }: HomeContent, last: CID, log: Log, missing: string[]): void {
  const seals: SignedSeal[] = [];
  for (let id: CID | null = last; id !== null; ) {
    const bytes = stored.get(keyOf(id.multihash.digest));
    if (bytes === undefined) {
      missing.push(id.toString());
      return;
    }
    const signed = decodeSignedSeal(bytes);
    seals.push(signed);
    id = signed.seal.previous;
  }
  for (const signed of seals.reverse()) log.seals.add(signed);
}

/** How many records a home stores beside those of a log: what a checkpoint was not decided on. */
export async function countBeyond(home: HomePaths, log: Log): Promise<number> {
  return (await readHome(home)).records.size - log.size;
}

async function readHome(home: HomePaths): Promise<HomeContent> {
  if (!(await exists(home.journal)) && (await exists(`${home.root}/records`))) {
    throw new NodeError(
      'HOME_INVALID',
      'this home has the layout of an older version: run `kinmerge status` with it once, which brings it up to date',
      { home: home.root },
    );
  }
  return readJournal(new Journal({ directory: home.journal }), { repair: false });
}

function readRecords(content: HomeContent, frontier: readonly CID[], run: RunOptions) {
  const records = new Map<string, SignedRecord>();
  const missing: string[] = [];
  const seen = new Set<string>();
  const stack = [...frontier];
  for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
    run.signal?.throwIfAborted();
    const key = id.toString();
    if (seen.has(key)) continue;
    seen.add(key);
    const signed = readRecord(content, id);
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
function readRecord({ records }: HomeContent, id: CID): SignedRecord | undefined {
  const bytes = records.get(keyOf(id.multihash.digest));
  if (bytes === undefined) return undefined;
  try {
    const signed = decodeSigned(bytes);
    return signed.id.equals(id) ? signed : undefined;
  } catch {
    return undefined;
  }
}
