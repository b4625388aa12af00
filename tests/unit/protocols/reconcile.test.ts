import { decode } from '@ipld/dag-cbor';
import fc from 'fast-check';
import type { CID } from 'multiformats/cid';
import { beforeAll, describe, expect, test } from 'vitest';
import { fixedSource, logSource, type PullResult, reconcile, SyncSession } from '../../../protocols/index.ts';
import {
  MAX_PAGE_ENTRIES,
  MAX_WANT_ITEMS,
  MAX_WANTED,
  MAX_WHOLE,
  SALT_BYTES,
} from '../../../protocols/sync/constants.ts';
import { tagger, unpackChoices, unpackPrefixes } from '../../../protocols/sync/packing.ts';
import { Wanted } from '../../../protocols/sync/wanted.ts';
import {
  encodeSigned,
  isSealEntry,
  Log,
  type LogEntry,
  MAX_LEAF_IDS,
  payloadOf,
  type Seal,
  type SignedRecord,
  signSeal,
  treeKey,
  treeKeyBytes,
} from '../../../src/log/index.ts';
import { follow, testCharter, testId, testKey } from '../log/helpers.ts';

const COMMUNITY = testCharter();
const AUTHORS = 12;
const RECORDS = 600;
/** Signatures of thousands of records take their time on a busy machine. */
const LONG_MS = 120_000;

function keep(log: Log, entries: readonly LogEntry[]): void {
  for (const entry of entries) {
    if (isSealEntry(entry)) {
      log.seals.add(entry.sealed);
      continue;
    }
    log.addRecord(entry);
    log.setPayload(payloadOf(entry.record)!, 100);
  }
}

function logOf(records: readonly SignedRecord[]): Log {
  const log = new Log({ charter: COMMUNITY.charter, charterId: COMMUNITY.id });
  keep(log, records);
  expect(log.size).toBe(records.length);
  return log;
}

const sourceOf = (log: Log) => logSource({ log, charter: COMMUNITY.id, head: () => null });
const ids = (log: Log) => Array.from(log.held(), ({ id }) => id.toString()).sort();

interface Done extends PullResult {
  readonly bytes: number;
  readonly requests: number;
  readonly told: number;
}

/** One round; `cut` ends it at that request. */
async function pull(to: Log, from: Log, cut = Number.POSITIVE_INFINITY): Promise<Done> {
  let bytes = 0;
  let requests = 0;
  let told = 0;
  const session = new SyncSession({ source: sourceOf(from), onLacks: ({ count }) => (told = count) });
  const ask = async (request: Uint8Array) => {
    if (requests++ >= cut) throw new Error('cut');
    const answer = await session.answer(request);
    bytes += request.length + answer.length;
    return answer;
  };
  const result = await reconcile(ask, { source: sourceOf(to), sink: (batch) => keep(to, batch), peer: 'peer' });
  return { ...result, bytes, requests, told };
}

/** Records of several authors who see a part of each other, parents before children. */
function history(count: number, random: () => number): SignedRecord[] {
  const records: SignedRecord[] = [];
  const last = new Map<number, SignedRecord>();
  for (let i = 0; i < count; i++) {
    const author = Math.floor(random() * AUTHORS);
    const others = records.filter((_, place) => place > records.length - 8 && random() < 0.2);
    const mine = last.get(author) ?? null;
    const record = follow(testKey(author), COMMUNITY.id, mine, others, { payload: testId(i), title: 'x'.repeat(100) });
    last.set(author, record);
    records.push(record);
  }
  return records;
}

/** A small generator of numbers that is the same in every run. */
function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

let all: SignedRecord[];
beforeAll(() => {
  all = history(RECORDS, numbers(1));
});

/** A set that holds the parents of all it holds. */
function closedSubset(share: number, random: () => number): SignedRecord[] {
  const lacking = new Set<string>();
  return all.filter(({ id, record }) => {
    const lacks = random() > share || record.parents.some((parent) => lacking.has(parent.toString()));
    if (lacks) lacking.add(id.toString());
    return !lacks;
  });
}

describe('two logs in any two states', () => {
  test(
    'end equal after one round each way, by bytes that go with the difference',
    async () => {
      const share = fc.constantFrom(0, 0.5, 0.9, 0.99, 0.999, 1);
      await fc.assert(
        fc.asyncProperty(fc.nat(), share, share, fc.nat(RECORDS), async (seed, shareA, shareB, cutA) => {
          const random = numbers(seed);
          const a = logOf(closedSubset(shareA, random).slice(0, cutA));
          const b = logOf(closedSubset(shareB, random));
          const bytesOf = (log: Log, other: Log) =>
            Array.from(log.held()).reduce((sum, r) => sum + (other.get(r.id) ? 0 : encodeSigned(r).length), 0);
          const countOf = (log: Log, other: Log) => Array.from(log.held()).filter(({ id }) => !other.get(id)).length;
          const [lackedByA, lackedByB] = [bytesOf(b, a), bytesOf(a, b)];
          const [countA, countB] = [countOf(b, a), countOf(a, b)];
          const first = await pull(a, b);
          expect(first).toMatchObject({ complete: true, withheld: 0, received: countA, lacking: countB, told: countB });
          const second = await pull(b, a);
          expect(second).toMatchObject({ complete: true, withheld: 0, received: countB, lacking: 0 });
          expect(ids(a)).toEqual(ids(b));
          const difference = countA + countB;
          expect(first.bytes).toBeLessThan(700 + lackedByA * 1.05 + difference * 190);
          expect(second.bytes).toBeLessThan(700 + lackedByB * 1.05 + countB * 190);
          expect(await pull(a, b)).toMatchObject({ equal: true, requests: 1 });
        }),
        { numRuns: 20 },
      );
    },
    LONG_MS,
  );

  test(
    'a round that is cut at any message is followed by one that asks for the rest alone',
    async () => {
      const from = logOf(all);
      for (let cut = 0; ; cut++) {
        const to = logOf(all.slice(0, 200));
        let received = 0;
        try {
          received = (await pull(to, from, cut)).received;
          expect(received).toBe(400);
          expect(cut).toBeGreaterThan(4);
          break;
        } catch (error) {
          expect((error as Error).message).toBe('cut');
        }
        const had = to.size;
        expect(await pull(to, from)).toMatchObject({ received: RECORDS - had, complete: true });
        expect(to.size).toBe(RECORDS);
      }
    },
    LONG_MS,
  );

  test('what waits here is not asked for again, nor are logs of which the rest waits compared', async () => {
    const from = logOf(all);
    const to = logOf(all.slice(0, 300));
    for (const signed of all.slice(300, 500)) to.addRecord(signed, 'peer');
    expect(await pull(to, from)).toMatchObject({ received: 100 });
    const waiting = logOf(all.slice(0, 300));
    for (const signed of all.slice(300)) waiting.addRecord(signed, 'peer');
    expect(await pull(waiting, from)).toMatchObject({ received: 0, requests: 1, complete: true });
  });

  test('what the other side said is lacking comes by name, without a comparison', async () => {
    const from = logOf(all);
    const to = logOf(all.slice(0, 590));
    const kinds: number[] = [];
    const session = new SyncSession({ source: sourceOf(from) });
    const named = all.slice(580).map(({ id }) => id);
    const result = await reconcile(
      (request) => {
        kinds.push(request.length);
        return session.answer(request);
      },
      { source: sourceOf(to), sink: (batch) => keep(to, batch), peer: 'peer', named },
    );
    expect(result).toMatchObject({ received: 10, complete: true, withheld: 0 });
    expect(kinds).toHaveLength(2);
    expect(ids(to)).toEqual(ids(from));
  });

  test('a source may be fixed', async () => {
    const to = logOf([]);
    const fixed = fixedSource(
      COMMUNITY.id,
      all.slice(0, 5).map((signed) => ({ id: signed.id, bytes: encodeSigned(signed) })),
    );
    const session = new SyncSession({ source: fixed });
    const options = { source: sourceOf(to), sink: (batch: readonly LogEntry[]) => keep(to, batch), peer: 'peer' };
    expect(await reconcile((request) => session.answer(request), options)).toMatchObject({ received: 5 });
  });

  test('seals travel after the records, also a second one of a number and another sealer’s signature', async () => {
    const [one, two] = [testKey(800), testKey(801)];
    const sealers = { keys: [one.publicKey, two.publicKey].sort(Buffer.compare), threshold: 1 };
    const made = testCharter({ sealers });
    const records = [follow(testKey(1), made.id, null), follow(testKey(2), made.id, null)];
    const seal: Seal = {
      version: 1,
      charter: made.id,
      number: 1,
      previous: null,
      frontier: [records[0]!.id],
      decisions: Uint8Array.of(0),
      amendments: [],
      revocations: [],
      accepted: 1,
      recipe: testId(1),
    };
    const [left, right] = [0, 1].map(() => new Log({ charter: made.charter, charterId: made.id })) as [Log, Log];
    keep(left, records.slice(0, 1));
    keep(right, records);
    left.seals.add(signSeal(seal, [one]));
    right.seals.add(signSeal(seal, [two]));
    right.seals.add(signSeal({ ...seal, accepted: 0 }, [two]));
    const source = (log: Log) => logSource({ log, charter: made.id, head: () => null });
    const round = async (to: Log, from: Log) => {
      const order: string[] = [];
      const session = new SyncSession({ source: source(from) });
      const sink = (batch: readonly LogEntry[]) => {
        order.push(...batch.map((entry) => (isSealEntry(entry) ? 'seal' : 'record')));
        keep(to, batch);
      };
      await reconcile((request) => session.answer(request), { source: source(to), sink, peer: 'peer' });
      return order;
    };
    expect(await round(left, right)).toEqual(['record', 'seal', 'seal']);
    await round(right, left);
    expect(await round(left, right)).toEqual([]);
    const known = (log: Log) =>
      log.seals
        .withNumber(1)
        .map(({ id, signatures }) => `${id} ${signatures.length}`)
        .sort();
    expect(known(left)).toEqual(known(right));
    expect(known(left)).toHaveLength(2);
  });
});

describe('a round', () => {
  test('gives up a comparison at its bound of requests, and not before', async () => {
    const from = logOf(all);
    const to = logOf(all.slice(0, 200));
    const { requests } = await pull(logOf(all.slice(0, 200)), from);
    // A hello, the wish with the first page, and the pages after it.
    const compares = requests - 2 - (Math.ceil(400 / MAX_PAGE_ENTRIES) - 1);
    expect(compares).toBeGreaterThan(0);
    const bounded = (maxCompares: number) => {
      const session = new SyncSession({ source: sourceOf(from) });
      const options = { source: sourceOf(to), sink: () => {}, peer: 'peer', maxCompares };
      return reconcile((request) => session.answer(request), options);
    };
    expect(await bounded(compares)).toMatchObject({ complete: true, received: 400 });
    await expect(bounded(compares - 1)).rejects.toMatchObject({ code: 'NO_PROGRESS', fields: { peer: 'peer' } });
  });

  test('draws a new salt every time, and keeps to one that is given', async () => {
    const salts: string[] = [];
    const round = async (salt?: Uint8Array) => {
      const session = new SyncSession({ source: sourceOf(logOf([])) });
      const ask = (request: Uint8Array) => {
        salts.push(Buffer.from(decode<{ salt: Uint8Array }>(request).salt).toString('hex'));
        return session.answer(request);
      };
      await reconcile(ask, { source: sourceOf(logOf([])), sink: () => {}, peer: 'peer', salt });
    };
    await round();
    await round();
    await round(new Uint8Array(SALT_BYTES).fill(1));
    expect(salts[0]).not.toBe(salts[1]);
    expect(salts[2]).toBe('01'.repeat(SALT_BYTES));
  });
});

describe('what a client wants', () => {
  const tag = tagger(new Uint8Array(SALT_BYTES));
  const prefixOf = (n: number) => n.toString(16).padStart(4, '0');
  const wishes = (wanted: Wanted) =>
    [...wanted.requests()].map(({ whole, some, last }) => ({
      whole: unpackPrefixes(whole, MAX_WANT_ITEMS).length,
      some: unpackChoices(some, MAX_WANT_ITEMS).length,
      last,
    }));

  test('of more prefixes than it may name is everything', () => {
    const wanted = new Wanted(tag);
    for (let i = 0; i < MAX_WHOLE; i++) wanted.addWhole(prefixOf(i));
    const parts = MAX_WHOLE / MAX_WANT_ITEMS;
    expect(wishes(wanted)).toEqual(
      Array.from({ length: parts }, (_, i) => ({ whole: MAX_WANT_ITEMS, some: 0, last: i === parts - 1 })),
    );
    wanted.addWhole('ffff');
    expect([...wanted.requests()].map(({ whole }) => unpackPrefixes(whole, 9))).toEqual([['']]);
    expect(wanted.take(testId(1))).toBe(true);
  });

  test('of more single ids than it may name is everything', () => {
    const wanted = new Wanted(tag);
    const places = Array.from({ length: MAX_LEAF_IDS }, (_, i) => i);
    for (let i = 0; i < MAX_WANTED / MAX_LEAF_IDS; i++) wanted.addSome({ prefix: prefixOf(i), places }, places);
    expect(wishes(wanted).reduce((sum, { some }) => sum + some, 0)).toBe(MAX_WANTED / MAX_LEAF_IDS);
    expect(wanted.owed).toBe(MAX_WANTED);
    wanted.addSome({ prefix: 'ffff', places: [0] }, [1]);
    expect(wishes(wanted)).toEqual([{ whole: 1, some: 0, last: true }]);
  });

  test('is taken once for each, and owed until then', () => {
    const wanted = new Wanted(tag);
    const [one, other] = [testId(1), testId(2)];
    const digits = (id: CID) => Buffer.from(treeKeyBytes(treeKey(id))).toString('hex');
    const tags = [tag(treeKeyBytes(treeKey(one))), 5];
    wanted.addSome({ prefix: digits(one).slice(0, 3), places: [0, 1] }, tags);
    wanted.addNamed(other);
    expect(wanted.owed).toBe(3);
    expect([wanted.take(one), wanted.take(one), wanted.take(other), wanted.take(testId(3))]).toEqual([
      true,
      false,
      true,
      false,
    ]);
    expect(wanted.owed).toBe(1);
  });
});
