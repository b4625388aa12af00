import { decode } from '@ipld/dag-cbor';
import type { Libp2p, PeerId } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import type { CID } from 'multiformats/cid';
import { beforeAll, describe, expect, test } from 'vitest';
import { isBreach, logSource, type RecordSink, SYNC_PROTOCOL, type Sync, sync } from '../../../protocols/index.ts';
import { MAX_KNOWN, MAX_PAGE_RECORDS, MAX_RECORDS_PER_ROUND, REQUEST_RATE } from '../../../protocols/sync/constants.ts';
import { tipsDigest } from '../../../protocols/sync/schema.ts';
import { encodeSigned, Log, payloadOf, type SignedRecord } from '../../../src/log/index.ts';
import { follow, testCharter, testId, testKey } from '../../unit/log/helpers.ts';
import { answerRaw, cbor, connect, failure, startNode, startRawPeer } from './support.ts';

const COMMUNITY = testCharter();
const HEAD = Uint8Array.from([1, 2, 3]);

type SyncNode = Libp2p<{ sync: Sync }>;

interface Member {
  readonly node: SyncNode;
  readonly log: Log;
  readonly sink: RecordSink;
  readonly batches: number[];
  readonly hellos: { peer: PeerId; ahead: boolean; head: Uint8Array | null }[];
}

function keep(log: Log, records: readonly SignedRecord[]): void {
  for (const signed of records) {
    log.addRecord(signed);
    log.setPayload(payloadOf(signed.record)!, 100);
  }
}

async function member(
  records: readonly SignedRecord[] = [],
  head: Uint8Array | null = null,
  maxRecords = MAX_RECORDS_PER_ROUND,
): Promise<Member> {
  const log = new Log({ charter: COMMUNITY.charter, charterId: COMMUNITY.id });
  keep(log, records);
  expect(log.size).toBe(records.length);
  const hellos: Member['hellos'] = [];
  const source = logSource({ log, charter: COMMUNITY.id, head: () => head });
  const node: SyncNode = await startNode<{ sync: Sync }>({
    sync: sync({
      source,
      onHello: (peer, hello) => hellos.push({ peer, ...hello }),
      progressTimeoutMs: 2_000,
      maxRecords,
    }),
  });
  const batches: number[] = [];
  const sink: RecordSink = (batch) => {
    batches.push(batch.length);
    keep(log, batch);
  };
  return { node, log, sink, batches, hellos };
}

async function pull(to: Member, from: Member) {
  const peer = await connect(to.node, from.node);
  return to.node.services.sync.pull(peer, to.sink);
}

function ids(log: Log): string[] {
  return Array.from(log.held(), ({ id }) => id.toString()).sort();
}

/** A chain of one author; the first record comes after `after`. */
function chain(author: number, count: number, after: readonly SignedRecord[] = []): SignedRecord[] {
  const records: SignedRecord[] = [];
  let last: SignedRecord | null = null;
  for (let i = 0; i < count; i++) {
    const payload = testId(author * 10_000 + i);
    last = follow(testKey(author), COMMUNITY.id, last, last === null ? after : [], { payload });
    records.push(last);
  }
  return records;
}

let long: SignedRecord[];
beforeAll(() => {
  long = chain(1, 600);
});

describe('two nodes', () => {
  test('an empty log gets everything, in pages, parents first', async () => {
    const full = await member(long.slice(0, 500), HEAD);
    const empty = await member();
    const result = await pull(empty, full);
    expect(result).toMatchObject({ received: 500, complete: true, equal: false, missing: [] });
    expect(result.head).toEqual(HEAD);
    expect(ids(empty.log)).toEqual(ids(full.log));
    expect(empty.batches.length).toBeGreaterThan(1);
    expect(Math.max(...empty.batches)).toBeLessThanOrEqual(MAX_PAGE_RECORDS);
  });

  test('one new record costs one record', async () => {
    const ahead = await member(long.slice(0, 101));
    const behind = await member(long.slice(0, 100));
    expect(await pull(behind, ahead)).toMatchObject({ received: 1, complete: true });
    expect(behind.batches).toEqual([1]);
    expect(ids(behind.log)).toEqual(ids(ahead.log));
  });

  test('equal logs exchange heads and no record', async () => {
    const one = await member(long.slice(0, 50), HEAD);
    const other = await member(long.slice(0, 50));
    const result = await pull(other, one);
    expect(result).toMatchObject({ received: 0, complete: true, equal: true, missing: [] });
    expect(result.head).toEqual(HEAD);
    expect(other.batches).toEqual([]);
  });

  test('two empty logs are equal', async () => {
    expect(await pull(await member(), await member())).toMatchObject({ received: 0, equal: true, head: null });
  });

  test('logs that went different ways both end with everything, and little is sent twice', async () => {
    const common = long.slice(0, 300);
    const a = await member([...common, ...chain(2, 40)]);
    const b = await member([...common, ...chain(3, 60)]);
    const got = await pull(a, b);
    expect(got).toMatchObject({ received: 60, complete: true });
    expect(b.hellos.at(-1)).toMatchObject({ ahead: true });
    expect(await pull(b, a)).toMatchObject({ received: 40, complete: true });
    expect(ids(a.log)).toEqual(ids(b.log));
    expect(a.log.size).toBe(400);
    expect(await pull(b, a)).toMatchObject({ equal: true });
  });

  test('a fork of one long chain is found near the place where it began', async () => {
    // The server knows none of the client's tips: it finds the fork by the older records that the client names.
    const shared = long.slice(0, 400);
    const last = shared.slice(-1);
    const a = await member([...shared, ...chain(6, 100, last)]);
    const b = await member([...shared, ...chain(7, 1, last)]);
    const sent: number[] = [];
    const source = logSource({ log: a.log, charter: COMMUNITY.id, head: () => null });
    const known = logSource({ log: b.log, charter: COMMUNITY.id, head: () => null }).known(MAX_KNOWN);
    for await (const bytes of source.recordsSince(known, new AbortController().signal)) sent.push(bytes.length);
    expect(sent).toHaveLength(100);
    expect(await pull(b, a)).toMatchObject({ received: 100, complete: true });
  });

  test('a round ends at its limit, and the next one goes on from there', async () => {
    const full = await member(long);
    const empty = await member([], null, 1);
    const first = await pull(empty, full);
    expect(first.complete).toBe(false);
    expect(first.received).toBeLessThanOrEqual(MAX_PAGE_RECORDS);
    expect(first.missing).toHaveLength(1);
    for (let rounds = 0; empty.log.size < full.log.size; rounds++) {
      expect(rounds).toBeLessThan(10);
      await pull(empty, full);
    }
    expect(await pull(empty, full)).toMatchObject({ equal: true });
  });

  test('the server hears the head of the node that asks', async () => {
    const server = await member();
    const client = await member(long.slice(0, 3), HEAD);
    await pull(client, server);
    expect(server.hellos).toHaveLength(1);
    expect(server.hellos[0]).toMatchObject({ head: HEAD, ahead: true });
    expect(server.hellos[0]?.peer.equals(client.node.peerId)).toBe(true);
  });

  test('an error of the sink ends the round and comes through as it is', async () => {
    const full = await member(long.slice(0, 5));
    const empty = await member();
    const peer = await connect(empty.node, full.node);
    const round = empty.node.services.sync.pull(peer, () => Promise.reject(new Error('disk full')));
    await expect(round).rejects.toThrow('disk full');
  });

  test('an abort ends the round with its reason', async () => {
    const full = await member(long);
    const empty = await member();
    const peer = await connect(empty.node, full.node);
    const stop = new AbortController();
    const round = empty.node.services.sync.pull(peer, () => stop.abort(new Error('stop')), { signal: stop.signal });
    await expect(round).rejects.toThrow('stop');
  });

  test('a server gives records by their ids, with gaps where it has none', async () => {
    const full = await member(long.slice(0, 10));
    const client = await member();
    const stream = await client.node.dialProtocol(await connect(client.node, full.node), SYNC_PROTOCOL);
    const messages = lpStream(stream);
    const wanted = [long[7]!.id, testId(77), long[2]!.id];
    await messages.write(cbor({ kind: 'records', charter: COMMUNITY.id, ids: wanted }));
    expect(decode((await messages.read()).subarray())).toEqual({
      status: 'records',
      records: [encodeSigned(long[7]!), null, encodeSigned(long[2]!)],
    });
    await stream.close();
  });

  test('what there was no room for is said, ends the round, and comes in a later one', async () => {
    const full = await member(long);
    const behind = await member();
    const peer = await connect(behind.node, full.node);
    const room = 300;
    const sink: RecordSink = (batch) => {
      const taken = batch.slice(0, Math.max(0, room - behind.log.size));
      keep(behind.log, taken);
      return batch.slice(taken.length).map(({ id }) => id);
    };
    const first = await behind.node.services.sync.pull(peer, sink);
    expect(first).toMatchObject({ received: room, complete: false });
    expect(first.refused).toBeGreaterThan(0);
    expect(first.missing.map(String)).toEqual([long.at(-1)!.id.toString()]);
    expect(await pull(behind, full)).toMatchObject({ received: 300, refused: 0, complete: true, missing: [] });
  });

  test('what waits here and came from the peer is not sent again', async () => {
    const full = await member(long.slice(0, 400));
    const client = await member();
    const peer = await connect(client.node, full.node);
    // Without payloads: they wait, and the log names none of them as known.
    const wait: RecordSink = (batch) => {
      for (const signed of batch) client.log.addRecord(signed);
    };
    await client.node.services.sync.pull(peer, wait);
    expect(client.log.pendingSize).toBe(400);
    const batches: number[] = [];
    const raw = full.hellos.length;
    await client.node.services.sync.pull(peer, (batch) => void batches.push(batch.length), {
      known: [long[399]!.id],
    });
    expect(full.hellos).toHaveLength(raw + 1);
    expect(full.hellos.at(-1)!.ahead).toBe(false);
    expect(batches).toEqual([]);
  });

  test('a page of records does not hold up the event loop', async () => {
    const full = await member(long);
    const empty = await member();
    const peer = await connect(empty.node, full.node);
    let last = process.threadCpuUsage();
    let longest = 0;
    const timer = setInterval(() => {
      const now = process.threadCpuUsage();
      longest = Math.max(longest, (now.user - last.user + now.system - last.system) / 1_000);
      last = now;
    }, 1);
    const sink: RecordSink = () => {};
    expect((await empty.node.services.sync.pull(peer, sink)).received).toBe(600);
    clearInterval(timer);
    expect(longest).toBeLessThan(50);
  });

  test('nodes of different communities say so', async () => {
    const other = testCharter({ name: 'another' });
    const server = await member();
    const log = new Log({ charter: other.charter, charterId: other.id });
    const client = await startNode<{ sync: Sync }>({
      sync: sync({ source: logSource({ log, charter: other.id, head: () => null }) }),
    });
    const peer = await connect(client, server.node);
    expect((await failure(client.services.sync.pull(peer, () => {}))).code).toBe('WRONG_COMMUNITY');
  });

  test('a client above the rate limit is told when to come back', async () => {
    const server = await member();
    const client = await member();
    const peer = await connect(client.node, server.node);
    const rounds = async (): Promise<never> => {
      for (let i = 0; i < REQUEST_RATE.burst; i++) await client.node.services.sync.pull(peer, client.sink);
      throw new Error('never limited');
    };
    const error = await failure(rounds());
    expect(error.code).toBe('RATE_LIMITED');
    expect(error.fields.retryAfterMs).toBeGreaterThan(0);
    expect(isBreach(error)).toBe(false);
  });
});

describe('peers that do not keep the protocol', () => {
  const hello = (changes: Record<string, unknown> = {}) =>
    cbor({
      status: 'hello',
      digest: tipsDigest([testId(9)]),
      tips: [testId(9)],
      head: null,
      records: [],
      done: true,
      ...changes,
    });
  const page = (records: readonly SignedRecord[], done = false) =>
    cbor({ status: 'page', records: records.map(encodeSigned), done });
  const liar = (reply: (request: Record<string, unknown>, count: number) => Uint8Array | undefined) =>
    startRawPeer(SYNC_PROTOCOL, (stream) => answerRaw(stream, reply));
  const foreign = () => follow(testKey(1), testId(5), null);
  const broken = () => {
    const bytes = encodeSigned(long[0]!);
    bytes[bytes.length - 1] = bytes[bytes.length - 1]! ^ 1;
    return bytes;
  };
  const many = () => Array.from({ length: 257 }, (_, i) => testId(i));

  const cases: [string, string, (request: Record<string, unknown>, count: number) => Uint8Array | undefined][] = [
    ['empty pages without end', 'NO_PROGRESS', (_r, n) => (n === 0 ? hello({ done: false }) : page([]))],
    [
      'the same record again and again',
      'OUT_OF_ORDER',
      (_r, n) => (n === 0 ? hello({ done: false, records: [encodeSigned(long[0]!)] }) : page([long[0]!])),
    ],
    ['a child before its parent', 'OUT_OF_ORDER', () => hello({ records: [encodeSigned(long[1]!)] })],
    ['a record with a wrong signature', 'BAD_RECORD', () => hello({ records: [broken()] })],
    ['bytes that are no record', 'BAD_RECORD', () => hello({ records: [Uint8Array.from([0xa0])] })],
    ['a record of another community', 'BAD_RECORD', () => hello({ records: [encodeSigned(foreign())] })],
    ['too many tips', 'MALFORMED', () => hello({ tips: many() })],
    ['a digest of another length', 'MALFORMED', () => hello({ digest: new Uint8Array(31) })],
    ['a page where a hello belongs', 'MALFORMED', () => page([], true)],
    ['no dag-cbor', 'MALFORMED', () => new Uint8Array([0xff])],
    ['an answer above its size', 'TOO_LARGE', () => new Uint8Array(400_000)],
    ['the end of the stream', 'TRUNCATED', () => undefined],
  ];
  test.each(cases)('%s: an error with a code that names the peer, and nothing is kept', async (_name, code, reply) => {
    const server = await startRawPeer(SYNC_PROTOCOL, async (stream) => {
      await answerRaw(stream, reply);
      await stream.close();
    });
    const client = await member();
    const peer = await connect(client.node, server);
    const error = await failure(client.node.services.sync.pull(peer, client.sink));
    expect(error.code).toBe(code);
    expect(error.peer).toBe(peer.toString());
    expect(client.log.size).toBeLessThanOrEqual(1);
  });

  test('a peer that floods valid records is left after a round of bounded size', async () => {
    const server = await liar((_request, count) => {
      const author = 100 + count;
      return count === 0
        ? hello({ done: false, records: chain(author, 50).map(encodeSigned) })
        : page(chain(author, 50), false);
    });
    const client = await member([], null, 120);
    const peer = await connect(client.node, server);
    const result = await client.node.services.sync.pull(peer, client.sink);
    expect(result).toMatchObject({ received: 150, complete: false });
  });

  test('a record of a newer version is passed over with what depends on it, and the round goes on', async () => {
    const newer = cbor({ body: cbor({ version: 2, kind: 'seal' }), signature: new Uint8Array(64) });
    const other = chain(2, 1);
    const server = await liar((_request, count) =>
      count === 0
        ? hello({ done: false, records: [encodeSigned(long[0]!), newer, encodeSigned(long[5]!)] })
        : cbor({ status: 'page', records: other.map(encodeSigned), done: true }),
    );
    const client = await member();
    const result = await client.node.services.sync.pull(await connect(client.node, server), client.sink);
    expect(result).toMatchObject({ received: 2, unreadable: 2, complete: true });
    expect(ids(client.log)).toEqual([long[0]!, ...other].map(({ id }) => id.toString()).sort());
  });

  test('a rate limit in the middle of a round ends it with what came so far', async () => {
    const limited = cbor({ status: 'refused', reason: 'rate-limited', retryAfterMs: 5 });
    const server = await liar((_request, count) =>
      count === 0 ? hello({ done: false, records: [encodeSigned(long[0]!)] }) : limited,
    );
    const client = await member();
    const result = await client.node.services.sync.pull(await connect(client.node, server), client.sink);
    expect(result).toMatchObject({ received: 1, complete: false });
  });

  test('a peer that goes silent between pages is given up', async () => {
    const server = await startRawPeer(SYNC_PROTOCOL, async (stream) => {
      await answerRaw(stream, (_request, count) => {
        if (count === 0) return hello({ done: false, records: [encodeSigned(long[0]!)] });
        return undefined;
      });
    });
    const client = await member();
    const peer = await connect(client.node, server);
    const error = await failure(client.node.services.sync.pull(peer, client.sink));
    expect(error.code).toBe('TIMEOUT');
    expect(client.log.size).toBe(1);
  });

  test('a server refuses what is no request, and serves the next one', async () => {
    const server = await member(long.slice(0, 3));
    const client = await member();
    const peer = await connect(client.node, server.node);
    const raw = async (request: unknown): Promise<unknown> => {
      const stream = await client.node.dialProtocol(peer, SYNC_PROTOCOL);
      const messages = lpStream(stream);
      await messages.write(cbor(request));
      const answer = decode((await messages.read()).subarray());
      await stream.close();
      return answer;
    };
    const refused = { status: 'refused', reason: 'malformed', retryAfterMs: 0 };
    const start = { kind: 'hello', charter: COMMUNITY.id, digest: new Uint8Array(32), known: [], head: null };
    expect(await raw({ kind: 'next' })).toEqual(refused);
    expect(await raw({ ...start, known: many() })).toEqual(refused);
    expect(await raw({ ...start, more: 1 })).toEqual(refused);
    expect(await raw({ kind: 'records', charter: COMMUNITY.id, ids: [] as CID[] })).toEqual(refused);
    expect(await raw(start)).toMatchObject({ status: 'hello', done: true });
    expect(await pull(client, server)).toMatchObject({ received: 3 });
  });
});
