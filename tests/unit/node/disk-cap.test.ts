import { readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import type { Problem } from '../../../node/core/community.ts';
import { type Collectable, DiskCap } from '../../../node/core/disk-cap.ts';
import { KIND } from '../../../node/stores/journal-format.ts';
import { testKey } from '../log/helpers.ts';
import { idsIn } from './journal-support.ts';
import { makePond, newHome, openBook, payloadOf, silent, updateOf, updates } from './support.ts';

async function capped(collectable: (index: number) => Collectable) {
  const pond = await makePond();
  const home = await newHome(pond);
  const book = await openBook(pond, home);
  const made = await updates(pond, 4);
  for (const { signed, payload } of made) await book.take(signed, payload, 'peer');
  const problems: (Problem | null)[] = [];
  let shed = 0;
  const cap = (limit: number, archive?: boolean) =>
    new DiskCap(
      { root: home.root, limit, ...(archive === undefined ? {} : { archive }) },
      {
        book,
        shed: async () => void shed++,
        collectable: (payload) => collectable(made.findIndex(({ manifest }) => manifest.id.equals(payload))),
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
    const { home, cap, used, problems, sheds } = await capped(() => 'declined and sealed');
    expect(await cap(used).enforce()).toBe(used);
    expect([sheds(), problems]).toEqual([0, [null]]);
    expect(await cap(used - 1).enforce()).toBeLessThan(used);
    expect(sheds()).toBe(1);
    expect(await readdir(home.blobs)).toHaveLength(3);
  });

  test('gives up idle parts before payloads', async () => {
    const { pond, home, cap, used } = await capped(() => 'declined and sealed');
    const stray = await updateOf(pond, testKey(9), payloadOf(pond, 9));
    await writeFile(join(home.blobs, `${stray.manifest.id}.part`), Buffer.alloc(1000));
    await cap(used + 500).enforce();
    expect(await readdir(home.blobs)).toHaveLength(4);
  });

  test('keeps the record of what it gave up, over a restart too, and does not ask for it again', async () => {
    const { pond, home, book, made, cap, problems } = await capped((index) =>
      index === 1 ? 'declined and sealed' : 'never',
    );
    await cap(1).enforce();
    expect(problems).toMatchObject([{ code: 'DISK_LIMIT' }]);
    expect(await readdir(home.blobs)).toHaveLength(3);
    expect(book.isStored(made[1]!.manifest.id)).toBe(false);
    await book.close();
    expect(await idsIn(home, KIND.collected)).toEqual([made[1]!.manifest.id.toString()]);
    const again = await openBook(pond, home);
    await again.dropOrphans();
    expect(made.map(({ signed }) => again.log.state(signed.id))).toEqual(['held', 'held', 'held', 'held']);
    expect(again.missing()).toEqual({ records: [], manifests: [], payloads: [] });
    // It may come back.
    await again.blobs.put(made[1]!.manifest.id, made[1]!.payload);
    await again.learnPayload(made[1]!.manifest.id, made[1]!.manifest.manifest);
    await again.close();
    expect(await idsIn(home, KIND.collected)).toEqual([]);
    expect(await idsIn(home, KIND.stored)).toHaveLength(4);
  });

  test.each([
    [undefined, 4],
    [true, 4],
    [false, 0],
  ])('keeps payloads of accepted updates unless archive is off (%s)', async (archive, left) => {
    const { home, cap } = await capped(() => 'accepted, sealed and folded');
    await cap(1, archive).enforce();
    expect(await readdir(home.blobs)).toHaveLength(left);
  });

  test('that cannot be kept takes no payload more, until there is room', async () => {
    const { pond, book, cap, used, problems } = await capped(() => 'never');
    await cap(used - 1).enforce();
    const late = await updateOf(pond, testKey(9), payloadOf(pond, 9));
    expect(await book.take(late.signed, late.payload, 'peer')).toEqual({ outcome: 'pending' });
    expect(book.missing().manifests).toEqual([]);
    await cap(2 * used).enforce();
    expect(problems.at(-1)).toBeNull();
    expect(book.missing().manifests.map(String)).toEqual([late.manifest.id.toString()]);
    expect(await book.take(late.signed, late.payload, 'peer')).toEqual({ outcome: 'known' });
    expect(book.log.state(late.signed.id)).toBe('held');
  });
});
