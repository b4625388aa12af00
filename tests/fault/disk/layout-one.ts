import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RecordBook } from '../../../node/core/record-book.ts';
import type { HomePaths } from '../../../node/home/paths.ts';
import { encodeSigned, encodeSignedSeal, payloadOf } from '../../../src/log/index.ts';

/**
 * Makes a home what layout 1 had: one file per record, seal and manifest, and no journal.
 *
 * @param book - what the home holds, read from it; nobody writes to the home
 */
export async function toLayoutOne(home: HomePaths, book: RecordBook): Promise<void> {
  const file = (directory: string, id: { toString(): string }) => join(home.root, directory, id.toString());
  for (const name of ['records', 'seals', 'objects']) await mkdir(join(home.root, name));
  for (const signed of book.log.held()) {
    await writeFile(file('records', signed.id), encodeSigned(signed));
    const payload = payloadOf(signed.record);
    const manifest = payload && (await book.payloads.manifestBytes(payload));
    if (payload && manifest) await writeFile(file('objects', payload), manifest);
  }
  for (const seal of book.log.seals.values()) await writeFile(file('seals', seal.id), encodeSignedSeal(seal));
  await rm(home.journal, { recursive: true });
  const config = JSON.parse(await readFile(home.config, 'utf8'));
  await writeFile(home.config, JSON.stringify({ ...config, layout: 1 }));
}

/** Names of the records and seals of a home that still is of layout 1; undefined for any other. */
export async function heldInLayoutOne(home: HomePaths): Promise<ReadonlySet<string> | undefined> {
  const { layout } = JSON.parse(await readFile(home.config, 'utf8'));
  if (layout !== 1) return undefined;
  const names = await Promise.all(['records', 'seals'].map((directory) => readdir(join(home.root, directory))));
  return new Set(names.flat());
}
