import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readClosure } from '../../../node/checkpoint/closure.ts';
import { readConfig } from '../../../node/home/config.ts';
import { migrateHome } from '../../../node/home/migrate.ts';
import type { HomePaths } from '../../../node/home/paths.ts';
import { KIND } from '../../../node/stores/journal-format.ts';
import { encodeSigned } from '../../../src/log/index.ts';
import { testKey } from '../log/helpers.ts';
import { idsIn, recordsIn } from './journal-support.ts';
import { makePond, newHome, openBook, type Pond, silent, type Update, updates } from './support.ts';

const STEPS = ['read', 'cleared', 'journal', 'configuration', 'records', 'seals', 'objects'];
const author = testKey(1);

/** A home as version 1 of the layout had it: one file per record and manifest. */
async function oldHome(pond: Pond, made: readonly Update[]): Promise<HomePaths> {
  const home = await newHome(pond);
  const config = JSON.parse(await readFile(home.config, 'utf8'));
  await writeFile(home.config, JSON.stringify({ ...config, layout: 1 }));
  for (const name of ['records', 'seals', 'objects', 'blobs']) await mkdir(join(home.root, name));
  for (const { signed, manifest, payload } of made) {
    await writeFile(join(home.root, 'records', signed.id.toString()), encodeSigned(signed));
    await writeFile(join(home.root, 'objects', manifest.id.toString()), manifest.bytes);
    await writeFile(join(home.blobs, manifest.id.toString()), payload);
  }
  return home;
}

describe('a home of layout 1', () => {
  test('comes to layout 2 with all it held, and the old directories go', async () => {
    const pond = await makePond();
    const made = await updates(pond, 5, author);
    const home = await oldHome(pond, made);
    await migrateHome({ home }, { logger: silent });
    expect((await readConfig(home.config)).layout).toBe(2);
    expect((await readdir(home.root)).filter((name) => ['records', 'seals', 'objects'].includes(name))).toEqual([]);
    const book = await openBook(pond, home);
    expect(book.log.size).toBe(5);
    expect(book.nextLink(author.publicKey).seq).toBe(5);
    expect(await book.payloads.manifest(made[0]!.manifest.id)).toEqual(made[0]!.manifest.manifest);
  });

  test.each(STEPS)('that is interrupted after "%s" comes there all the same', async (step) => {
    const pond = await makePond();
    const made = await updates(pond, 3, author);
    const home = await oldHome(pond, made);
    const stop = (done: string) => {
      if (done === step) throw new Error('killed');
    };
    await expect(migrateHome({ home }, { logger: silent, onStep: stop })).rejects.toThrow('killed');
    await migrateHome({ home }, { logger: silent });
    expect((await openBook(pond, home)).log.size).toBe(3);
    expect((await readdir(home.root)).filter((name) => ['records', 'seals', 'objects'].includes(name))).toEqual([]);
  });

  test('says every step to who interrupts it', async () => {
    const pond = await makePond();
    const done: string[] = [];
    const home = await oldHome(pond, []);
    await migrateHome({ home }, { logger: silent, onStep: (step) => done.push(step) });
    expect(done).toEqual(STEPS);
  });

  test('keeps a damaged record aside, which stops its author until it is back', async () => {
    const pond = await makePond();
    const made = await updates(pond, 2, author);
    const home = await oldHome(pond, made);
    await writeFile(
      join(home.root, 'records', made[1]!.signed.id.toString()),
      encodeSigned(made[1]!.signed).subarray(3),
    );
    await migrateHome({ home }, { logger: silent });
    expect(await idsIn(home, KIND.damaged)).toEqual([made[1]!.signed.id.toString()]);
    const book = await openBook(pond, home);
    expect(() => book.nextLink(author.publicKey)).toThrow(/not whole/);
    await book.take(made[1]!.signed, made[1]!.payload, 'peer');
    expect(book.nextLink(author.publicKey).seq).toBe(2);
    await book.close();
    expect(await idsIn(home, KIND.damaged)).toEqual([]);
    expect(await recordsIn(home)).toHaveLength(2);
  });

  test('of which a payload is missing waits for it', async () => {
    const pond = await makePond();
    const made = await updates(pond, 2, author);
    const home = await oldHome(pond, made);
    await rm(join(home.blobs, made[0]!.manifest.id.toString()));
    await migrateHome({ home }, { logger: silent });
    const book = await openBook(pond, home);
    expect(made.map(({ signed }) => book.log.state(signed.id))).toEqual(['pending', 'pending']);
    expect(book.payloads.missing().payloads.map(String)).toEqual([made[0]!.manifest.id.toString()]);
  });

  test('is not read by verify, which changes nothing', async () => {
    const pond = await makePond();
    const home = await oldHome(pond, await updates(pond, 1, author));
    await expect(readClosure(home, pond, { frontier: [], seal: null })).rejects.toMatchObject({ code: 'HOME_INVALID' });
  });
});
