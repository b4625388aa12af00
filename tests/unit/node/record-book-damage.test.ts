import { cp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { contribute } from '../../../node/core/contribute.ts';
import { IDLE_PART_EXPIRY_MS } from '../../../node/core/payload-store.ts';
import { RecordBook } from '../../../node/core/record-book.ts';
import type { HomePaths } from '../../../node/home/paths.ts';
import { judgeUpdate } from '../../../node/net/gossip-judge.ts';
import { KIND } from '../../../node/stores/journal-format.ts';
import { removal } from '../../../node/stores/journal-reading.ts';
import { encodeSigned } from '../../../src/log/index.ts';
import { testKey } from '../log/helpers.ts';
import { entriesOf, flipLast, manifestsIn, putIn, segmentOf, spoil, zero } from './journal-support.ts';
import {
  deaf,
  eventually,
  makePond,
  newHome,
  openBook,
  openCommunity,
  type Pond,
  payloadOf,
  silent,
  type Update,
  updateOf,
  updates,
  writeModel,
} from './support.ts';

const author = testKey(1);
const file = (directory: string, { manifest }: Update) => join(directory, manifest.id.toString());
const names = async (directory: string) => (await readdir(directory)).sort();
const ids = (made: readonly Update[]) => made.map(({ manifest }) => manifest.id.toString()).sort();

async function filled(count: number, limits?: { perAuthor: number }) {
  const pond = await makePond();
  const home = await newHome(pond);
  const book = await openBook(pond, home);
  const made = await updates(pond, count, author);
  for (const { signed, payload } of made) await book.take(signed, payload, 'peer');
  await book.close();
  const reopen = async () => {
    const again = new RecordBook(
      { home, charter: pond.charter, charterId: pond.charterId, ...(limits && { limits }) },
      { listener: deaf, logger: silent },
    );
    await again.open();
    return again;
  };
  return { pond, home, made, reopen };
}

describe('one damaged file deleted the payloads of all descendants, and the author then signed a seq again', () => {
  test('a damaged manifest is made anew from its payload, and everything is held', async () => {
    const { home, made, reopen } = await filled(2);
    await spoil(home, KIND.manifest, made[0]!.manifest.id, flipLast);
    const book = await reopen();
    await book.payloads.dropOrphans();
    expect(book.log.size).toBe(2);
    expect(book.nextLink(author.publicKey).seq).toBe(2);
    // Asked for, it is there again.
    expect(await book.payloads.manifestBytes(made[0]!.manifest.id)).toEqual(Buffer.from(made[0]!.manifest.bytes));
  });

  test('reading without opening, as verify does, repairs nothing on disk', async () => {
    const { pond, home, made } = await filled(2);
    await spoil(home, KIND.manifest, made[0]!.manifest.id, flipLast);
    await spoil(home, KIND.record, made[1]!.signed.id, flipLast);
    const before = await readFile(await segmentOf(home));
    const book = new RecordBook(
      { home, charter: pond.charter, charterId: pond.charterId },
      { listener: deaf, logger: silent },
    );
    await book.load();
    expect(book.log.size).toBe(1);
    expect(await readFile(await segmentOf(home))).toEqual(before);
  });

  test.each([
    ['within the bounds of what waits', undefined],
    ['beyond them', { perAuthor: 1 }],
  ])(
    'payloads of records that wait for a lost one stay, %s, and nothing is signed meanwhile',
    async (_what, limits) => {
      const { home, made, reopen } = await filled(4, limits);
      await rm(file(home.blobs, made[0]!));
      await putIn(home, [removal(KIND.manifest, made[0]!.manifest.id.multihash.digest)]);
      const book = await reopen();
      await book.payloads.dropOrphans();
      expect(book.log.size).toBe(0);
      expect(await names(home.blobs)).toEqual(ids(made.slice(1)));
      expect(await manifestsIn(home)).toEqual(ids(made.slice(1)));
      expect(() => book.nextLink(author.publicKey)).toThrow(
        expect.objectContaining({
          code: 'UPDATE_INVALID',
          fields: expect.objectContaining({ reason: 'CHAIN_INCOMPLETE' }),
        }),
      );
      expect(book.nextLink(testKey(2).publicKey).seq).toBe(0);
      for (const { signed, payload } of made) await book.take(signed, payload, 'peer');
      await book.payloads.learnManifest(made[0]!.manifest.id, made[0]!.manifest.bytes, made[0]!.manifest.manifest);
      await book.payloads.blobs.put(made[0]!.manifest.id, made[0]!.payload);
      await book.payloads.learnPayload(made[0]!.manifest.id, made[0]!.manifest.manifest);
      for (const { signed, payload } of made) await book.take(signed, payload, 'peer');
      expect(book.log.size).toBe(4);
      expect(book.nextLink(author.publicKey).seq).toBe(4);
    },
  );

  test.each([
    ['with the author still in it', flipLast],
    ['nothing left of it', zero],
  ])('a record of its own that is damaged (%s) stops the author, until the record is back', async (_what, damage) => {
    const { home, made, reopen } = await filled(2);
    await spoil(home, KIND.record, made[1]!.signed.id, damage);
    const book = await reopen();
    await book.payloads.dropOrphans();
    expect(() => book.nextLink(author.publicKey)).toThrow(/not whole/);
    expect(await names(home.blobs)).toEqual(ids(made));
    await book.take(made[1]!.signed, made[1]!.payload, 'peer');
    expect(book.nextLink(author.publicKey).seq).toBe(2);
    await book.close();
    const again = await reopen();
    expect(again.encoded(made[1]!.signed.id)).toEqual(encodeSigned(made[1]!.signed));
    expect(again.nextLink(author.publicKey).seq).toBe(2);
  });

  test('an own record that sync brought and that waits for its payload stops the author', async () => {
    const pond = await makePond();
    const community = await openCommunity(pond);
    const own = await updateOf(pond, community.author, payloadOf(pond, 1));
    await community.book.take(own.signed, null, 'peer');
    const finetune = join(pond.directory, 'tuned.safetensors');
    await writeModel(finetune, 0.1);
    await expect(contribute(community, { finetune })).rejects.toMatchObject({
      code: 'UPDATE_INVALID',
      fields: { reason: 'CHAIN_INCOMPLETE', updates: [own.signed.id.toString()] },
    });
    await community.book.take(own.signed, own.payload, 'peer');
    await community.book.payloads.learnManifest(own.manifest.id, own.manifest.bytes, own.manifest.manifest);
    await community.book.payloads.blobs.put(own.manifest.id, own.payload);
    await community.book.payloads.learnPayload(own.manifest.id, own.manifest.manifest);
    expect((await contribute(community, { finetune })).signed!.record.seq).toBe(1);
  });
});

describe('a failed contribution deleted a payload that a held record names', () => {
  test('one that a record came to name meanwhile stays; one that nobody names goes', async () => {
    const { pond, home, reopen } = await filled(0);
    const book = await reopen();
    const [named, unnamed] = [
      await updateOf(pond, author, payloadOf(pond, 1)),
      await updateOf(pond, author, payloadOf(pond, 2)),
    ];
    for (const { manifest, payload } of [named, unnamed]) {
      const path = join(pond.directory, 'payload');
      await writeFile(path, payload);
      await book.payloads.reserve(manifest, path);
    }
    await book.take(named.signed, named.payload, 'peer');
    await book.payloads.dropOrphans();
    expect(await names(home.blobs)).toEqual(ids([named, unnamed]));
    for (const { manifest } of [named, unnamed]) await book.payloads.release(manifest.id);
    expect(await names(home.blobs)).toEqual(ids([named]));
    await book.close();
    expect(await manifestsIn(home)).toEqual(ids([named]));
    expect((await reopen()).log.size).toBe(1);
  });

  test('of two contributions with one payload, the one that fails takes nothing from the other', async () => {
    const { pond, home, reopen } = await filled(0);
    const book = await reopen();
    const update = await updateOf(pond, author, payloadOf(pond, 1));
    for (let i = 0; i < 2; i++) {
      const path = join(pond.directory, `payload-${i}`);
      await writeFile(path, update.payload);
      await book.payloads.reserve(update.manifest, path);
    }
    await book.payloads.release(update.manifest.id);
    expect(await names(home.blobs)).toEqual(ids([update]));
    await book.append(update.signed, update.manifest);
    await book.payloads.release(update.manifest.id);
    expect(await names(home.blobs)).toEqual(ids([update]));
  });
});

describe('a record that could not be written was held in memory only, for ever', () => {
  async function failing() {
    const pond = await makePond();
    const home = await newHome(pond);
    const held: string[] = [];
    const book = await openBook(pond, home, {
      onHeld: (records) => held.push(...records.map(({ id }) => id.toString())),
    });
    const made = await updates(pond, 3, author);
    const kept = join(pond.directory, 'kept');
    return {
      pond,
      home,
      book,
      made,
      held,
      // The directory is gone: writes fail whoever runs this.
      breakDisk: async () => {
        await cp(home.journal, kept, { recursive: true });
        await rm(home.journal, { recursive: true });
        await writeFile(home.journal, '');
      },
      mendDisk: async () => {
        await rm(home.journal);
        await cp(kept, home.journal, { recursive: true });
      },
      texts: made.map(({ signed }) => signed.id.toString()),
    };
  }

  test('it is written later, before any descendant, and told then', async () => {
    const { pond, home, book, made, held, breakDisk, mendDisk, texts } = await failing();
    await breakDisk();
    await expect(book.take(made[0]!.signed, made[0]!.payload, 'peer')).rejects.toThrow();
    expect(held).toEqual([]);
    await mendDisk();
    for (const { signed, payload } of made.slice(1)) await book.take(signed, payload, 'peer');
    expect(held).toEqual(texts);
    expect((await openBook(pond, home)).log.size).toBe(3);
  });

  test('it is written by the timer when nothing else comes', async () => {
    const { pond, home, book, made, held, breakDisk, mendDisk, texts } = await failing();
    await breakDisk();
    await expect(book.take(made[0]!.signed, made[0]!.payload, 'peer')).rejects.toThrow();
    await expect(book.expire()).rejects.toThrow();
    await mendDisk();
    await book.expire();
    expect(held).toEqual(texts.slice(0, 1));
    expect((await openBook(pond, home)).log.size).toBe(1);
  });

  test('an own record that could not be written has not used its seq', async () => {
    const { book, made, breakDisk, mendDisk } = await failing();
    await breakDisk();
    await book.payloads.blobs.put(made[0]!.manifest.id, made[0]!.payload);
    await expect(book.append(made[0]!.signed, made[0]!.manifest)).rejects.toThrow();
    await mendDisk();
    expect(book.log.size).toBe(0);
    // Whether the file is gone could not be seen then: better no record than two with one seq.
    expect(() => book.nextLink(author.publicKey)).toThrow(/not whole/);
  });
});

test('what waits for something was told once per record: it is told once per turn', async () => {
  const pond = await makePond();
  let told = 0;
  const book = await openBook(pond, await newHome(pond), { onMissing: () => told++ });
  for (const { signed } of await updates(pond, 20)) await book.take(signed, null, 'peer');
  await eventually(() => expect(told).toBeGreaterThan(0));
  expect(told).toBeLessThan(10);
  expect(book.log.pendingSize).toBe(20);
});

describe('disk that peers filled was never freed', () => {
  const part = (home: HomePaths, update: Update) => `${file(home.blobs, update)}.part`;

  test('at a start: payloads, manifests and old parts that no record names go', async () => {
    const { pond, home, made, reopen } = await filled(1);
    const strays = [await updateOf(pond, author, payloadOf(pond, 7)), await updateOf(pond, author, payloadOf(pond, 8))];
    for (const stray of strays) {
      await writeFile(file(home.blobs, stray), stray.payload);
      await putIn(home, entriesOf(stray).slice(0, 1));
      await writeFile(part(home, stray), 'begun');
    }
    const old = new Date(Date.now() - IDLE_PART_EXPIRY_MS - 1000);
    await utimes(part(home, strays[0]!), old, old);
    await writeFile(part(home, made[0]!), 'begun');
    const book = await reopen();
    await book.payloads.dropOrphans();
    await book.close();
    // What was fetched of a payload whose record comes again by sync is gone on with.
    const young = strays[1]!;
    const kept = [
      file('', made[0]!),
      part({ blobs: '' } as HomePaths, made[0]!),
      part({ blobs: '' } as HomePaths, young),
    ];
    expect(await names(home.blobs)).toEqual(kept.sort());
    expect(await manifestsIn(home)).toEqual(ids([made[0]!, young]));
  });

  async function waiting(pond: Pond, limits = {}) {
    const home = await newHome(pond);
    let now = 0;
    const book = new RecordBook(
      {
        home,
        charter: pond.charter,
        charterId: pond.charterId,
        now: () => now,
        limits: { expiryMs: 1_000, ...limits },
      },
      { listener: deaf, logger: silent },
    );
    await book.open();
    return {
      home,
      book,
      pass: () => {
        now += 1_000;
        return book.expire();
      },
    };
  }

  test('a record that expires takes its whole payload and its manifest along; what was begun stays for a day', async () => {
    const pond = await makePond();
    const { home, book, pass } = await waiting(pond);
    const lost = await updateOf(pond, testKey(5), payloadOf(pond, 5));
    const whole = await updateOf(pond, testKey(6), payloadOf(pond, 6), { parents: [lost.signed] });
    const begun = await updateOf(pond, testKey(7), payloadOf(pond, 7));
    await book.take(whole.signed, whole.payload, 'peer');
    await book.take(begun.signed, null, 'peer');
    await book.payloads.learnManifest(begun.manifest.id, begun.manifest.bytes, begun.manifest.manifest);
    await (await book.payloads.blobs.writer(begun.manifest.id, begun.manifest.manifest)).close();
    await writeFile(part(home, begun), 'begun');
    expect(await names(home.blobs)).toHaveLength(2);
    await pass();
    expect(await names(home.blobs)).toEqual([`${begun.manifest.id}.part`]);
    await book.close();
    expect(await manifestsIn(home)).toEqual(ids([begun]));
  });

  test('a record that turns out invalid takes everything along, and a payload that comes for it too late is not kept', async () => {
    const pond = await makePond({ budgets: { updates: 1, bytes: 2 ** 30 } });
    const { home, book } = await waiting(pond);
    const made = await updates(pond, 2, author);
    await book.take(made[1]!.signed, null, 'peer');
    await book.payloads.learnManifest(made[1]!.manifest.id, made[1]!.manifest.bytes, made[1]!.manifest.manifest);
    await writeFile(part(home, made[1]!), 'begun');
    await book.take(made[0]!.signed, made[0]!.payload, 'peer');
    expect(book.log.state(made[1]!.signed.id)).toBe('invalid');
    expect(await names(home.blobs)).toEqual(ids([made[0]!]));
    await book.payloads.blobs.put(made[1]!.manifest.id, made[1]!.payload);
    await book.payloads.learnPayload(made[1]!.manifest.id, made[1]!.manifest.manifest);
    expect(await names(home.blobs)).toEqual(ids([made[0]!]));
    await book.close();
    expect(await manifestsIn(home)).toEqual(ids([made[0]!]));
  });

  test('inline payloads of records that wait keep to a bound; those of records that can be held do not count', async () => {
    const pond = await makePond();
    const lost = await updateOf(pond, testKey(5), payloadOf(pond, 5));
    const size = payloadOf(pond, 10).length;
    const { home, book } = await waiting(pond, { payloadBytes: 2.5 * size });
    for (let i = 10; i < 14; i++) {
      const update = await updateOf(pond, testKey(i), payloadOf(pond, i), { parents: [lost.signed] });
      expect((await book.take(update.signed, update.payload, 'peer')).outcome).toBe('pending');
    }
    expect(await names(home.blobs)).toHaveLength(2);
    const free = await updateOf(pond, testKey(20), payloadOf(pond, 20));
    expect((await book.take(free.signed, free.payload, 'peer')).outcome).toBe('held');
    expect((await stat(file(home.blobs, free))).size).toBe(free.payload.length);
  });
});

test('an equivocator’s gossip was relayed for ever: after the proof it is ignored and not taken', async () => {
  const pond = await makePond();
  const book = await openBook(pond, await newHome(pond));
  const verdicts: string[] = [];
  const unknown: string[] = [];
  const from = { toString: () => 'peer' } as Parameters<typeof judgeUpdate>[2];
  const say = async ({ signed, payload }: Update) => {
    const verdict = await judgeUpdate(book, { record: encodeSigned(signed), payload }, from, ({ id }) =>
      unknown.push(id.toString()),
    );
    verdicts.push(verdict);
    if (verdict === 'accept') await book.take(signed, payload, 'peer');
  };
  const payload = payloadOf(pond, 1);
  for (let i = 0; i < 5; i++) await say(await updateOf(pond, author, payload, { title: `${i}` }));
  expect(verdicts).toEqual(['accept', 'accept', 'ignore', 'ignore', 'ignore']);
  const chain = await updates(pond, 3, author);
  await say(chain[2]!);
  expect(unknown).toEqual([]);
  expect(book.log.size).toBe(2);
  await say(await updateOf(pond, testKey(2), payload));
  expect(verdicts.at(-1)).toBe('accept');
});

test('a closed book takes nothing more', async () => {
  const { made, reopen } = await filled(1);
  const book = await reopen();
  await book.close();
  await expect(book.take(made[0]!.signed, made[0]!.payload, 'peer')).rejects.toMatchObject({ code: 'INTERRUPTED' });
});
