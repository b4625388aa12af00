import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { fixedSource, logSource, type PullResult, reconcile, SyncSession } from '../../../protocols/index.ts';
import { encodeSigned, Log, type SignedRecord } from '../../../src/log/index.ts';
import { follow, testCharter, testId, testKey } from '../log/helpers.ts';

const COMMUNITY = testCharter();
const AUTHORS = 12;

function keep(log: Log, records: readonly SignedRecord[]): void {
  for (const signed of records) {
    log.addRecord(signed);
    log.setPayload(signed.record.payload, 100);
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
  all = history(900, numbers(1));
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
  test('end equal after one round each way, by bytes that go with the difference', async () => {
    const share = fc.constantFrom(0, 0.5, 0.9, 0.99, 0.999, 1);
    await fc.assert(
      fc.asyncProperty(fc.nat(), share, share, fc.nat(900), async (seed, shareA, shareB, cutA) => {
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
      { numRuns: 25 },
    );
  });

  test('a round that is cut at any message is followed by one that asks for the rest alone', async () => {
    const from = logOf(all);
    for (let cut = 0; ; cut++) {
      const to = logOf(all.slice(0, 100));
      let received = 0;
      try {
        received = (await pull(to, from, cut)).received;
        expect(received).toBe(800);
        expect(cut).toBeGreaterThan(4);
        break;
      } catch (error) {
        expect((error as Error).message).toBe('cut');
      }
      const had = to.size;
      expect(await pull(to, from)).toMatchObject({ received: 900 - had, complete: true });
      expect(to.size).toBe(900);
    }
  });

  test('what waits here is not asked for again, nor are logs of which the rest waits compared', async () => {
    const from = logOf(all);
    const to = logOf(all.slice(0, 300));
    for (const signed of all.slice(300, 600)) to.addRecord(signed, 'peer');
    expect(await pull(to, from)).toMatchObject({ received: 300 });
    const waiting = logOf(all.slice(0, 300));
    for (const signed of all.slice(300)) waiting.addRecord(signed, 'peer');
    expect(await pull(waiting, from)).toMatchObject({ received: 0, requests: 1, complete: true });
  });

  test('what the other side said is lacking comes by name, without a comparison', async () => {
    const from = logOf(all);
    const to = logOf(all.slice(0, 890));
    const kinds: number[] = [];
    const session = new SyncSession({ source: sourceOf(from) });
    const named = all.slice(880).map(({ id }) => id);
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
    const options = { source: sourceOf(to), sink: (batch: readonly SignedRecord[]) => keep(to, batch), peer: 'peer' };
    expect(await reconcile((request) => session.answer(request), options)).toMatchObject({ received: 5 });
  });
});
