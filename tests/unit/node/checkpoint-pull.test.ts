import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { PULL_POLL_MS } from '../../../node/checkpoint/agree.ts';
import { filesToTake, weightsBytes } from '../../../node/checkpoint/files.ts';
import { pullFromPeer, pullLocal } from '../../../node/checkpoint/pull.ts';
import { SIDECAR_FILE } from '../../../node/checkpoint/sidecar.ts';
import { CheckpointShelf } from '../../../node/core/checkpoint-shelf.ts';
import { type CheckpointFile, checkpointId, decodeCheckpoint, encodeCheckpoint } from '../../../src/log/index.ts';
import { testId } from '../log/helpers.ts';
import { altered, CONFIG, deadProcess, makeShore, type Peer, type Shore, startPeer } from './checkpoint-support.ts';
import { keptLog, openCommunity, scratch, silent, updates } from './support.ts';

const FILES = ['config.json', SIDECAR_FILE, 'model.safetensors', 'tokenizer.json'];

interface Puller {
  readonly out: string;
  readonly beside: string;
  pull(peer: Peer, options?: { patienceMs?: number; signal?: AbortSignal }): Promise<unknown>;
}

async function puller(shore: Shore, logger = silent): Promise<Puller> {
  const community = await openCommunity(shore);
  const beside = await scratch();
  const out = join(beside, 'merged');
  return {
    out,
    beside,
    pull: (peer, { patienceMs, signal = new AbortController().signal } = {}) =>
      pullFromPeer(
        { address: peer.address, community: shore.charterId },
        { out, recipe: undefined },
        { community, signal, logger, ...(patienceMs !== undefined && { patienceMs }) },
      ),
  };
}

describe('a pull from a peer', () => {
  test('takes the weights and the side files, and says what they are', async () => {
    const shore = await makeShore();
    const { out, pull } = await puller(shore);
    await pull(await startPeer(shore));
    expect((await readdir(out)).sort()).toEqual(FILES);
    for (const name of await readdir(shore.exported)) {
      expect(Buffer.compare(await readFile(join(out, name)), await readFile(join(shore.exported, name))), name).toBe(0);
    }
  });

  test('dials a peer again that is lost in the middle of a sync, but not one that never answered', async () => {
    const shore = await makeShore();
    const { out, pull } = await puller(shore);
    const peer = await startPeer(shore, { head: { checkpoint: null }, losesSyncs: [1, 2] });
    const pulling = pull(peer);
    await sleep(3 * PULL_POLL_MS);
    peer.say({});
    await pulling;
    expect((await readdir(out)).sort()).toEqual(FILES);
    await rm(out, { recursive: true });
    await expect(pull(await startPeer(shore, { losesSyncs: [0] }))).rejects.toMatchObject({
      code: 'NETWORK_UNREACHABLE',
    });
  });

  test('leaves with the peer what the charter does not name', async () => {
    const shore = await makeShore();
    const directory = await altered(shore, async (path) => {
      await writeFile(join(path, 'modeling_x.py'), 'import os');
      await writeFile(join(path, 'pytorch_model.bin'), 'pickle');
    });
    const peer = await startPeer(shore, { directory });
    const { out, pull } = await puller(shore);
    await pull(peer);
    expect((await readdir(out)).sort()).toEqual(FILES);
    // Two side files of one block each, and the weights.
    expect(new Set(peer.asked.map((block) => block.split(' ')[0])).size).toBe(3);
  });

  test('refuses a side file of other content, and leaves nothing', async () => {
    const shore = await makeShore();
    const directory = await altered(shore, (path) =>
      writeFile(join(path, 'config.json'), CONFIG.replace('hidden', 'hodden')),
    );
    const { beside, pull } = await puller(shore);
    await expect(pull(await startPeer(shore, { directory }))).rejects.toMatchObject({
      code: 'VERIFY_FAILED',
      fields: { files: ['config.json'] },
    });
    expect(await readdir(beside)).toEqual([]);
  });

  test.each([
    ['a side file that is longer', 'config.json', (path: string) => writeFile(path, `${CONFIG} `)],
    ['a side file that is missing', 'tokenizer.json', (path: string) => rm(path)],
    ['weights that are too short', 'model.safetensors', (path: string) => writeFile(path, 'short')],
    ['weights that are too long', 'model.safetensors', (path: string) => writeFile(path, Buffer.alloc(5 << 20))],
  ])('refuses %s before it fetches anything', async (_what, name, change) => {
    const shore = await makeShore();
    const peer = await startPeer(shore, { directory: await altered(shore, (path) => change(join(path, name))) });
    const { beside, pull } = await puller(shore);
    await expect(pull(peer)).rejects.toMatchObject({ code: 'VERIFY_FAILED', fields: { name } });
    expect(peer.asked).toEqual([]);
    expect(await readdir(beside)).toEqual([]);
  });

  test('refuses a file that its manifest makes shorter than the document', async () => {
    const shore = await makeShore();
    const honest = await startPeer(shore);
    const long = await altered(shore, async (path) => writeFile(join(path, 'config.json'), CONFIG.slice(0, 5)));
    const shorter = await startPeer(shore, { directory: long });
    // The right document, but its config.json is the shorter blob.
    const [right, wrong] = await Promise.all([documentOf(shore, honest), documentOf(shore, shorter)]);
    const files = right.files.map((file) =>
      file.name === 'config.json'
        ? { ...file, manifest: wrong.files.find(({ name }) => name === file.name)!.manifest }
        : file,
    );
    const forged = { ...right, files };
    const id = checkpointId(forged);
    const peer = await startPeer(shore, {
      directory: long,
      objects: new Map([[id.toString(), encodeCheckpoint(forged)]]),
      head: { checkpoint: id },
    });
    const { beside, pull } = await puller(shore);
    await expect(pull(peer)).rejects.toMatchObject({ code: 'VERIFY_FAILED', fields: { name: 'config.json' } });
    expect(await readdir(beside)).toEqual([]);
  });

  test('bounds the weights by the tensors of the charter', async () => {
    const { charter, recipe } = await makeShore();
    const { min, max } = weightsBytes(charter);
    const sides: CheckpointFile[] = charter.base.sideFiles.map(({ name, size }, i) => ({
      name,
      size,
      manifest: testId(i),
    }));
    const offer = (size: number) =>
      filesToTake(
        { version: 1, recipe, files: [...sides, { name: 'model.safetensors', size, manifest: testId(9) }] },
        charter,
        'a peer',
      );
    const code = (size: number) => {
      try {
        return offer(size).length;
      } catch (error) {
        return (error as { code: string }).code;
      }
    };
    expect([min - 1, min, max, max + 1].map(code)).toEqual(['VERIFY_FAILED', 3, 3, 'VERIFY_FAILED']);
    expect(max - min).toBeLessThan(128 * 1024);
  });
});

describe('a pull that was cut off', () => {
  test('goes on from the blocks that came', async () => {
    const shore = await makeShore();
    const { logger, lines } = keptLog();
    const { beside, out, pull } = await puller(shore, logger);
    const gone = await startPeer(shore, { block: async (index) => index < 2 });
    await expect(pull(gone)).rejects.toMatchObject({ name: 'ProtocolError' });
    const [kept, ...others] = await readdir(beside);
    expect(others).toEqual([]);
    expect(lines).toContainEqual(expect.objectContaining({ kept: join(beside, kept!) }));
    // The process that pulled is gone, and so is one that pulled another recipe to the same place.
    const dead = deadProcess();
    await rename(join(beside, kept!), join(beside, kept!.replace(`.${process.pid}-`, `.${dead}-`)));
    const other = `.merged.${testId(1)}.${dead}-0123456789abcdef.kinmerge-tmp`;
    await mkdir(join(beside, other));

    const peer = await startPeer(shore);
    await pull(peer);
    expect(await readdir(beside)).toEqual(['merged']);
    const weights = await readFile(join(out, 'model.safetensors'));
    expect(Buffer.compare(weights, await readFile(join(shore.exported, 'model.safetensors')))).toBe(0);
    expect(peer.asked.map((block) => block.split(' ')[1]).sort()).toEqual(['2', '3']);
  });

  test('takes no block that was damaged meanwhile', async () => {
    const shore = await makeShore();
    const { beside, out, pull } = await puller(shore);
    await expect(pull(await startPeer(shore, { block: async (index) => index < 2 }))).rejects.toThrow();
    const [kept] = await readdir(beside);
    const staging = join(beside, kept!.replace(`.${process.pid}-`, `.${deadProcess()}-`));
    await rename(join(beside, kept!), staging);
    const part = (await readdir(staging)).find((name) => name.endsWith('.part'))!;
    const bytes = await readFile(join(staging, part));
    bytes[7]! ^= 1;
    await writeFile(join(staging, part), bytes);
    const peer = await startPeer(shore);
    await pull(peer);
    expect(peer.asked.map((block) => block.split(' ')[1]).sort()).toEqual(['0', '2', '3']);
    const weights = await readFile(join(out, 'model.safetensors'));
    expect(Buffer.compare(weights, await readFile(join(shore.exported, 'model.safetensors')))).toBe(0);
  });

  test('by the user leaves nothing when nothing came', async () => {
    const shore = await makeShore();
    const { beside, pull } = await puller(shore);
    const stop = new AbortController();
    const reason = new Error('interrupted');
    const peer = await startPeer(shore, { head: { checkpoint: null } });
    const pulling = pull(peer, { signal: stop.signal });
    setTimeout(() => stop.abort(reason), 300);
    await expect(pulling).rejects.toBe(reason);
    expect(await readdir(beside)).toEqual([]);
  });
});

describe('the patience of a pull', () => {
  /** Longer than a busy machine takes for a poll. */
  const patienceMs = 2_500;

  test('ends with a peer that has nothing new, however often it signs', async () => {
    const shore = await makeShore();
    const { beside, pull } = await puller(shore);
    const peer = await startPeer(shore, { head: { checkpoint: null } });
    await expect(pull(peer, { patienceMs })).rejects.toMatchObject({ code: 'NETWORK_UNREACHABLE' });
    expect(await readdir(beside)).toEqual([]);
  });

  test('begins anew whenever the head changes', async () => {
    const shore = await makeShore();
    const { pull, out } = await puller(shore);
    // Each head is of more updates than the one before, as of a node that is catching up itself.
    const behind = (held: number) => ({ held, frontier: [testId(held)], recipe: testId(held), checkpoint: null });
    const peer = await startPeer(shore, { head: behind(1) });
    let changes = 1;
    const timer = setInterval(() => peer.say(++changes < 9 ? behind(changes) : {}), 500);
    onTestFinished(() => clearInterval(timer));
    const started = performance.now();
    await pull(peer, { patienceMs });
    expect(performance.now() - started).toBeGreaterThan(patienceMs);
    expect((await readdir(out)).sort()).toEqual(FILES);
  });

  test('begins anew with every block of an update', async () => {
    const shore = await makeShore();
    const made = await updates(shore, 18);
    const community = await openCommunity(shore);
    for (const { signed, payload } of made) await community.book.take(signed, payload, 'a peer');
    const { recipeId: recipe } = await community.settled();
    const { pull, out } = await puller(shore);
    let blocks = 0;
    const peer = await startPeer(shore, {
      held: { updates: made, recipe },
      block: async () => {
        if (blocks++ < made.length) await sleep(700);
        return true;
      },
    });
    const started = performance.now();
    await pull(peer, { patienceMs });
    expect(performance.now() - started).toBeGreaterThan(patienceMs);
    expect((await readdir(out)).sort()).toEqual(FILES);
  });

  test('does not end a download', async () => {
    const shore = await makeShore();
    const { pull, out } = await puller(shore);
    const peer = await startPeer(shore, {
      block: async () => {
        await sleep(700);
        return true;
      },
    });
    const started = performance.now();
    await pull(peer, { patienceMs });
    expect(performance.now() - started).toBeGreaterThan(patienceMs);
    expect((await readdir(out)).sort()).toEqual(FILES);
  });
});

describe('a pull of the own checkpoint', () => {
  async function own(shore: Shore) {
    const view = await (await openCommunity(shore)).settled();
    const at = (path: string) => ({ view, provisional: true, checkpoint: { path, recipe: view.recipeId.toString() } });
    const beside = await scratch();
    const out = join(beside, 'merged');
    const pull = (...paths: string[]) =>
      pullLocal(
        { out, recipe: undefined },
        { charter: shore.charter, finished: async () => at(paths.length > 1 ? paths.shift()! : paths[0]!) },
      );
    return { out, beside, pull };
  }

  test('takes the newer one when the node removed it meanwhile', async () => {
    const shore = await makeShore();
    const { out, pull } = await own(shore);
    const half = await altered(shore, (path) => rm(join(path, 'tokenizer.json')));
    await pull(join(shore.directory, 'gone'), half, shore.exported);
    expect((await readdir(out)).sort()).toEqual(FILES);
  });

  test('says so when it stays incomplete', async () => {
    const shore = await makeShore();
    const { beside, pull } = await own(shore);
    const half = await altered(shore, (path) => rm(join(path, 'tokenizer.json')));
    await expect(pull(half)).rejects.toMatchObject({ code: 'OBJECT_CORRUPT' });
    expect(await readdir(beside)).toEqual([]);
  });

  test('takes only the files of the charter, with their content', async () => {
    const shore = await makeShore();
    const { out, beside, pull } = await own(shore);
    const more = await altered(shore, (path) => writeFile(join(path, 'vocab.txt'), 'a\n'));
    await pull(more);
    expect((await readdir(out)).sort()).toEqual(FILES);
    await rm(out, { recursive: true });
    const changed = await altered(shore, (path) => writeFile(join(path, 'config.json'), '{}'));
    await expect(pull(changed)).rejects.toMatchObject({ code: 'VERIFY_FAILED' });
    expect(await readdir(beside)).toEqual([]);
  });

  test('removes what killed processes left beside it', async () => {
    const shore = await makeShore();
    const { beside, pull } = await own(shore);
    await mkdir(join(beside, `.merged.${deadProcess()}-0123456789abcdef.kinmerge-tmp`));
    await pull(shore.exported);
    expect(await readdir(beside)).toEqual(['merged']);
  });
});

async function documentOf(shore: Shore, peer: Peer) {
  const shelf = new CheckpointShelf();
  const id = await shelf.put({ recipe: shore.recipe.toString(), path: peer.directory });
  return decodeCheckpoint(shelf.object(id)!);
}
