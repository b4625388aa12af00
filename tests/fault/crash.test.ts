import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { FETCH_RETRY_FIRST_MS } from '../../node/net/fetch-attempts.ts';
import { blocks } from '../../protocols/index.ts';
import { encodeSigned, generateKey } from '../../src/log/index.ts';
import { entriesOf, putIn } from '../unit/node/journal-support.ts';
import { eventually, makePond, newHome, payloadOf, updateOf } from '../unit/node/support.ts';
import { startNode, stranger } from './support.ts';

describe('a node that was killed while it fetched a payload', () => {
  test.each([
    ['after it stored the manifest', false],
    ['after it stored the manifest and a part of the blocks', true],
  ])('%s finishes when the record comes again', async (_when, part) => {
    const pond = await makePond();
    const home = await newHome(pond);
    const update = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const { manifest } = update;
    const before = await startNode(pond, { home });
    await before.stop();
    await putIn(home, entriesOf(update).slice(0, 1));
    if (part) await writeFile(join(home.blobs, `${manifest.id}.part`), update.payload.subarray(0, 100));

    const node = await startNode(pond, { home });
    const peer = await stranger(pond, node, {
      // Beside a part the manifest is kept over the restart: nobody need be asked for it.
      blocks: blocks({
        source: { object: async () => (part ? undefined : manifest.bytes), block: async () => update.payload },
      }),
    });
    await peer.announce(update, null);
    await eventually(() => expect(node.community.book.log.state(update.signed.id)).toBe('held'), 10_000);
    await eventually(async () => {
      expect((await node.service.why(update.signed.id.toString())).verdict).toBe('accepted');
    });
    expect(await readdir(home.blobs)).toEqual([manifest.id.toString()]);
  });

  test('a record on disk whose payload was lost gets it back from a peer', async () => {
    const pond = await makePond();
    const source = await startNode(pond);
    const update = await updateOf(pond, generateKey(), payloadOf(pond, 1));
    const peer = await stranger(pond, source);
    await peer.announce(update);
    await eventually(() => expect(source.community.book.log.state(update.signed.id)).toBe('held'));

    const home = await newHome(pond);
    const first = await startNode(pond, { home, peers: [source] });
    await eventually(() => expect(first.community.book.log.size).toBe(1));
    await first.stop();
    await rm(join(home.blobs, update.manifest.id.toString()));

    const again = await startNode(pond, { home, peers: [source] });
    expect(again.community.book.log.state(update.signed.id)).toBe('pending');
    await eventually(() => expect(again.community.book.log.state(update.signed.id)).toBe('held'), 10_000);
    await eventually(async () => {
      expect((await again.service.status()).recipe.id).toBe((await source.service.status()).recipe.id);
    });
  });
});

test('a payload that nobody has is asked for again and again, and taken when somebody has it', async () => {
  const pond = await makePond();
  const node = await startNode(pond);
  const update = await updateOf(pond, generateKey(), payloadOf(pond, 1));
  let asked = 0;
  let has = false;
  const peer = await stranger(pond, node, {
    blocks: blocks({
      source: {
        object: async () => {
          asked++;
          return has ? update.manifest.bytes : undefined;
        },
        block: async () => update.payload,
      },
    }),
  });
  await peer.announce(update, null);
  await eventually(() => expect(asked).toBeGreaterThan(1), 10 * FETCH_RETRY_FIRST_MS);
  expect(node.community.book.log.state(update.signed.id)).toBe('pending');
  has = true;
  await eventually(() => expect(node.community.book.log.state(update.signed.id)).toBe('held'));
  expect(Buffer.from(node.community.book.encoded(update.signed.id)!)).toEqual(Buffer.from(encodeSigned(update.signed)));
});
