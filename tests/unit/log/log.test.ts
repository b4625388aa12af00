import fc from 'fast-check';
import type { CID } from 'multiformats/cid';
import { describe, expect, it } from 'vitest';
import {
  type CharterInput,
  canonicalOrder,
  Log,
  type LogOptions,
  MAX_LOOSE_PAYLOADS,
  MAX_PARENTS,
  payloadOf,
  type SignedRecord,
  signRecord,
} from '../../../src/log/index.ts';
import { codeOf, follow, recordOf, testCharter, testId, testKey } from './helpers.ts';

const [a, b, c] = [testKey(1), testKey(2), testKey(3)];
const { id: community } = testCharter();
const texts = (ids: Iterable<CID>): string[] => [...ids].map((id) => id.toString()).sort();
const ids = (records: Iterable<SignedRecord>): string[] => texts([...records].map(({ id }) => id));

function makeLog(changes: Partial<CharterInput> = {}, options: Partial<LogOptions> = {}): Log {
  const made = testCharter(changes);
  return new Log({ charter: made.charter, charterId: made.id, ...options });
}

function addAll(log: Log, records: readonly SignedRecord[], size = 100): void {
  for (const record of records) {
    log.setPayload(payloadOf(record.record)!, size);
    log.addRecord(record);
  }
}

/** Records with made-up ids and signatures: the log itself checks neither. */
function fakeChain(length: number): SignedRecord[] {
  const records: SignedRecord[] = [];
  for (let seq = 0; seq < length; seq++) {
    const prev = seq === 0 ? null : records[seq - 1]!.id;
    const record = recordOf(a, { charter: community, seq, prev, parents: prev === null ? [] : [prev] });
    records.push({ id: testId(seq), record, body: new Uint8Array(), signature: new Uint8Array() });
  }
  return records;
}

describe('held and pending', () => {
  const a0 = follow(a, community, null);
  const b0 = follow(b, community, null, [a0], { payload: testId(2) });
  const a1 = follow(a, community, a0, [b0], { payload: testId(3) });

  it('holds a record once its payload and all its ancestors are there, in any order', () => {
    const log = makeLog();
    expect(log.addRecord(a1).outcome).toBe('pending');
    expect(log.addRecord(b0).outcome).toBe('pending');
    expect(log.addRecord(a0).outcome).toBe('pending');
    expect(log.setPayload(testId(3), 10).held).toEqual([]);
    expect(log.setPayload(testId(2), 10).held).toEqual([]);
    expect(log.size).toBe(0);
    const { held } = log.setPayload(testId(1), 10);
    expect(held.map(({ id }) => id.toString())).toEqual([a0, b0, a1].map(({ id }) => id.toString()));
    expect([...log.held()]).toEqual([a0, b0, a1]);
    expect(log.pendingSize).toBe(0);
    expect(texts(log.heads())).toEqual([a1.id.toString()]);
    expect(texts(log.children(a0.id))).toEqual(ids([b0, a1]));
    expect(log.totals(a1.id)).toEqual({ updates: 2, bytes: 20, revocations: 0 });
    expect(log.addRecord(a0)).toMatchObject({ outcome: 'known', state: 'held' });
  });

  it('says what each record waits for, and what to fetch', () => {
    const log = makeLog();
    log.addRecord(a1, 'peer');
    expect(log.state(a1.id)).toBe('pending');
    expect(log.state(a0.id)).toBe('unknown');
    expect(log.pending()).toMatchObject([
      { source: 'peer', pendingParents: [], missingManifest: true, missingPayload: true },
    ]);
    expect(texts(log.pending()[0]!.missingRecords)).toEqual(ids([a0, b0]));
    expect(texts(log.missing().records)).toEqual(ids([a0, b0]));
    expect(texts(log.missing().manifests)).toEqual(texts([testId(3)]));
    log.addRecord(a0);
    expect(texts(log.pending()[0]!.pendingParents)).toEqual(ids([a0]));
    // The bytes of a1 are not worth fetching before its chain is known to be valid.
    log.setManifest(testId(3), 10);
    expect(log.missing().payloads).toEqual([]);
    expect(log.wantsPayload(testId(3))).toBe(false);
    log.setManifest(testId(1), 10);
    expect(texts(log.missing().payloads)).toEqual(texts([testId(1), testId(3)]));
    expect([1, 2, 3].map((n) => log.wantsPayload(testId(n)))).toEqual([true, false, true]);
    log.setPayload(testId(3), 10);
    expect(log.wantsPayload(testId(3))).toBe(false);
    expect(log.pending()[0]).toMatchObject({ missingPayload: false });
    log.setPayload(testId(1), 10);
    expect(log.state(a0.id)).toBe('held');
    expect(log.pending()).toHaveLength(1);
    expect(texts(log.missing().records)).toEqual(ids([b0]));
  });

  it('never lets an invalid record in, and drops what waits for it', () => {
    const log = makeLog({}, {});
    const bad = signRecord(
      recordOf(b, { charter: community, seq: 1, prev: a0.id, parents: [a0.id], payload: testId(2) }),
      b,
    );
    const child = follow(c, community, null, [bad], { payload: testId(4) });
    const grandchild = follow(a, community, null, [child], { payload: testId(5) });
    expect(log.addRecord(grandchild).outcome).toBe('pending');
    expect(log.addRecord(child).outcome).toBe('pending');
    expect(log.addRecord(bad).outcome).toBe('pending');
    const result = log.addRecord(a0);
    expect(result.outcome).toBe('pending');
    expect(result.change.dropped.map(({ signed, reason, code }) => [signed.id.toString(), reason, code])).toEqual([
      [bad.id.toString(), 'invalid', 'CHAIN_BROKEN'],
      [child.id.toString(), 'invalid', 'ANCESTOR_INVALID'],
      [grandchild.id.toString(), 'invalid', 'ANCESTOR_INVALID'],
    ]);
    expect(log.state(bad.id)).toBe('invalid');
    expect(log.addRecord(bad)).toMatchObject({ outcome: 'invalid', code: 'CHAIN_BROKEN' });
    expect(log.addRecord(grandchild)).toMatchObject({ outcome: 'invalid', code: 'ANCESTOR_INVALID' });
    expect(log.pendingSize).toBe(1);
    log.setPayload(testId(1), 10);
    expect([...log.held()]).toEqual([a0]);
  });

  it('judges members, budgets and sizes as soon as they can be judged', () => {
    const made = testCharter({ membership: [a.publicKey], budgets: { updates: 2, bytes: 150 } });
    const log = new Log({ charter: made.charter, charterId: made.id });
    const r0 = follow(a, made.id, null);
    const r1 = follow(a, made.id, r0, [], { payload: testId(2) });
    const r1small = follow(a, made.id, r0, [], { payload: testId(3) });
    const r2 = follow(a, made.id, r1small, [], { payload: testId(4) });
    expect(log.addRecord(follow(b, made.id, null))).toMatchObject({ outcome: 'invalid', code: 'NOT_A_MEMBER' });
    expect(log.addRecord(a0)).toMatchObject({ outcome: 'invalid', code: 'OTHER_CHARTER' });
    for (const record of [r2, r1small, r1, r0]) expect(log.addRecord(record).outcome).toBe('pending');
    log.setManifest(testId(3), 50);
    log.setManifest(testId(2), 51);
    const { dropped } = log.setManifest(testId(1), 100);
    expect(dropped.map(({ code }) => code).sort()).toEqual(['BUDGET_BYTES', 'BUDGET_UPDATES']);
    expect(texts(log.pending().map(({ signed }) => signed.id))).toEqual(ids([r0, r1small]));
    expect(log.addRecord(follow(a, made.id, null, [], { payload: testId(9) })).outcome).toBe('pending');
    expect(log.setManifest(testId(9), 0).dropped).toMatchObject([{ code: 'PAYLOAD_EMPTY' }]);
  });

  it('walks ancestors, and finds what a peer lacks', () => {
    const log = makeLog();
    addAll(log, [a0, b0, a1]);
    expect(ids(log.ancestors([b0.id]))).toEqual(ids([a0, b0]));
    expect(ids(log.ancestors([testId(77)]))).toEqual([]);
    expect([...log.heldExcept([b0.id, testId(77)])]).toEqual([a1]);
    expect([...log.heldExcept([])]).toEqual([a0, b0, a1]);
  });
});

describe('the author’s next record', () => {
  it('continues the chain and joins the heads', () => {
    const log = makeLog();
    expect(log.nextLink(a.publicKey)).toEqual({ seq: 0, prev: null, parents: [] });
    const a0 = follow(a, community, null);
    const b0 = follow(b, community, null, [a0]);
    addAll(log, [a0, b0]);
    const link = log.nextLink(a.publicKey);
    expect(link).toMatchObject({ seq: 1, prev: a0.id });
    expect(texts(link.parents)).toEqual(ids([a0, b0]));
    const next = signRecord(recordOf(a, { charter: community, ...link }), a);
    expect(log.addRecord(next).outcome).toBe('held');
    expect(texts(log.heads())).toEqual(ids([next]));
  });

  it('names at most 16 parents, its own record among them', () => {
    const log = makeLog();
    const heads = Array.from({ length: 20 }, (_, i) => follow(testKey(10 + i), community, null));
    addAll(log, heads);
    const last = heads[19]!;
    const link = log.nextLink(last.record.author);
    expect(link.parents).toHaveLength(MAX_PARENTS);
    expect(texts(link.parents)).toContain(last.id.toString());
    const signed = signRecord(recordOf(testKey(29), { charter: community, ...link }), testKey(29));
    expect(log.addRecord(signed).outcome).toBe('held');
    expect(log.heads()).toHaveLength(5);
  });
});

describe('equivocation', () => {
  const a0 = follow(a, community, null);
  const a1 = follow(a, community, a0, [], { title: 'one' });
  const a1x = follow(a, community, a0, [], { title: 'other' });
  const a2 = follow(a, community, a1);
  const b0 = follow(b, community, null, [a2]);

  it('keeps both records as proof and flags them and the author’s later ones', () => {
    const log = makeLog();
    addAll(log, [a0, a1, a2, b0]);
    expect(log.equivocations()).toEqual([]);
    const { change } = log.addRecord(a1x);
    expect(change.equivocations).toMatchObject([{ seq: 1 }]);
    expect(log.equivocations()).toHaveLength(1);
    expect(ids(log.equivocations()[0]!.records)).toEqual(ids([a1, a1x]));
    expect([a0, a1, a1x, a2, b0].map(({ id }) => log.isEquivocated(id))).toEqual([false, true, true, true, false]);
    expect(log.size).toBe(5);
    expect(codeOf(() => log.nextLink(a.publicKey))).toBe('AUTHOR_EQUIVOCATED');
    expect(log.nextLink(b.publicKey).seq).toBe(1);
  });

  it('does not flag for a record that is not held', () => {
    const log = makeLog();
    addAll(log, [a0, a1]);
    log.addRecord(follow(a, community, a0, [], { payload: testId(50) }));
    expect(log.isEquivocated(a1.id)).toBe(false);
    log.setPayload(testId(50), 1);
    expect(log.isEquivocated(a1.id)).toBe(true);
  });
});

describe('independence of the order of arrival', () => {
  const keys = [a, b, c];
  /** Chains of three authors that name each other's records, with forks. */
  const histories = fc
    .array(fc.record({ author: fc.nat(2), fork: fc.nat(9), others: fc.array(fc.nat(50), { maxLength: 3 }) }), {
      minLength: 1,
      maxLength: 14,
    })
    .map((steps) => {
      const made: SignedRecord[] = [];
      const tips: (SignedRecord | null)[] = [null, null, null];
      const before: (SignedRecord | null)[] = [null, null, null];
      steps.forEach(({ author, fork, others }, i) => {
        const prev = fork === 0 ? before[author]! : tips[author]!;
        const parents = made.length === 0 ? [] : others.map((n) => made[n % made.length]!);
        const record = follow(keys[author]!, community, prev, parents, { payload: testId(i % 5), note: `${i}` });
        before[author] = prev;
        tips[author] = record;
        made.push(record);
      });
      return made;
    });

  it('gives the same held set, heads, flags, totals and canonical order', () => {
    fc.assert(
      fc.property(
        histories.chain((records) => {
          const events = [
            ...records.map((record) => ({ record })),
            ...[0, 1, 2, 3].map((payload) => ({ payload })), // payload 4 never comes
          ];
          const all = { minLength: events.length };
          return fc.tuple(fc.shuffledSubarray(events, all), fc.shuffledSubarray(events, all));
        }),
        ([one, two]) => {
          const [first, second] = [one, two].map((events) => {
            const log = makeLog();
            for (const event of events) {
              if ('record' in event) log.addRecord(event.record);
              else log.setPayload(testId(event.payload), 10 + event.payload);
            }
            const held = [...log.held()];
            const seen = new Set<string>();
            for (const { id, record } of held) {
              for (const parent of record.parents) expect(seen.has(parent.toString())).toBe(true);
              seen.add(id.toString());
            }
            return {
              held: ids(held),
              pending: ids(log.pending().map(({ signed }) => signed)),
              heads: log.heads().map(String),
              flagged: ids(held.filter(({ id }) => log.isEquivocated(id))),
              forks: log
                .equivocations()
                .map(({ seq, records }) => `${seq} ${ids(records)}`)
                .sort(),
              totals: held.map(({ id }) => `${id} ${log.totals(id)?.updates} ${log.totals(id)?.bytes}`).sort(),
              order: canonicalOrder(held, community.bytes).map(String),
            };
          });
          expect(second).toEqual(first);
        },
      ),
      { numRuns: 60 },
    );
  });
});

describe('bounds of the pending pool', () => {
  const limits = { perAuthor: 3, perSource: 4, total: 6, expiryMs: 1000 };
  let clock = 0;
  const bounded = (): Log => makeLog({}, { limits, now: () => clock });
  const chainOf = (key: typeof a, length: number): SignedRecord[] => {
    const chain: SignedRecord[] = [];
    for (let i = 0; i < length; i++) chain.push(follow(key, community, chain.at(-1) ?? null));
    return chain;
  };

  it('keeps the lowest seqs of an author', () => {
    const log = bounded();
    const chain = chainOf(a, 5);
    for (const i of [4, 3, 2]) expect(log.addRecord(chain[i]!, 'p').outcome).toBe('pending');
    const { outcome, change } = log.addRecord(chain[1]!, 'q');
    expect(outcome).toBe('pending');
    expect(change.dropped).toMatchObject([{ signed: { id: chain[4]!.id }, reason: 'evicted' }]);
    expect(log.addRecord(chain[4]!, 'q').outcome).toBe('refused');
    expect(log.pendingSize).toBe(3);
  });

  it('refuses what is above a source’s share, and never for that what can be held at once', () => {
    const log = bounded();
    log.setPayload(testId(99), 1);
    for (let i = 0; i < 4; i++)
      expect(log.addRecord(follow(testKey(10 + i), community, null), 'p').outcome).toBe('pending');
    expect(log.addRecord(follow(testKey(20), community, null), 'p').outcome).toBe('refused');
    expect(log.addRecord(follow(testKey(20), community, null), 'q').outcome).toBe('pending');
    expect(log.addRecord(follow(testKey(21), community, null, [], { payload: testId(99) }), 'p').outcome).toBe('held');
  });

  it('makes room at the cost of the source with the most records', () => {
    const log = bounded();
    const flood = [0, 1, 2, 3].map((i) => follow(testKey(10 + i), community, null));
    for (const record of flood) log.addRecord(record, 'flood');
    log.addRecord(follow(testKey(20), community, null), 'q');
    log.addRecord(follow(testKey(21), community, null), 'r');
    const { outcome, change } = log.addRecord(follow(testKey(22), community, null), 'q');
    expect(outcome).toBe('pending');
    expect(change.dropped).toMatchObject([{ signed: { id: flood[0]!.id }, reason: 'evicted' }]);
    expect(log.pendingSize).toBe(6);
    expect(log.addRecord(follow(testKey(23), community, null), 'flood').outcome).toBe('refused');
  });

  it('drops what waited too long; it may come again', () => {
    const log = bounded();
    clock = 0;
    const record = follow(a, community, null);
    log.addRecord(record, 'p');
    clock = 999;
    expect(log.expire().dropped).toEqual([]);
    clock = 1000;
    expect(log.expire().dropped).toMatchObject([{ signed: { id: record.id }, reason: 'expired' }]);
    expect(log.pendingSize).toBe(0);
    expect(log.state(record.id)).toBe('unknown');
    log.setPayload(record.record.payload, 1);
    expect(log.addRecord(record, 'p').outcome).toBe('held');
  });

  it('forgets the oldest of too many payloads that no record names', () => {
    const log = makeLog();
    for (let i = 0; i <= MAX_LOOSE_PAYLOADS; i++) log.setPayload(testId(i), 10);
    expect(log.payloadSize(testId(0))).toBeUndefined();
    expect(log.payloadSize(testId(1))).toBe(10);
  });
});

describe('long histories', () => {
  const length = 100_000;
  const limits = { perAuthor: length, perSource: length, total: length, expiryMs: 1e9 };
  const chain = fakeChain(length);

  it('takes a chain of 100,000 records in order, and walks it', () => {
    const log = makeLog({}, { limits });
    log.setPayload(testId(1), 10);
    for (const record of chain) log.addRecord(record);
    expect(log.size).toBe(length);
    expect([...log.ancestors(log.heads())]).toHaveLength(length);
    expect(log.chain(a.publicKey)).toHaveLength(length);
  }, 60_000);

  it('cascades through 100,000 records that wait for the first', () => {
    const log = makeLog({}, { limits });
    for (let i = length - 1; i > 0; i--) log.addRecord(chain[i]!);
    log.setPayload(testId(1), 10);
    expect(log.size).toBe(0);
    expect(log.addRecord(chain[0]!).change.held).toHaveLength(length);
    expect(log.pendingSize).toBe(0);
  }, 60_000);

  it('drops 100,000 records that wait for one that turns out invalid', () => {
    const log = makeLog({}, { limits });
    for (const record of chain.slice(1)) log.addRecord(record);
    const first = { ...chain[0]!, record: { ...chain[0]!.record, charter: testId(5) } };
    expect(log.addRecord(first).change.dropped).toHaveLength(length - 1);
    expect(log.pendingSize).toBe(0);
    expect(log.missing()).toEqual({ records: [], manifests: [], payloads: [] });
  }, 60_000);
});
