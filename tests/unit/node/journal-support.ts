/** What a home's journal holds, and ways to damage it. */

import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import type { HomePaths } from '../../../node/home/paths.ts';
import { Journal } from '../../../node/stores/journal.ts';
import {
  digestOfName,
  ENTRY_HEADER_BYTES,
  encodeSize,
  entryName,
  type JournalEntry,
  type JournalKind,
  KIND,
  SEGMENT_MAGIC,
} from '../../../node/stores/journal-format.ts';
import { scanJournal } from '../../../node/stores/journal-scan.ts';
import { encodeSigned, idFromDigest } from '../../../src/log/index.ts';
import type { Update } from './support.ts';

/** The only segment of a journal. */
export async function segmentOf(home: Pick<HomePaths, 'journal'>): Promise<string> {
  const names = (await readdir(home.journal)).filter((name) => name.endsWith('.journal'));
  if (names.length !== 1) throw new Error(`${names.length} segments`);
  return join(home.journal, names[0]!);
}

/** Ids of what the journal holds of one kind, sorted. Changes nothing. */
export async function idsIn(home: Pick<HomePaths, 'journal'>, kind: JournalKind): Promise<string[]> {
  const journal = new Journal({ directory: home.journal });
  await journal.load(() => {});
  return [...journal.names(kind)].map((name) => idFromDigest(digestOfName(name)).toString()).sort();
}

export const recordsIn = (home: Pick<HomePaths, 'journal'>) => idsIn(home, KIND.record);
export const manifestsIn = (home: Pick<HomePaths, 'journal'>) => idsIn(home, KIND.manifest);

/** Adds entries to the journal of a home that nobody has open. */
export async function putIn(home: Pick<HomePaths, 'journal'>, entries: readonly JournalEntry[]): Promise<void> {
  const journal = new Journal({ directory: home.journal });
  await journal.open(() => {});
  await journal.append(entries, { mark: true });
}

/** The entries of an update as a closed home has them, its payload stored. */
export function entriesOf({ signed, manifest, payload }: Update): JournalEntry[] {
  const { digest } = manifest.id.multihash;
  return [
    { kind: KIND.manifest, digest, body: manifest.bytes },
    { kind: KIND.stored, digest, body: encodeSize(payload.length) },
    { kind: KIND.record, digest: signed.id.multihash.digest, body: encodeSigned(signed) },
  ];
}

/** Every entry of a segment with its place, from start to end. */
export async function entriesIn(path: string): Promise<{ name: string; kind: number; at: number; length: number }[]> {
  const file = await open(path, 'r');
  try {
    const found: { name: string; kind: number; at: number; length: number }[] = [];
    for await (const scanned of scanJournal(file, SEGMENT_MAGIC.length)) {
      if (scanned.what !== 'entry') continue;
      const { at, header } = scanned;
      const name = entryName(header.kind, header.digest);
      found.push({ name, kind: header.kind, at, length: ENTRY_HEADER_BYTES + header.length });
    }
    return found;
  } finally {
    await file.close();
  }
}

/** Changes the bytes of one entry in place; `entry` is all of it, header and body. */
export async function spoil(
  home: Pick<HomePaths, 'journal'>,
  kind: JournalKind,
  id: CID,
  change: (entry: Buffer) => void,
): Promise<void> {
  const path = await segmentOf(home);
  const found = (await entriesIn(path)).findLast(({ name }) => name === entryName(kind, id.multihash.digest));
  if (found === undefined) throw new Error('no such entry');
  const bytes = await readFile(path);
  change(bytes.subarray(found.at, found.at + found.length));
  await writeFile(path, bytes);
}

/** Its last byte is another one: the body does not hold, the header does. */
export const flipLast = (entry: Buffer): void => {
  entry[entry.length - 1]! ^= 1;
};

/** Nothing is left of it. */
export const zero = (entry: Buffer): void => {
  entry.fill(0);
};
