import { mkdir, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Scrubber } from '../../node/core/scrubber.ts';
import { NodeBlocks } from '../../node/net/node-blocks.ts';
import { generateKey } from '../../src/log/index.ts';
import { eventually, makePond, newHome, payloadOf, silent, updateOf } from '../unit/node/support.ts';
import { startNode, stranger } from './support.ts';

const flip = async (path: string) => {
  const bytes = await readFile(path);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(path, bytes);
};

async function twoNodes() {
  const pond = await makePond();
  const source = await startNode(pond);
  const update = await updateOf(pond, generateKey(), payloadOf(pond, 1));
  await (await stranger(pond, source)).announce(update);
  const home = await newHome(pond);
  const node = await startNode(pond, { home, peers: [source] });
  await eventually(() => expect(node.community.book.log.size).toBe(1));
  const { book } = node.community;
  const scrubber = new Scrubber(
    { note: home.scrub, bytesPerSecond: 2 ** 30 },
    { payloads: book.payloads, logger: silent },
  );
  return { pond, home, node, book, update, scrubber, path: book.payloads.blobs.path(update.manifest.id) };
}

describe('a stored payload that is damaged', () => {
  test.each([
    ['in one byte', flip],
    ['cut short', (path: string) => truncate(path, 10)],
  ])('%s is found in the background and fetched again, while its record stays held', async (_what, damage) => {
    const { book, update, scrubber, path } = await twoNodes();
    expect(await scrubber.pass()).toEqual([]);
    await damage(path);
    expect((await scrubber.pass()).map(String)).toEqual([update.manifest.id.toString()]);
    expect(book.log.state(update.signed.id)).toBe('held');
    await eventually(async () => expect(await readFile(path)).toEqual(Buffer.from(update.payload)));
    await eventually(() => expect(book.payloads.missing().payloads).toEqual([]));
    expect(await scrubber.pass()).toEqual([]);
  });

  test('is never served, and fetched again when a peer asks for it', async () => {
    const { pond, node, book, update, path } = await twoNodes();
    const { charterId, charterBytes } = pond;
    const blocks = new NodeBlocks({ charterId, charterBytes }, { book, shelf: node.community.shelf });
    expect(await blocks.block(update.manifest.id, 0)).toEqual(update.payload);
    await flip(path);
    expect(await blocks.block(update.manifest.id, 0)).toBeUndefined();
    await eventually(async () => expect(await blocks.block(update.manifest.id, 0)).toEqual(update.payload));
  });

  test('goes on after a restart from where it was', async () => {
    const { home, update, scrubber, path } = await twoNodes();
    await flip(path);
    await mkdir(dirname(home.scrub), { recursive: true });
    await writeFile(home.scrub, 'ff'.repeat(36));
    expect(await scrubber.pass()).toEqual([]);
    expect((await stat(home.scrub)).size).toBe(0);
    expect((await scrubber.pass()).map(String)).toEqual([update.manifest.id.toString()]);
  });
});
