import { decode } from '@ipld/dag-cbor';
import type { Libp2p, PeerId } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import type { CID } from 'multiformats/cid';
import { beforeAll, describe, expect, test } from 'vitest';
import {
  type EntrySink,
  fixedSource,
  isBreach,
  logSource,
  SYNC_PROTOCOL,
  type Sync,
  SyncSession,
  sync,
} from '../../../protocols/index.ts';
import {
  MAX_COMPARED,
  MAX_ENTRIES_PER_ROUND,
  MAX_NAMED,
  MAX_PAGE_ENTRIES,
  MAX_PREFIX,
  MAX_WANT_ITEMS,
  MAX_WHOLE,
  REQUEST_RATE,
} from '../../../protocols/sync/constants.ts';
import { packChoices, packNode, packPrefixes, tagger } from '../../../protocols/sync/packing.ts';
import {
  encodeSigned,
  IdTree,
  isSealEntry,
  Log,
  type LogEntry,
  openEntry,
  payloadOf,
  type SignedRecord,
  sha256,
} from '../../../src/log/index.ts';
import { follow, testCharter, testId, testKey } from '../../unit/log/helpers.ts';
import { cbor, connect, failure, startNode, startRawPeer } from './support.ts';

const COMMUNITY = testCharter();
const HEAD = Uint8Array.from([1, 2, 3]);

type SyncNode = Libp2p<{ sync: Sync }>;

interface Member {
  readonly node: SyncNode;
  readonly log: Log;
  readonly sink: EntrySink;
  readonly batches: number[];
  readonly heads: { peer: PeerId; head: Uint8Array }[];
  readonly lacks: { peer: PeerId; count: number; ids: readonly CID[] }[];
}

function keep(log: Log, entries: readonly LogEntry[]): void {
  for (const entry of entries) {
    if (isSealEntry(entry)) continue;
    log.addRecord(entry);
    log.setPayload(payloadOf(entry.record)!, 100);
  }
}

async function member(
  records: readonly SignedRecord[] = [],
  head: Uint8Array | null = null,
  maxEntries = MAX_ENTRIES_PER_ROUND,
): Promise<Member> {
  const log = new Log({ charter: COMMUNITY.charter, charterId: COMMUNITY.id });
  keep(log, records);
  expect(log.size).toBe(records.length);
  const heads: Member['heads'] = [];
  const lacks: Member['lacks'] = [];
  const known = new Set<string>();
  const source = logSource({
    log,
    charter: COMMUNITY.id,
    head: () => head,
    hasHead: (digest) => known.has(Buffer.from(digest).toString('hex')),
  });
  const node: SyncNode = await startNode<{ sync: Sync }>({
    sync: sync({
      source,
      onHead: (peer, bytes) => {
        heads.push({ peer, head: bytes });
        known.add(Buffer.from(sha256(bytes)).toString('hex'));
      },
      onLacks: (peer, said) => lacks.push({ peer, ...said }),
      progressTimeoutMs: 2_000,
      maxEntries,
    }),
  });
  const batches: number[] = [];
  const sink: EntrySink = (batch) => {
    batches.push(batch.length);
    keep(log, batch);
  };
  return { node, log, sink, batches, heads, lacks };
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
    expect(result).toMatchObject({ received: 500, complete: true, equal: false, withheld: 0, lacking: 0 });
    expect(result.head).toEqual(HEAD);
    expect(ids(empty.log)).toEqual(ids(full.log));
    expect(empty.batches.length).toBeGreaterThan(1);
    expect(Math.max(...empty.batches)).toBeLessThanOrEqual(MAX_PAGE_ENTRIES);
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
    expect(result).toMatchObject({ received: 0, complete: true, equal: true, lacking: 0 });
    expect(result.head).toEqual(HEAD);
    expect(other.batches).toEqual([]);
  });

  test('two empty logs are equal', async () => {
    expect(await pull(await member(), await member())).toMatchObject({ received: 0, equal: true, head: null });
  });

  test('a head travels once each way, as long as it is the same', async () => {
    const server = await member(long.slice(0, 3), Uint8Array.from([9]));
    const client = await member(long.slice(0, 3), HEAD);
    await pull(client, server);
    expect(server.heads.map(({ head }) => head)).toEqual([HEAD]);
    expect(server.heads[0]?.peer.equals(client.node.peerId)).toBe(true);
    await pull(client, server);
    expect(server.heads).toHaveLength(1);
    await pull(server, client);
    expect(client.heads.map(({ head }) => head)).toEqual([Uint8Array.from([9])]);
    expect((await pull(server, client)).head).toBeNull();
  });

  test('logs that went different ways both end with everything, and the server is told what it lacks', async () => {
    const common = long.slice(0, 300);
    const mine = chain(2, 40);
    const a = await member([...common, ...mine]);
    const b = await member([...common, ...chain(3, 60)]);
    expect(await pull(a, b)).toMatchObject({ received: 60, complete: true, lacking: 40 });
    const [said] = b.lacks;
    expect(said?.count).toBe(40);
    expect(said?.ids.map(String).sort()).toEqual(mine.map(({ id }) => id.toString()).sort());
    const peer = await connect(b.node, a.node);
    const got = await b.node.services.sync.pull(peer, b.sink, { named: said!.ids });
    expect(got).toMatchObject({ received: 40, complete: true, withheld: 0 });
    expect(ids(a.log)).toEqual(ids(b.log));
    expect(await pull(b, a)).toMatchObject({ equal: true });
    expect(a.lacks).toEqual([]);
  });

  test('of what a server lacks no more than a bounded list is named', async () => {
    const server = await member();
    const client = await member(long);
    expect(await pull(client, server)).toMatchObject({ received: 0, lacking: 600 });
    expect(server.lacks[0]?.count).toBe(600);
    expect(server.lacks[0]?.ids).toHaveLength(MAX_NAMED);
  });

  test('a round ends at its limit, and the next one goes on from there', async () => {
    const full = await member(long);
    const empty = await member([], null, 1);
    const first = await pull(empty, full);
    expect(first.complete).toBe(false);
    expect(first.received).toBeLessThanOrEqual(MAX_PAGE_ENTRIES);
    for (let rounds = 0; empty.log.size < full.log.size; rounds++) {
      expect(rounds).toBeLessThan(10);
      await pull(empty, full);
    }
    expect(await pull(empty, full)).toMatchObject({ equal: true });
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

  test('what there was no room for is said, ends the round, and comes in a later one', async () => {
    const full = await member(long);
    const behind = await member();
    const peer = await connect(behind.node, full.node);
    const room = 300;
    const sink: EntrySink = (batch) => {
      const taken = batch.slice(0, Math.max(0, room - behind.log.size));
      keep(behind.log, taken);
      return batch.slice(taken.length).map(({ id }) => id);
    };
    const first = await behind.node.services.sync.pull(peer, sink);
    expect(first).toMatchObject({ received: room, complete: false, withheld: 0 });
    expect(first.refused).toBeGreaterThan(0);
    expect(await pull(behind, full)).toMatchObject({ received: 300, refused: 0, complete: true });
  });

  test('what was passed over before is not sent again', async () => {
    const full = await member(long.slice(0, 40));
    const client = await member(long.slice(0, 39));
    const peer = await connect(client.node, full.node);
    const passedOver = new IdTree([long[39]!.id]);
    const again = await client.node.services.sync.pull(peer, client.sink, { passedOver });
    expect(again).toMatchObject({ received: 0, complete: true, withheld: 0 });
    expect(client.batches).toEqual([]);
  });

  test('a round waits for its turn only when there is something to compare, and gives it back whatever happens', async () => {
    const full = await member(long.slice(0, 40));
    const client = await member(long.slice(0, 30));
    const peer = await connect(client.node, full.node);
    const turns: string[] = [];
    const turn = async () => {
      turns.push('taken');
      return () => void turns.push('ended');
    };
    const fails = client.node.services.sync.pull(peer, () => Promise.reject(new Error('disk full')), { turn });
    await expect(fails).rejects.toThrow('disk full');
    await client.node.services.sync.pull(peer, client.sink, { turn });
    await client.node.services.sync.pull(peer, client.sink, { turn });
    expect(turns).toEqual(['taken', 'ended', 'taken', 'ended']);
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
    const sink: EntrySink = () => {};
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

type Told = Record<string, unknown> | Uint8Array | undefined;

/** What a liar makes of an honest answer: another one, bytes, or the end of the stream. */
type Twist = (answer: Record<string, unknown>, request: Record<string, unknown>, count: number) => Told | Promise<Told>;

/** A peer that answers as a node with these records would, twisted. */
function startLiar(records: readonly SignedRecord[], twist: Twist): Promise<Libp2p> {
  const entries = records.map((signed) => ({ id: signed.id, bytes: encodeSigned(signed) }));
  return startRawPeer(SYNC_PROTOCOL, async (stream) => {
    const session = new SyncSession({ source: { ...fixedSource(COMMUNITY.id, entries), head: () => HEAD } });
    const messages = lpStream(stream);
    for (let count = 0; ; count++) {
      const bytes = (await messages.read()).subarray();
      const request = decode<Record<string, unknown>>(bytes);
      // What it was never honestly asked for it twists all the same.
      const honest = await session.answer(bytes).then(
        (answer) => decode<Record<string, unknown>>(answer),
        () => ({ status: 'page', entries: [], done: true }),
      );
      const answer = await twist(honest, request, count);
      if (answer === undefined) break;
      await messages.write(answer instanceof Uint8Array ? answer : cbor(answer));
    }
    await stream.close();
  });
}

describe('peers that do not keep the protocol', () => {
  const entriesOf = (records: readonly SignedRecord[]) => records.map(encodeSigned);
  const pageOf = (records: readonly SignedRecord[], done = false) => ({
    status: 'page',
    entries: entriesOf(records),
    done,
  });
  const pages =
    (change: (count: number) => Record<string, unknown>): Twist =>
    (answer, _request, count) =>
      answer.status === 'page' ? change(count) : answer;
  const broken = (signed: SignedRecord) => encodeSigned({ ...signed, signature: signed.signature.map((b) => b ^ 1) });
  const foreign = () => follow(testKey(1), testId(5), null);
  /** A branch whose every child differs. */
  const branch = () => {
    const node = new Uint8Array(3 + 16 * 4).fill(7);
    node.set([255, 255, 255]);
    return node;
  };

  const cases: [string, string, Twist][] = [
    ['empty pages without end', 'NO_PROGRESS', pages(() => pageOf([]))],
    ['the same record again and again', 'OUT_OF_ORDER', pages(() => pageOf(long.slice(0, 1)))],
    ['a child before its parent', 'OUT_OF_ORDER', pages(() => pageOf(long.slice(1, 2)))],
    ['a record with a wrong signature', 'BAD_RECORD', pages(() => ({ ...pageOf([]), entries: [broken(long[0]!)] }))],
    ['bytes that are no record', 'BAD_RECORD', pages(() => ({ ...pageOf([]), entries: [Uint8Array.of(0xa0)] }))],
    ['a record of another community', 'BAD_RECORD', pages(() => pageOf([foreign()]))],
    [
      'another head than was announced',
      'BAD_BYTES',
      (a) => (a.status === 'heads' ? { ...a, head: Uint8Array.of(1) } : a),
    ],
    ['a digest of another length', 'MALFORMED', (a) => ({ ...a, digest: new Uint8Array(31) })],
    ['a difference without a node', 'MALFORMED', (a) => (a.status === 'hello' ? { ...a, node: new Uint8Array() } : a)],
    ['a page where a hello belongs', 'MALFORMED', () => pageOf([], true)],
    ['no dag-cbor', 'MALFORMED', () => new Uint8Array([0xff])],
    ['an answer above its size', 'TOO_LARGE', () => new Uint8Array(600_000)],
    ['the end of the stream', 'TRUNCATED', () => undefined],
  ];
  test.each(cases)('%s: an error with a code that names the peer, and nothing is kept', async (_name, code, twist) => {
    const server = await startLiar(long.slice(0, 20), twist);
    const client = await member();
    const peer = await connect(client.node, server);
    const error = await failure(client.node.services.sync.pull(peer, client.sink));
    expect(error.code).toBe(code);
    expect(error.peer).toBe(peer.toString());
    expect(isBreach(error)).toBe(code !== 'TRUNCATED');
    expect(client.log.size).toBeLessThanOrEqual(1);
  });

  /** The same for a client that has most of it already, so that it compares. */
  const inComparison: [string, string, Twist][] = [
    [
      'digests that never match',
      'NO_PROGRESS',
      (a) => (a.status === 'hello' ? { ...a, node: branch() } : a.status === 'nodes' ? { ...a, nodes: branch() } : a),
    ],
    [
      'a difference that is nowhere',
      'NO_PROGRESS',
      (a, request) => {
        if (a.status !== 'hello') return a;
        const mine = new IdTree(long.slice(0, 300).map(({ id }) => id));
        const node = packNode(mine, '', tagger(request.salt as Uint8Array));
        return { ...a, digest: new Uint8Array(32), node };
      },
    ],
    [
      'fewer nodes than asked about',
      'MALFORMED',
      (a) => (a.status === 'nodes' ? { ...a, nodes: new Uint8Array() } : a),
    ],
    ['a record that was not asked for', 'BAD_RECORD', pages(() => pageOf(long.slice(0, 1), true))],
  ];
  test.each(inComparison)('%s: an error with a code that names the peer', async (name, code, twist) => {
    // Of one path alone, so that the liar can lead it down all the way.
    const mine = name.startsWith('digests') ? long.slice(0, 1) : long.slice(0, 300);
    const theirs = name.startsWith('a difference') ? mine : long.slice(0, 310);
    const server = await startLiar(theirs, twist);
    const client = await member(mine);
    const peer = await connect(client.node, server);
    const error = await failure(client.node.services.sync.pull(peer, client.sink));
    expect(error.code).toBe(code);
    expect(error.peer).toBe(peer.toString());
    expect(client.log.size).toBe(mine.length);
  });

  test('a peer that leads down a path ends at the longest prefix', async () => {
    let compares = 0;
    const server = await startLiar(long.slice(0, 10), (answer) => {
      if (answer.status === 'nodes') compares++;
      if (answer.status === 'hello') return { ...answer, node: branch() };
      return answer.status === 'nodes' ? { ...answer, nodes: branch() } : answer;
    });
    const client = await member(long.slice(0, 1));
    const peer = await connect(client.node, server);
    expect((await failure(client.node.services.sync.pull(peer, client.sink))).code).toBe('NO_PROGRESS');
    expect(compares).toBe(MAX_PREFIX);
  });

  test.each(['compared', 'named'])('ids that are promised (%s) and not given are counted', async (way) => {
    const server = await startLiar(
      long.slice(0, 310),
      pages(() => pageOf(long.slice(300, 304), true)),
    );
    const client = await member(long.slice(0, 300));
    const peer = await connect(client.node, server);
    const named = way === 'named' ? long.slice(300, 310).map(({ id }) => id) : undefined;
    const result = await client.node.services.sync.pull(peer, client.sink, { named });
    expect(result).toMatchObject({ received: 4, complete: true, withheld: 6 });
  });

  test('a peer that promises everything and gives nothing is known to withhold', async () => {
    const server = await startLiar(
      long.slice(0, 310),
      pages(() => pageOf([], true)),
    );
    const client = await member();
    const peer = await connect(client.node, server);
    expect(await client.node.services.sync.pull(peer, client.sink)).toMatchObject({ received: 0, withheld: 1 });
  });

  test('a peer that floods valid records is left after a round of bounded size', async () => {
    const server = await startLiar(
      long,
      pages((count) => pageOf(chain(100 + count, 50))),
    );
    const client = await member([], null, 120);
    const peer = await connect(client.node, server);
    const result = await client.node.services.sync.pull(peer, client.sink);
    expect(result).toMatchObject({ received: 150, complete: false });
  });

  test('a record of a newer version is passed over with what depends on it, and the round goes on', async () => {
    const newer = cbor({ body: cbor({ version: 2, kind: 'seal' }), signature: new Uint8Array(64) });
    const other = chain(2, 1);
    const after = follow(testKey(3), COMMUNITY.id, null, [], { parents: [openEntry(newer).id] });
    const server = await startLiar(long, (answer, _request, count) => {
      if (answer.status !== 'page') return answer;
      const done = count > 2;
      return {
        status: 'page',
        entries: done ? entriesOf(other) : [...entriesOf([long[0]!]), newer, encodeSigned(after)],
        done,
      };
    });
    const client = await member();
    const result = await client.node.services.sync.pull(await connect(client.node, server), client.sink);
    expect(result).toMatchObject({ received: 2, complete: true, withheld: 0 });
    expect(result.unreadable.map(String)).toEqual([openEntry(newer).id, after.id].map(String));
    expect(ids(client.log)).toEqual([long[0]!, ...other].map(({ id }) => id.toString()).sort());
  });

  test('a rate limit in the middle of a round ends it with what came so far', async () => {
    const limited = { status: 'refused', reason: 'rate-limited', retryAfterMs: 5 };
    const server = await startLiar(long, (answer, request) => {
      if (request.kind === 'next') return limited;
      return answer.status === 'page' ? pageOf(long.slice(0, 1)) : answer;
    });
    const client = await member();
    const result = await client.node.services.sync.pull(await connect(client.node, server), client.sink);
    expect(result).toMatchObject({ received: 1, complete: false, withheld: 0 });
  });

  test('a peer that goes silent between pages is given up', async () => {
    const server = await startLiar(long, (answer, request) => {
      if (request.kind === 'next') return new Promise<never>(() => {});
      return answer.status === 'page' ? pageOf(long.slice(0, 1)) : answer;
    });
    const client = await member();
    const peer = await connect(client.node, server);
    const error = await failure(client.node.services.sync.pull(peer, client.sink));
    expect(error.code).toBe('TIMEOUT');
    expect(client.log.size).toBe(1);
  });

  test('a client whose requests name much is limited sooner', async () => {
    const server = await member(long.slice(0, 40));
    const client = await member();
    const stream = await client.node.dialProtocol(await connect(client.node, server.node), SYNC_PROTOCOL);
    const messages = lpStream(stream);
    const ask = async (request: unknown): Promise<Record<string, unknown>> => {
      await messages.write(cbor(request));
      return decode((await messages.read()).subarray());
    };
    await ask({
      kind: 'hello',
      charter: COMMUNITY.id,
      digest: new Uint8Array(32),
      size: 0,
      head: null,
      salt: new Uint8Array(16),
    });
    const prefixes = packPrefixes(Array(MAX_COMPARED).fill('0123456789abcdef'));
    let served = 0;
    let answer = await ask({ kind: 'compare', prefixes });
    for (; answer.status === 'nodes'; served++) answer = await ask({ kind: 'compare', prefixes });
    expect(answer).toMatchObject({ status: 'refused', reason: 'rate-limited' });
    expect(served).toBeLessThan(REQUEST_RATE.burst / 10);
  });

  test('a server refuses what is no request, and serves the next one', async () => {
    const server = await member(long.slice(0, 40));
    const client = await member();
    const peer = await connect(client.node, server.node);
    const raw = async (...requests: unknown[]): Promise<unknown> => {
      const stream = await client.node.dialProtocol(peer, SYNC_PROTOCOL);
      const messages = lpStream(stream);
      let answer: unknown;
      for (const request of requests) {
        await messages.write(cbor(request));
        answer = decode((await messages.read()).subarray());
      }
      await stream.close();
      return answer;
    };
    const refused = { status: 'refused', reason: 'malformed', retryAfterMs: 0 };
    const nothing = new Uint8Array();
    const start = {
      kind: 'hello',
      charter: COMMUNITY.id,
      digest: new Uint8Array(32),
      size: 0,
      head: null,
      salt: new Uint8Array(16),
    };
    const want = { kind: 'want', whole: nothing, some: nothing, ids: nothing, last: false };
    const wholes = (from: number) =>
      packPrefixes(Array.from({ length: MAX_WANT_ITEMS }, (_, i) => (from + i).toString(16).padStart(4, '0')));
    expect(await raw({ kind: 'next' })).toEqual(refused);
    expect(await raw({ ...start, more: 1 })).toEqual(refused);
    expect(await raw(want)).toEqual(refused);
    expect(await raw({ kind: 'compare', prefixes: Uint8Array.of(0) })).toEqual(refused);
    expect(await raw({ kind: 'lacks', count: 0, ids: nothing })).toEqual(refused);
    expect(await raw(start, start)).toEqual(refused);
    expect(await raw(start, { kind: 'next' })).toEqual(refused);
    expect(await raw(start, { kind: 'heads', head: HEAD, want: false })).toEqual(refused);
    expect(await raw(start, { kind: 'compare', prefixes: new Uint8Array(257) })).toEqual(refused);
    expect(await raw(start, { ...want, last: true }, want)).toEqual(refused);
    expect(await raw(start, { ...want, some: packChoices([{ prefix: '', places: [0] }]) })).toEqual(refused);
    expect(await raw(start, { ...want, some: packChoices([{ prefix: '00000', places: [31] }]) })).toEqual(refused);
    const told = { kind: 'lacks', count: 0, ids: nothing };
    expect(await raw(start, told, told)).toEqual(refused);
    const many = Array.from({ length: MAX_WHOLE / MAX_WANT_ITEMS }, (_, i) => ({
      ...want,
      whole: wholes(i * MAX_WANT_ITEMS),
    }));
    expect(await raw(start, ...many)).toMatchObject({ status: 'page', done: false });
    expect(await raw(start, ...many, { ...want, whole: packPrefixes(['fffff']) })).toEqual(refused);
    expect(await raw(start)).toMatchObject({ status: 'hello', size: 40 });
    expect(await pull(client, server)).toMatchObject({ received: 40 });
  });
});
