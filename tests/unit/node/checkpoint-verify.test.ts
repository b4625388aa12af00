import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readClosure } from '../../../node/checkpoint/closure.ts';
import { copyCheckpoint } from '../../../node/checkpoint/copy.ts';
import { SIDECAR_FILE } from '../../../node/checkpoint/sidecar.ts';
import { type VerifyOptions, verifyCheckpoint } from '../../../node/checkpoint/verify.ts';
import type { HomePaths } from '../../../node/home/paths.ts';
import { KIND } from '../../../node/stores/journal-format.ts';
import type { Device } from '../../../src/compute/index.ts';
import { MAX_PENDING_PER_AUTHOR, manifestOf, type SignedRecord } from '../../../src/log/index.ts';
import { follow, testId, testKey } from '../log/helpers.ts';
import { CONFIG, deadProcess, makeShore, type Shore, writeHome } from './checkpoint-support.ts';
import { entriesOf, flipLast, putIn, segmentOf, spoil } from './journal-support.ts';
import { filesBelow, newHome, openBook, openCommunity, payloadOf, type Update, updates } from './support.ts';

/** The shore's checkpoint of no updates, pulled. */
async function pulled(shore: Shore): Promise<string> {
  const out = join(shore.directory, `pulled-${(await readdir(shore.directory)).length}`);
  const view = await (await openCommunity(shore)).settled();
  await copyCheckpoint({ view, checkpoint: { path: shore.exported, recipe: '' } }, out, shore.charter);
  return out;
}

function verify(shore: Shore, home: HomePaths, directory: string, device: Device = 'cpu') {
  const options: VerifyOptions = { directory, base: shore.base, tensors: undefined, exact: true, engine: { device } };
  return verifyCheckpoint(options, { home });
}

/** A sidecar of the same recipe that claims to be decided on other updates. */
async function decidedOn(directory: string, frontier: readonly string[]): Promise<void> {
  const path = join(directory, SIDECAR_FILE);
  await writeFile(path, JSON.stringify({ ...JSON.parse(await readFile(path, 'utf8')), frontier }));
}

describe('verify', () => {
  test('passes in a home that was joined and never ran', async () => {
    const shore = await makeShore();
    const directory = await pulled(shore);
    const home = await newHome(shore);
    const before = await filesBelow(home.root);
    const { report } = await verify(shore, home, directory);
    expect(report).toMatchObject({ verdict: 'pass', checked: 3 });
    expect(await filesBelow(home.root)).toEqual(before);
  });

  test('says which update a home lacks that was joined and never ran', async () => {
    const shore = await makeShore();
    const directory = await pulled(shore);
    await decidedOn(directory, [testId(1).toString()]);
    await expect(verify(shore, await newHome(shore), directory)).rejects.toMatchObject({
      code: 'UPDATE_UNKNOWN',
      fields: { missing: [testId(1).toString()] },
    });
  });

  test.each([
    ['code beside the weights', 'modeling_x.py', (path: string) => writeFile(path, 'import os')],
    ['pickled weights', 'pytorch_model.bin', (path: string) => writeFile(path, 'pickle')],
    ['a changed side file', 'config.json', (path: string) => writeFile(path, CONFIG.replace('64', '32'))],
    ['a missing side file', 'tokenizer.json', (path: string) => rm(path)],
  ])('refuses %s', async (_what, name, change) => {
    const shore = await makeShore();
    const directory = await pulled(shore);
    await change(join(directory, name));
    await expect(verify(shore, await newHome(shore), directory)).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
      fields: { files: [name] },
    });
  });

  test('says how many updates of the home an older recipe was not decided on', async () => {
    const shore = await makeShore();
    const directory = await pulled(shore);
    const home = await newHome(shore);
    expect(await verify(shore, home, directory)).toMatchObject({ beyond: 0 });
    await writeHome(home, await updates(shore, 2));
    expect(await verify(shore, home, directory)).toMatchObject({ beyond: 2, report: { verdict: 'pass' } });
  });

  test('leaves a damaged record and a damaged word of a payload to the daemon that owns the home', async () => {
    const shore = await makeShore();
    const directory = await pulled(shore);
    const home = await newHome(shore);
    const [first, second] = (await updates(shore, 2)) as [Update, Update];
    await writeHome(home, [first, second]);
    await decidedOn(directory, [first, second].map(({ signed }) => signed.id.toString()).sort());
    const parts = [
      [KIND.stored, second.manifest.id],
      [KIND.record, first.signed.id],
    ] as const;
    for (const [kind, id] of parts) {
      await spoil(home, kind, id, flipLast);
      const before = await readFile(await segmentOf(home));
      await expect(verify(shore, home, directory)).rejects.toMatchObject({ code: 'UPDATE_UNKNOWN' });
      expect(await readFile(await segmentOf(home))).toEqual(before);
    }
  });

  test('removes what a killed one left, and leaves nothing when there is no such device', async () => {
    const shore = await makeShore();
    const directory = await pulled(shore);
    const home = await newHome(shore);
    const before = await filesBelow(home.root);
    const left = join(home.root, `.verify.${deadProcess()}-0123456789abcdef.kinmerge-tmp`);
    await mkdir(left);
    await writeFile(join(left, 'S.safetensors'), 'half');
    const absent = process.platform === 'darwin' ? 'dml' : 'coreml';
    await expect(verify(shore, home, directory, absent)).rejects.toMatchObject({ code: 'DEVICE_UNAVAILABLE' });
    await verify(shore, home, directory);
    expect(await filesBelow(home.root)).toEqual(before);
    expect(await readdir(home.root)).not.toContain('verify');
  });
});

describe('the updates that a checkpoint was decided on', () => {
  test('are read also where there are more than may wait', async () => {
    const count = MAX_PENDING_PER_AUTHOR + 40;
    const shore = await makeShore({ budgets: { updates: count, bytes: 2 ** 40 } });
    const home = await newHome(shore);
    const payload = payloadOf(shore, 1);
    const { id } = await manifestOf(payload);
    const chain: SignedRecord[] = [];
    for (let i = 0; i < count; i++) {
      chain.push(follow(testKey(5), shore.charterId, chain.at(-1) ?? null, [], { payload: id }));
    }
    await writeHome(home, []);
    const manifest = await manifestOf(payload);
    await putIn(
      home,
      chain.flatMap((signed) => entriesOf({ signed: signed as Update['signed'], payload, manifest })),
    );
    await writeFile(join(home.blobs, id.toString()), payload);
    const log = await readClosure(home, shore, { frontier: [chain.at(-1)!.id], seal: null });
    expect([log.size, log.pendingSize]).toEqual([count, 0]);
    const half = await readClosure(home, shore, { frontier: [chain[99]!.id], seal: null });
    expect(half.size).toBe(100);
  });

  test('are what the book of the home holds', async () => {
    const shore = await makeShore();
    const home = await newHome(shore);
    const book = await openBook(shore, home);
    const made = await updates(shore, 3);
    for (const { signed, payload } of made) await book.take(signed, payload, 'a peer');
    const log = await readClosure(home, shore, { frontier: book.log.heads(), seal: null });
    expect([...log.held()].map(({ id }) => id.toString()).sort()).toEqual(
      made.map(({ signed }) => signed.id.toString()).sort(),
    );
    await rm(book.payloads.blobs.path(made[0]!.signed.record.payload));
    await expect(readClosure(home, shore, { frontier: book.log.heads(), seal: null })).rejects.toMatchObject({
      code: 'UPDATE_UNKNOWN',
      fields: { missing: [made[0]!.signed.id.toString()] },
    });
    await book.close();
  });
});
