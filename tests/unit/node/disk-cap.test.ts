import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { DiskCap } from '../../../node/core/disk-cap.ts';
import { MIN_DISK_LIMIT } from '../../../node/core/limits.ts';
import type { Problem } from '../../../node/core/problems.ts';
import { KIND } from '../../../node/stores/journal-format.ts';
import { testKey } from '../log/helpers.ts';
import { idsIn } from './journal-support.ts';
import {
  eventually,
  makePond,
  newHome,
  openBook,
  openCommunity,
  payloadOf,
  silent,
  updateOf,
  updates,
} from './support.ts';

async function capped(collectable: (index: number) => boolean) {
  const pond = await makePond();
  const home = await newHome(pond);
  const book = await openBook(pond, home);
  const made = await updates(pond, 4);
  for (const { signed, payload } of made) await book.take(signed, payload, 'peer');
  const problems: (Problem | null)[] = [];
  let shed = 0;
  const cap = (limit: number) =>
    new DiskCap(
      { root: home.root, limit },
      {
        payloads: book.payloads,
        shed: async () => void shed++,
        collectable: () => (payload) => collectable(made.findIndex(({ manifest }) => manifest.id.equals(payload))),
        onProblem: (problem) => problems.push(problem),
        logger: silent,
      },
    );
  const used = await cap(Number.MAX_SAFE_INTEGER).enforce();
  problems.length = 0;
  return { pond, home, book, made, cap, used, problems, sheds: () => shed };
}

describe('a home with a cap', () => {
  test('that is as large as it may be is left alone; one byte less, and something goes', async () => {
    const { home, cap, used, problems, sheds } = await capped(() => true);
    expect(await cap(used).enforce()).toBe(used);
    expect([sheds(), problems]).toEqual([0, [null]]);
    expect(await cap(used - 1).enforce()).toBeLessThan(used);
    expect(sheds()).toBe(1);
    expect(await readdir(home.blobs)).toHaveLength(3);
  });

  test('gives up idle parts before payloads', async () => {
    const { pond, home, cap, used } = await capped(() => true);
    const stray = await updateOf(pond, testKey(9), payloadOf(pond, 9));
    await writeFile(join(home.blobs, `${stray.manifest.id}.part`), Buffer.alloc(1000));
    await cap(used + 500).enforce();
    expect(await readdir(home.blobs)).toHaveLength(4);
  });

  test('keeps the record of what it gave up, over a restart too, and does not ask for it again', async () => {
    const { pond, home, book, made, cap, problems } = await capped((index) => index === 1);
    await cap(1).enforce();
    expect(problems).toMatchObject([{ code: 'DISK_LIMIT' }]);
    expect(await readdir(home.blobs)).toHaveLength(3);
    expect(book.payloads.isStored(made[1]!.manifest.id)).toBe(false);
    await book.close();
    expect(await idsIn(home, KIND.collected)).toEqual([made[1]!.manifest.id.toString()]);
    const again = await openBook(pond, home);
    await again.payloads.dropOrphans();
    expect(made.map(({ signed }) => again.log.state(signed.id))).toEqual(['held', 'held', 'held', 'held']);
    expect(again.payloads.missing()).toEqual({ records: [], manifests: [], payloads: [] });
    // It may come back.
    await again.payloads.blobs.put(made[1]!.manifest.id, made[1]!.payload);
    await again.payloads.learnPayload(made[1]!.manifest.id, made[1]!.manifest.manifest);
    await again.close();
    expect(await idsIn(home, KIND.collected)).toEqual([]);
    expect(await idsIn(home, KIND.stored)).toHaveLength(4);
  });

  test('that cannot be kept takes no payload more, until there is room', async () => {
    const { pond, book, cap, used, problems } = await capped(() => false);
    await cap(used - 1).enforce();
    const late = await updateOf(pond, testKey(9), payloadOf(pond, 9));
    expect(await book.take(late.signed, late.payload, 'peer')).toEqual({ outcome: 'pending' });
    expect(book.payloads.missing().manifests).toEqual([]);
    await cap(2 * used).enforce();
    expect(problems.at(-1)).toBeNull();
    expect(book.payloads.missing().manifests.map(String)).toEqual([late.manifest.id.toString()]);
    expect(await book.take(late.signed, late.payload, 'peer')).toEqual({ outcome: 'known' });
    expect(book.log.state(late.signed.id)).toBe('held');
  });

  test('is held to it from the start, also while one record after another comes', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const ballast = join(home.root, 'ballast');
    await writeFile(ballast, Buffer.alloc(MIN_DISK_LIMIT));
    const community = await openCommunity(pond, { home, diskLimit: MIN_DISK_LIMIT });
    await eventually(() => expect(community.problem?.code).toBe('DISK_LIMIT'));
    const made = await updates(pond, 40);
    for (const { signed, payload } of made) {
      await community.book.take(signed, payload, 'peer');
      await sleep(5);
    }
    expect(await readdir(home.blobs)).toEqual([]);
  });
});
