import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { Judge } from '../../../node/core/judge.ts';
import { RecordBook } from '../../../node/core/record-book.ts';
import { deriveView, type View } from '../../../node/core/view.ts';
import type { HomePaths } from '../../../node/home/paths.ts';
import { type JournalEntry, KIND } from '../../../node/stores/journal-format.ts';
import { removal } from '../../../node/stores/journal-reading.ts';
import type { PayloadCalls } from '../../../node/work/payload-calls.ts';
import { WorkerThread } from '../../../node/work/rpc.ts';
import { encodeSigned } from '../../../src/log/index.ts';
import { testKey } from '../log/helpers.ts';
import { entriesOf, flipLast, manifestsIn, putIn, recordsIn, spoil, zero } from './journal-support.ts';
import {
  deaf,
  eventually,
  keptLog,
  makePond,
  newHome,
  openBook,
  type Pond,
  payloadOf,
  random,
  silent,
  stepsOf,
  type Update,
  updateOf,
  updates,
} from './support.ts';

const author = testKey(1);

/** A home that holds a chain of updates, closed. */
async function filledHome(count: number): Promise<{ pond: Pond; home: HomePaths; made: Update[] }> {
  const pond = await makePond();
  const home = await newHome(pond);
  const book = await openBook(pond, home);
  const made = await updates(pond, count, author);
  for (const { signed, payload } of made) {
    expect(await book.take(signed, payload, 'peer')).toEqual({ outcome: 'held' });
  }
  await book.close();
  return { pond, home, made };
}

/** Takes entries out of the journal, as if a crash had come before they were written. */
const forget = (home: HomePaths, kind: typeof KIND.record | typeof KIND.manifest, { signed, manifest }: Update) =>
  putIn(home, [removal(kind, (kind === KIND.record ? signed.id : manifest.id).multihash.digest)]);
const blobFile = (home: HomePaths, { manifest }: Update) => join(home.blobs, manifest.id.toString());

async function states(pond: Pond, home: HomePaths, made: readonly Update[]) {
  const book = await openBook(pond, home);
  return { book, states: made.map(({ signed }) => book.log.state(signed.id)) };
}

describe('taking records', () => {
  test('one with its payload is held and on disk; again it is known', async () => {
    const { pond, home, made } = await filledHome(1);
    const { book, states: after } = await states(pond, home, made);
    expect(after).toEqual(['held']);
    expect(await book.take(made[0]!.signed, made[0]!.payload, 'peer')).toEqual({ outcome: 'known' });
    expect(Buffer.from(book.encoded(made[0]!.signed.id)!)).toEqual(Buffer.from(encodeSigned(made[0]!.signed)));
  });

  test('one without its payload waits, and nothing of it is on disk', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    let missing = 0;
    const book = await openBook(pond, home, { onMissing: () => missing++ });
    const [update] = await updates(pond, 1);
    expect(await book.take(update!.signed, null, 'peer')).toEqual({ outcome: 'pending' });
    await eventually(() => expect(missing).toBe(1));
    expect([await recordsIn(home), await manifestsIn(home), await readdir(home.blobs)]).toEqual([[], [], []]);
  });

  test('a payload that is not the one of the record is thrown away', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const book = await openBook(pond, home);
    const [update, other] = await updates(pond, 2);
    for (const wrong of [other!.payload, update!.payload.subarray(1), new Uint8Array()]) {
      expect((await book.take(update!.signed, wrong, 'peer')).outcome).toMatch(/pending|known/);
    }
    expect(await readdir(home.blobs)).toEqual([]);
    expect(await book.take(update!.signed, update!.payload, 'peer')).toEqual({ outcome: 'known' });
    expect(book.log.state(update!.signed.id)).toBe('held');
  });

  test('a payload is not kept for a record that cannot be held yet: the disk is not for strangers', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const book = await openBook(pond, home);
    const made = await updates(pond, 2, author);
    expect(await book.take(made[1]!.signed, made[1]!.payload, 'peer')).toEqual({ outcome: 'pending' });
    expect(await readdir(home.blobs)).toEqual([]);
    await book.take(made[0]!.signed, made[0]!.payload, 'peer');
    expect(book.log.missing().manifests.map(String)).toEqual([made[1]!.manifest.id.toString()]);
  });

  test('an invalid one is refused by its code and leaves nothing', async () => {
    const pond = await makePond({ members: true });
    const home = await newHome(pond);
    const book = await openBook(pond, home);
    const [update] = await updates(pond, 1);
    expect(await book.take(update!.signed, update!.payload, 'peer')).toMatchObject({
      outcome: 'invalid',
      code: 'NOT_A_MEMBER',
    });
    expect([await recordsIn(home), await manifestsIn(home), await readdir(home.blobs)]).toEqual([[], [], []]);
    expect(book.log.pendingSize).toBe(0);
  });

  test('an own record that the community would not take is not stored', async () => {
    const pond = await makePond({ budgets: { updates: 1, bytes: 2 ** 30 } });
    const home = await newHome(pond);
    const book = await openBook(pond, home);
    const made = await updates(pond, 2, author);
    await book.take(made[0]!.signed, made[0]!.payload, 'peer');
    await expect(book.append(made[1]!.signed, made[1]!.manifest)).rejects.toMatchObject({
      code: 'UPDATE_INVALID',
      fields: { reason: 'BUDGET_UPDATES' },
    });
    expect(await recordsIn(home)).toHaveLength(1);
  });

  test('one whose payload is done without is on disk when that is', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    const told: string[] = [];
    const book = await openBook(pond, home, { onHeld: (held) => told.push(...held.map(({ id }) => id.toString())) });
    const [{ signed, manifest }] = (await updates(pond, 1, author)) as [Update];
    await book.take(signed, null, 'peer');
    await book.payloads.learnManifest(manifest.id, manifest.bytes, manifest.manifest);
    expect(book.log.state(signed.id)).toBe('pending');
    await book.payloads.renounce(manifest.id);
    expect(told).toEqual([signed.id.toString()]);
    expect(await recordsIn(home)).toHaveLength(1);
    await book.close();
  });

  test('what waits too long is dropped, also when nothing else comes', async () => {
    const pond = await makePond();
    const home = await newHome(pond);
    let now = 0;
    const book = new RecordBook(
      { home, charter: pond.charter, charterId: pond.charterId, now: () => now, limits: { expiryMs: 1_000 } },
      { listener: deaf, logger: silent },
    );
    await book.open();
    const made = await updates(pond, 2, author);
    await book.take(made[1]!.signed, null, 'peer');
    now = 999;
    await book.expire();
    expect(book.log.pendingSize).toBe(1);
    now = 1_000;
    await book.expire();
    expect(book.log.pendingSize).toBe(0);
    expect(await book.take(made[1]!.signed, null, 'peer')).toEqual({ outcome: 'pending' });
  });
});

describe('a start after a crash', () => {
  test('between the payload and its manifest: the record is fetched again and finds the rest', async () => {
    const { pond, home, made } = await filledHome(1);
    await forget(home, KIND.record, made[0]!);
    await forget(home, KIND.manifest, made[0]!);
    const { book, states: after } = await states(pond, home, made);
    expect(after).toEqual(['unknown']);
    await book.take(made[0]!.signed, made[0]!.payload, 'peer');
    expect(book.log.state(made[0]!.signed.id)).toBe('held');
  });

  test('between the manifest and the record: the payload is an orphan until the record comes', async () => {
    const { pond, home, made } = await filledHome(2);
    await forget(home, KIND.record, made[1]!);
    const { book, states: after } = await states(pond, home, made);
    expect(after).toEqual(['held', 'unknown']);
    await book.payloads.dropOrphans();
    expect(await readdir(home.blobs)).toEqual([made[0]!.manifest.id.toString()]);
    await book.take(made[1]!.signed, made[1]!.payload, 'peer');
    expect((await states(pond, home, made)).states).toEqual(['held', 'held']);
  });

  test('a record whose payload is missing waits for it, and so do the records after it', async () => {
    const { pond, home, made } = await filledHome(3);
    await rm(blobFile(home, made[1]!));
    const { book, states: after } = await states(pond, home, made);
    expect(after).toEqual(['held', 'pending', 'pending']);
    expect(book.log.missing().payloads.map(String)).toEqual([made[1]!.manifest.id.toString()]);
    await book.payloads.blobs.put(made[1]!.manifest.id, made[1]!.payload);
    await book.payloads.learnPayload(made[1]!.manifest.id, made[1]!.manifest.manifest);
    expect(made.map(({ signed }) => book.log.state(signed.id))).toEqual(['held', 'held', 'held']);
    expect((await states(pond, home, made)).states).toEqual(['held', 'held', 'held']);
  });

  test('a manifest that is missing or damaged is fetched again when its payload is not there either', async () => {
    const { pond, home, made } = await filledHome(2);
    await forget(home, KIND.manifest, made[0]!);
    await spoil(home, KIND.manifest, made[1]!.manifest.id, flipLast);
    for (const update of made) await rm(blobFile(home, update));
    const { book, states: after } = await states(pond, home, made);
    expect(after).toEqual(['pending', 'pending']);
    for (const { manifest, payload } of made) {
      await book.payloads.learnManifest(manifest.id, manifest.bytes, manifest.manifest);
      await book.payloads.blobs.put(manifest.id, payload);
      await book.payloads.learnPayload(manifest.id, manifest.manifest);
    }
    expect((await states(pond, home, made)).states).toEqual(['held', 'held']);
  });

  test.each([
    ['broken', flipLast],
    ['wiped out', zero],
    ['without a header', (entry: Buffer) => void entry.fill(7, 0, 8)],
  ])('a record that is %s is passed over with a warning; it can come again', async (_what, damage) => {
    const { pond, home, made } = await filledHome(2);
    await spoil(home, KIND.record, made[1]!.signed.id, damage);
    const { logger, lines } = keptLog();
    const book = new RecordBook({ home, charter: pond.charter, charterId: pond.charterId }, { listener: deaf, logger });
    await book.open();
    expect(made.map(({ signed }) => book.log.state(signed.id))).toEqual(['held', 'unknown']);
    expect(lines.map(({ record }) => record)).toEqual([made[1]!.signed.id.toString()]);
    await book.take(made[1]!.signed, made[1]!.payload, 'peer');
    await book.close();
    expect((await states(pond, home, made)).states).toEqual(['held', 'held']);
  });

  test.each([
    ['another record', 'other'],
    ['a record whose signature is forged', 'forged'],
  ])('%s under the id of a record beside damage is not taken', async (_what, content) => {
    const { pond, home, made } = await filledHome(2);
    const forged = encodeSigned(made[1]!.signed).slice();
    forged[forged.length - 1]! ^= 1;
    const body = content === 'forged' ? forged : encodeSigned(made[0]!.signed);
    await putIn(home, [{ kind: KIND.record, digest: made[1]!.signed.id.multihash.digest, body }]);
    await spoil(home, KIND.manifest, made[0]!.manifest.id, flipLast);
    const { book, states: after } = await states(pond, home, made);
    expect(after).toEqual(['held', 'unknown']);
    await book.take(made[1]!.signed, made[1]!.payload, 'peer');
    await book.close();
    expect((await states(pond, home, made)).states).toEqual(['held', 'held']);
  });

  test('files that crashes left under temporary or foreign names are no segments', async () => {
    const { pond, home, made } = await filledHome(1);
    const temp = join(home.journal, '.0000000002.journal.999999999-0123456789abcdef.kinmerge-tmp');
    await writeFile(temp, 'half');
    await writeFile(join(home.journal, 'note.txt'), 'mine');
    expect((await states(pond, home, made)).states).toEqual(['held']);
    expect((await readdir(home.journal)).sort()).toEqual(['0000000001.journal', 'note.txt']);
  });
});

test('3,000 records of a few chains come back whole, whatever order the journal has them in', async () => {
  const pond = await makePond();
  const home = await newHome(pond);
  const payload = payloadOf(pond, 1);
  const entries: JournalEntry[] = [];
  const chains = [1, 2, 3].map((n) => ({ author: testKey(n), last: null as Update | null }));
  for (let i = 0; i < 3_000; i++) {
    const chain = chains[i % chains.length]!;
    const other = chains[(i + 1) % chains.length]!.last;
    const update = await updateOf(pond, chain.author, payload, {
      prev: chain.last?.signed ?? null,
      parents: other === null ? [] : [other.signed],
      title: `${i}`,
    });
    chain.last = update;
    entries.push(...entriesOf(update));
    if (i === 0) {
      await mkdir(home.blobs);
      await writeFile(blobFile(home, update), payload);
    }
  }
  // Children before parents, as where what was damaged came again at the end.
  await putIn(home, entries.reverse());
  const loaded = await openBook(pond, home);
  expect(loaded.log.size).toBe(3_000);
  expect(loaded.log.pendingSize).toBe(0);
  expect(stepsOf(pond, loaded.log)).toHaveLength(1 + 3_000);
}, 60_000);

test('the view follows from the set of records, not from the order they came in', async () => {
  const pond = await makePond();
  const worker = new WorkerThread<PayloadCalls>(new URL('../../../node/work/payload-worker.ts', import.meta.url), {
    charter: pond.home.charter,
  });
  try {
    const independent = await updates(pond, 5);
    const chained = await updateOf(pond, testKey(100), payloadOf(pond, 50), {
      prev: independent[0]!.signed,
      parents: [independent[3]!.signed],
    });
    const copy = await updateOf(pond, testKey(300), independent[1]!.payload, { title: 'a copy' });
    const garbage = await updateOf(
      pond,
      testKey(301),
      Uint8Array.from({ length: 64 }, (_, i) => i),
    );
    const opposite = await updateOf(pond, testKey(302), payloadOf(pond, 2, { flip: true }));
    const all = [...independent, chained, copy, garbage, opposite];
    const views: View[] = [];
    for (let round = 0; round < 6; round++) {
      const draw = random(1_000 + round);
      const shuffled = all.map((update) => ({ update, key: draw() })).sort((a, b) => a.key - b.key);
      const book = await openBook(pond, await newHome(pond));
      for (const { update } of shuffled) await book.take(update.signed, update.payload, 'peer');
      // What came before its parent lacks its payload by design: it is fetched once the chain is known.
      for (const { signed, payload } of all) await book.take(signed, payload, 'peer');
      expect(book.log.size).toBe(all.length);
      const judge = new Judge({ worker, files: book.payloads.blobs });
      // A judge that has seen every prefix must say the same as one that sees the whole at once.
      if (round % 2 === 1) await judge.decide(stepsOf(pond, book.log).slice(0, 5));
      views.push(await deriveView({ charter: pond.charter, charterId: pond.charterId }, { log: book.log, judge }));
    }
    const summary = (view: View) => ({
      order: view.updates.map(({ id }) => id),
      decisions: [...view.decisions.values()],
      recipe: view.recipeId.toString(),
      frontier: view.frontier.map(String).sort(),
    });
    for (const view of views) expect(summary(view)).toEqual(summary(views[0]!));
    const gate = (update: Update) => views[0]!.decisions.get(update.signed.id.toString())!.gate;
    expect(gate(garbage)).toBe('bounds');
    expect([gate(copy), gate(independent[1]!)].sort()).toContain('duplicate');
    expect(views[0]!.accepted.length).toBeGreaterThanOrEqual(5);
  } finally {
    await worker.close();
  }
});
