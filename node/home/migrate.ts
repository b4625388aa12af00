import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import type { SignedRecord } from '../../src/log/index.ts';
import {
  canonicalOrder,
  decodeManifest,
  decodeSigned,
  decodeSignedSeal,
  encodeSigned,
  idOf,
} from '../../src/log/index.ts';
import { cidNames, exists, ignoreMissing } from '../files.ts';
import type { Logger } from '../logger.ts';
import { createJournal } from '../stores/journal.ts';
import { encodeSize, type JournalEntry, KIND } from '../stores/journal-format.ts';
import { setAside } from '../stores/journal-reading.ts';
import { readConfig, writeConfig } from './config.ts';
import { HOME_LAYOUT_VERSION, type HomePaths } from './paths.ts';

/** Directories of layout 1: one file per record, seal and manifest. */
const OLD_DIRECTORIES = ['records', 'seals', 'objects'] as const;

/**
 * Brings a home of layout 1 to layout 2: its records, seals and manifests go into the journal. The caller holds the home's
 * lock. A crash at any point leaves a home that the next call brings to the end: the configuration changes once the
 * journal is durable, and what was there goes only after that.
 *
 * @param components - `onStep` is told what is done, for tests that end it there
 */
export async function migrateHome(
  { home }: { home: HomePaths },
  components: { logger: Logger; onStep?: (step: string) => void },
): Promise<void> {
  const { logger, onStep } = components;
  const config = await readConfig(home.config);
  // What was there goes only beside a journal, whatever the configuration says.
  const orphaned = !(await exists(home.journal)) && (await exists(join(home.root, 'records')));
  if (config.layout !== HOME_LAYOUT_VERSION || orphaned) {
    logger.info({ home: home.root }, 'the home is brought to layout 2');
    const entries = await readOld(home, logger);
    onStep?.('read');
    // Of a try that did not come to its end.
    await rm(home.journal, { recursive: true, force: true });
    onStep?.('cleared');
    await createJournal(home.journal, entries);
    onStep?.('journal');
    await writeConfig(home.config, { ...config, layout: HOME_LAYOUT_VERSION });
    onStep?.('configuration');
  }
  for (const name of OLD_DIRECTORIES) {
    await rm(join(home.root, name), { recursive: true, force: true });
    onStep?.(name);
  }
}

async function readOld(home: HomePaths, logger: Logger): Promise<JournalEntry[]> {
  const old = (name: (typeof OLD_DIRECTORIES)[number]) => join(home.root, name);
  const entries: JournalEntry[] = [];
  for await (const { id, bytes } of filesOf(old('objects'))) {
    // A damaged manifest is made anew from its payload, or fetched.
    if (!idOf(bytes).equals(id)) continue;
    const { digest } = id.multihash;
    entries.push({ kind: KIND.manifest, digest, body: bytes });
    const size = (await stat(join(home.blobs, id.toString())).catch(ignoreMissing))?.size;
    if (size !== undefined && size === decodeManifest(bytes).size) {
      entries.push({ kind: KIND.stored, digest, body: encodeSize(size) });
    }
  }
  const records: SignedRecord[] = [];
  for await (const { id, bytes } of filesOf(old('records'))) {
    const signed = tolerant(() => decodeSigned(bytes));
    if (signed?.id.equals(id)) records.push(signed);
    else {
      logger.warn({ record: id.toString() }, 'a stored record is damaged; it will be fetched again');
      entries.push(setAside({ name: { kind: KIND.record, digest: id.multihash.digest }, bytes }));
    }
  }
  const byId = new Map(records.map((signed) => [signed.id.toString(), signed]));
  for (const id of canonicalOrder(records, new Uint8Array())) {
    const signed = byId.get(id.toString())!;
    entries.push({ kind: KIND.record, digest: id.multihash.digest, body: encodeSigned(signed) });
  }
  for await (const { id, bytes } of filesOf(old('seals'))) {
    const signed = tolerant(() => decodeSignedSeal(bytes));
    if (signed?.id.equals(id)) entries.push({ kind: KIND.seal, digest: id.multihash.digest, body: bytes });
  }
  return entries;
}

async function* filesOf(directory: string): AsyncGenerator<{ id: CID; bytes: Buffer }> {
  for (const id of (await cidNames(directory).catch(ignoreMissing)) ?? []) {
    yield { id, bytes: await readFile(join(directory, id.toString())) };
  }
}

/** Undefined for what cannot be read. */
function tolerant<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}
