import { describe, expect, it } from 'vitest';
import { type CharterInput, Log, type LogOptions, type SignedUpdate, signSeal } from '../../../src/log/index.ts';
import { follow, testCharter, testId, testKey } from './helpers.ts';

const [a, b] = [testKey(1), testKey(2)];
const BYTES = 100;

function makeLog(
  changes: Partial<CharterInput> = {},
  options: Partial<LogOptions> = {},
): { log: Log; of: typeof follow } {
  const { charter, id } = testCharter(changes);
  return {
    log: new Log({ charter, charterId: id, ...options }),
    of: (author, _, ...rest) => follow(author, id, ...rest),
  };
}

function add(log: Log, record: SignedUpdate) {
  log.setPayload(record.record.payload, BYTES);
  return log.addRecord(record, 'a peer');
}

const community = testId(0);

describe('an equivocator’s further records', () => {
  it('are found and told once per seq, however many records share it', () => {
    const { log, of } = makeLog();
    const told = [];
    for (let i = 0; i < 50; i++) {
      told.push(...add(log, of(a, community, null, [], { title: `${i}` })).change.equivocations);
    }
    expect(told).toHaveLength(1);
    expect(told[0]!.records).toHaveLength(2);
  });

  it('are superfluous from the proven seq on, and not before it: an earlier fork declines more', () => {
    const { log, of } = makeLog();
    const chain: SignedUpdate[] = [];
    for (let i = 0; i < 4; i++) chain.push(of(a, community, chain.at(-1) ?? null));
    for (const record of chain) add(log, record);
    const fork = of(a, community, chain[1]!, [], { title: 'other' });
    expect(log.isSuperfluous(fork)).toBe(false);
    add(log, fork);
    const third = of(a, community, chain[1]!, [], { title: 'third' });
    const later = of(a, community, chain[3]!);
    const earlier = of(a, community, null, [], { title: 'other first' });
    expect([third, later, earlier].map((record) => log.isSuperfluous(record))).toEqual([true, true, false]);
    expect(log.isSuperfluous(of(b, community, null))).toBe(false);
    add(log, earlier);
    expect(chain.map(({ id }) => log.isEquivocated(id))).toEqual([true, true, true, true]);
  });

  it('fill the author’s budget once over all branches, in updates', () => {
    const { log, of } = makeLog({ budgets: { updates: 5, bytes: 2 ** 40 } });
    const outcomes = [];
    for (let i = 0; i < 8; i++) outcomes.push(add(log, of(a, community, null, [], { title: `${i}` })).outcome);
    expect(outcomes).toEqual([...Array(5).fill('held'), ...Array(3).fill('refused')]);
    // Waiting ones count as well.
    const other = makeLog({ budgets: { updates: 5, bytes: 2 ** 40 } });
    for (let i = 0; i < 2; i++) add(other.log, other.of(b, community, null, [], { title: `${i}` }));
    const waiting = [];
    for (let i = 0; i < 5; i++) {
      const record = other.of(b, community, null, [], { title: `w${i}`, payload: testId(100 + i) });
      waiting.push(other.log.addRecord(record, 'a peer').outcome);
    }
    expect(waiting).toEqual(['pending', 'pending', 'pending', 'refused', 'refused']);
  });

  it('fill the author’s budget once over all branches, in bytes', () => {
    const { log, of } = makeLog({ budgets: { updates: 1000, bytes: 3 * BYTES } });
    const outcomes = [];
    for (let i = 0; i < 5; i++) outcomes.push(add(log, of(a, community, null, [], { title: `${i}` })).outcome);
    expect(outcomes).toEqual(['held', 'held', 'held', 'refused', 'refused']);
  });

  it('come all the same where another author built on them, and only then', () => {
    const { log, of } = makeLog({ budgets: { updates: 2, bytes: 2 ** 40 } });
    for (let i = 0; i < 2; i++) add(log, of(a, community, null, [], { title: `${i}` }));
    const excess = of(a, community, null, [], { title: 'excess' });
    expect(add(log, excess).outcome).toBe('refused');
    const own = of(a, community, excess, [], { payload: testId(7) });
    log.addRecord(own);
    expect(add(log, excess).outcome).toBe('refused');
    const child = of(b, community, null, [excess]);
    expect(add(log, child).outcome).toBe('pending');
    expect(add(log, excess).outcome).toBe('held');
    expect(log.state(child.id)).toBe('held');
  });

  it('come also where another author built on the end of a chain of them', () => {
    const { log, of } = makeLog({ budgets: { updates: 3, bytes: 2 ** 40 } });
    for (let i = 0; i < 3; i++) add(log, of(a, community, null, [], { title: `${i}` }));
    const first = of(a, community, null, [], { title: 'excess' });
    const second = of(a, community, first);
    const child = of(b, community, null, [second]);
    for (const record of [child, second]) expect(add(log, record).outcome).toBe('pending');
    expect(add(log, first).outcome).toBe('held');
    expect(log.state(child.id)).toBe('held');
  });

  it('come also where a seal names the end of a chain of them: it would wait for ever', () => {
    const sealer = testKey(9);
    const rules = {
      budgets: { updates: 3, bytes: 2 ** 40 },
      sealers: { keys: [sealer.publicKey], threshold: 1 },
    };
    const { log, of } = makeLog(rules);
    for (let i = 0; i < 3; i++) add(log, of(a, community, null, [], { title: `${i}` }));
    const first = of(a, community, null, [], { title: 'excess' });
    const second = of(a, community, first);
    expect(add(log, second).outcome).toBe('refused');
    const seal = {
      version: 1,
      charter: testCharter(rules).id,
      number: 1,
      previous: null,
      frontier: [second.id],
      decisions: Uint8Array.of(1, 1),
      amendments: [],
      revocations: [],
      accepted: 0,
      recipe: testId(1),
    } as const;
    log.seals.add(signSeal(seal, [sealer]));
    expect(add(log, second).outcome).toBe('pending');
    expect(add(log, first).outcome).toBe('held');
    expect(log.state(second.id)).toBe('held');
  });

  it('stay held at the next start, in whatever order they are read', () => {
    const { log, of } = makeLog({ budgets: { updates: 2, bytes: 2 ** 40 } });
    for (let i = 0; i < 2; i++) add(log, of(a, community, null, [], { title: `${i}` }));
    const excess = of(a, community, null, [], { title: 'excess' });
    const child = of(b, community, null, [excess]);
    for (const record of [child, excess]) add(log, record);
    const again = makeLog({ budgets: { updates: 2, bytes: 2 ** 40 } }).log;
    again.setPayload(child.record.payload, BYTES);
    for (const record of log.held()) again.addRecord(record);
    expect([...again.held()].map(({ id }) => id)).toEqual([...log.held()].map(({ id }) => id));
  });

  it('are no parents of the next record, which would keep them for ever', () => {
    const { log, of } = makeLog();
    const good = of(b, community, null);
    add(log, good);
    for (let i = 0; i < 20; i++) add(log, of(a, community, null, [], { title: `${i}` }));
    expect(log.nextLink(b.publicKey)).toEqual({ seq: 1, prev: good.id, parents: [good.id] });
  });
});

describe('payloads of waiting records', () => {
  const limits = { payloadBytes: 250 };
  const chain = (of: typeof follow, length: number) => {
    const made: SignedUpdate[] = [];
    for (let i = 0; i < length; i++) made.push(of(a, community, made.at(-1) ?? null, [], { payload: testId(100 + i) }));
    return made;
  };

  it('are asked for within a bound, except the one that makes its record held', () => {
    const { log, of } = makeLog({}, { limits });
    const records = chain(of, 5);
    for (const record of [...records].reverse()) log.addRecord(record);
    for (const { record } of records) log.setManifest(record.payload, BYTES);
    const wanted = () => log.missing().payloads.map(String);
    const payloads = records.map(({ record }) => record.payload.toString());
    // The first of the chain, and two of those that wait for it.
    expect(wanted()[0]).toBe(payloads[0]);
    expect(wanted()).toHaveLength(3);
    log.setPayload(records[3]!.record.payload, BYTES);
    log.setPayload(records[4]!.record.payload, BYTES);
    expect(wanted()).toEqual([payloads[0]]);
    expect(log.hasPayloadRoom(records[2]!, BYTES)).toBe(false);
    expect(log.hasPayloadRoom(records[2]!, 50)).toBe(true);
    expect(log.hasPayloadRoom(records[0]!, BYTES)).toBe(true);
    for (const place of [0, 1, 2]) log.setPayload(records[place]!.record.payload, BYTES);
    expect(log.size).toBe(5);
    expect(log.hasPayloadRoom(of(b, community, null, [of(b, community, null)]), 250)).toBe(true);
  });

  it('give their room back when the record is dropped or the bytes are gone', () => {
    let now = 0;
    const { log, of } = makeLog({}, { limits: { ...limits, expiryMs: 10 }, now: () => now });
    const records = chain(of, 4);
    for (const record of records.slice(1)) log.addRecord(record);
    for (const { record } of records.slice(1, 3)) log.setPayload(record.payload, BYTES);
    expect(log.hasPayloadRoom(records[3]!, BYTES)).toBe(false);
    log.forgetPayload(records[1]!.record.payload);
    expect(log.hasPayloadRoom(records[3]!, BYTES)).toBe(true);
    log.setPayload(records[1]!.record.payload, BYTES);
    expect(log.hasPayloadRoom(records[3]!, BYTES)).toBe(false);
    now = 10;
    log.expire();
    expect(log.hasPayloadRoom(records[3]!, 250)).toBe(true);
    expect(log.namesPayload(records[1]!.record.payload)).toBe(false);
  });
});

it('the waiting records of an author, and the first of all', () => {
  const { log, of } = makeLog();
  const first = of(a, community, of(a, community, null));
  const second = of(b, community, of(b, community, null));
  for (const record of [first, second]) log.addRecord(record);
  expect(log.waitingOf(b.publicKey)).toEqual([second]);
  expect(log.waitingOf(testKey(9).publicKey)).toEqual([]);
  expect(log.pending(1).map(({ signed }) => signed)).toEqual([first]);
  expect(log.pending(0)).toEqual([]);
});
