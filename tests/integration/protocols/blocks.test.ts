import { decode } from '@ipld/dag-cbor';
import type { Libp2p } from '@libp2p/interface';
import { lpStream } from '@libp2p/utils';
import { encode } from 'it-length-prefixed';
import type { CID } from 'multiformats/cid';
import { describe, expect, test } from 'vitest';
import { MAX_RETRIES, MAX_STREAMS_PER_PEER, REQUEST_RATE } from '../../../protocols/blocks/constants.ts';
import {
  BLOCKS_PROTOCOL,
  type BlockSource,
  type Blocks,
  blocks,
  isBreach,
  MAX_OBJECT_BYTES,
} from '../../../protocols/index.ts';
import { BLOCK_BYTES, blockSize, type IdentifiedManifest, idOf, manifestOf } from '../../../src/log/index.ts';
import { answerRaw, cbor, connect, failure, noise, startNode, startRawPeer, withContent } from './support.ts';

const MIB = 1_048_576;
const BLOB = noise(5 * MIB - 12_345);

interface Store extends BlockSource {
  readonly asked: number[];
}

async function storeOf(content: Uint8Array): Promise<{ made: IdentifiedManifest; store: Store }> {
  const made = await manifestOf(content);
  const asked: number[] = [];
  const store: Store = {
    asked,
    object: async (id) => (id.equals(made.id) ? made.bytes : undefined),
    block: async (id, index) => {
      asked.push(index);
      const start = index * BLOCK_BYTES;
      return id.equals(made.id) ? content.subarray(start, start + blockSize(made.manifest, index)) : undefined;
    },
  };
  return { made, store };
}

const nothing: BlockSource = { object: async () => undefined, block: async () => undefined };

class MemorySink {
  readonly blocks = new Map<number, Uint8Array>();
  has = (index: number): boolean => this.blocks.has(index);
  write = async (index: number, bytes: Uint8Array): Promise<void> => {
    if (this.blocks.has(index)) throw new Error(`block ${index} was written twice`);
    this.blocks.set(index, bytes.slice());
  };
  content(): Uint8Array {
    const indexes = [...this.blocks.keys()].sort((a, b) => a - b);
    return Buffer.concat(indexes.map((index) => this.blocks.get(index)!));
  }
}

type BlocksNode = Libp2p<{ blocks: Blocks }>;

function serve(source: BlockSource, progressTimeoutMs?: number): Promise<BlocksNode> {
  const init = progressTimeoutMs === undefined ? { source } : { source, progressTimeoutMs };
  return startNode<{ blocks: Blocks }>({ blocks: blocks(init) });
}

async function liar(reply: (request: Record<string, unknown>, count: number) => Uint8Array | undefined) {
  return startRawPeer(BLOCKS_PROTOCOL, (stream) => answerRaw(stream, reply));
}

describe('blobs', () => {
  test('a blob of several blocks arrives complete', async () => {
    const { made, store } = await storeOf(BLOB);
    const server = await serve(store);
    const client = await serve(nothing);
    const sink = new MemorySink();
    const seen: number[] = [];
    const report = await client.services.blocks.fetchBlob([await connect(client, server)], made.id, sink, {
      onProgress: ({ done, total }) => seen.push(done / total),
    });
    expect(report).toMatchObject({ fetched: 5, skipped: 0, bytes: BLOB.length });
    expect(Buffer.compare(sink.content(), BLOB)).toBe(0);
    expect(seen.at(-1)).toBe(1);
  });

  test('an interrupted fetch goes on with the blocks that are missing, and only those', async () => {
    const { made, store } = await storeOf(BLOB);
    const server = await serve(store);
    const client = await serve(nothing);
    const peer = await connect(client, server);
    const sink = new MemorySink();
    const stop = new AbortController();
    const first = client.services.blocks.fetchBlob([peer], made.id, sink, {
      signal: stop.signal,
      onProgress: () => {
        if (sink.blocks.size === 2) stop.abort(new Error('power cut'));
      },
    });
    await expect(first).rejects.toThrow('power cut');
    expect(sink.blocks.size).toBe(2);
    const before = new Set(sink.blocks.keys());
    store.asked.length = 0;
    const report = await client.services.blocks.fetchBlob([peer], made.id, sink, { manifest: made.manifest });
    expect(report).toMatchObject({ fetched: 3, skipped: 2 });
    expect(store.asked.filter((index) => before.has(index))).toEqual([]);
    expect(Buffer.compare(sink.content(), BLOB)).toBe(0);
  });

  test('several peers share the work, and one without the blob does not stop the others', async () => {
    const { made, store } = await storeOf(BLOB);
    const servers = await Promise.all([serve(nothing), serve(store), serve(store)]);
    const client = await serve(nothing);
    const peers = await Promise.all(servers.map((server) => connect(client, server)));
    const sink = new MemorySink();
    const faults: string[] = [];
    const report = await client.services.blocks.fetchBlob(peers, made.id, sink, {
      onFault: (peer, error) => faults.push(`${error.code} ${peer.equals(peers[0])}`),
    });
    expect(report.fetched).toBe(5);
    expect(Buffer.compare(sink.content(), BLOB)).toBe(0);
    expect(faults).toEqual(['NOT_FOUND true']);
  });

  test('content without blocks needs no block', async () => {
    const { made, store } = await storeOf(new Uint8Array(0));
    const server = await serve(store);
    const client = await serve(nothing);
    const report = await client.services.blocks.fetchBlob([await connect(client, server)], made.id, new MemorySink());
    expect(report).toMatchObject({ fetched: 0, bytes: 0 });
  });

  test('a blob above the limit is refused before anything is written', async () => {
    const { made, store } = await storeOf(BLOB);
    const server = await serve(store);
    const client = await serve(nothing);
    const sink = new MemorySink();
    const peers = [await connect(client, server)];
    const options = { maxBytes: BLOB.length - 1, manifest: made.manifest };
    expect((await failure(client.services.blocks.fetchBlob(peers, made.id, sink, options))).code).toBe('TOO_LARGE');
    expect(sink.blocks.size).toBe(0);
  });

  test('an error of the sink ends the fetch and comes through as it is', async () => {
    const { made, store } = await storeOf(BLOB);
    const server = await serve(store);
    const client = await serve(nothing);
    const sink = { has: () => false, write: () => Promise.reject(new Error('disk full')) };
    const fetch = client.services.blocks.fetchBlob([await connect(client, server)], made.id, sink);
    await expect(fetch).rejects.toThrow('disk full');
  });

  test('without peers there is an error, unless nothing is missing', async () => {
    const { made } = await storeOf(noise(10));
    const client = await serve(nothing);
    const sink = new MemorySink();
    const options = { manifest: made.manifest };
    expect((await failure(client.services.blocks.fetchBlob([], made.id, sink, options))).code).toBe('INCOMPLETE');
    sink.blocks.set(0, noise(10));
    expect(await client.services.blocks.fetchBlob([], made.id, sink, options)).toMatchObject({ skipped: 1 });
  });
});

describe('peers that do not keep the protocol', () => {
  const block = (bytes: Uint8Array) => withContent({ status: 'block' }, bytes);
  const wrong = BLOB.slice(0, BLOCK_BYTES);
  wrong[12] = wrong[12]! ^ 1;
  const cases: [string, string, (request: Record<string, unknown>, count: number) => Uint8Array | undefined][] = [
    ['wrong bytes', 'BAD_BYTES', () => block(wrong)],
    ['a block that is too short', 'BAD_BYTES', () => block(BLOB.slice(0, 100))],
    ['a block longer than any', 'TOO_LARGE', () => block(new Uint8Array(BLOCK_BYTES + 300))],
    ['an answer that is not canonical', 'MALFORMED', () => Uint8Array.from([0xbf, 0xff])],
    ['an answer of another kind', 'MALFORMED', () => withContent({ status: 'object', size: 1 }, new Uint8Array(1))],
    ['an answer without content', 'MALFORMED', () => block(new Uint8Array())],
    ['a head that is cut', 'MALFORMED', () => block(wrong).subarray(0, 9)],
    ['an answer with an extra key', 'MALFORMED', () => cbor({ status: 'not-found', extra: 1 })],
  ];
  test.each(cases)('%s is an error with a code, and nothing is written', async (_name, code, reply) => {
    const { made } = await storeOf(BLOB);
    const server = await liar(reply);
    const client = await serve(nothing);
    const sink = new MemorySink();
    const peers = [await connect(client, server)];
    const error = await failure(client.services.blocks.fetchBlob(peers, made.id, sink, { manifest: made.manifest }));
    expect(error.code).toBe(code);
    expect(isBreach(error)).toBe(true);
    expect(error.peer).toBe(server.peerId.toString());
    expect(sink.blocks.size).toBe(0);
  });

  test('a liar among honest peers is named, and the blob arrives all the same', async () => {
    const { made, store } = await storeOf(BLOB);
    const honest = await serve(store);
    const cheat = await liar(() => block(wrong));
    const client = await serve(nothing);
    const peers = [await connect(client, cheat), await connect(client, honest)];
    const sink = new MemorySink();
    const faults: string[] = [];
    await client.services.blocks.fetchBlob(peers, made.id, sink, {
      manifest: made.manifest,
      onFault: (peer, error) => faults.push(`${error.code} ${peer}`),
    });
    expect(faults).toEqual([`BAD_BYTES ${cheat.peerId}`]);
    expect(Buffer.compare(sink.content(), BLOB)).toBe(0);
  });

  test('a peer that never answers is given up after the progress timeout', async () => {
    const { made } = await storeOf(BLOB);
    const server = await liar(() => undefined);
    const client = await serve(nothing, 300);
    const peers = [await connect(client, server)];
    const started = performance.now();
    const error = await failure(
      client.services.blocks.fetchBlob(peers, made.id, new MemorySink(), { manifest: made.manifest }),
    );
    expect(error.code).toBe('TIMEOUT');
    expect(performance.now() - started).toBeLessThan(3_000);
  });

  test('a peer that drips single bytes is given up too', async () => {
    const { made } = await storeOf(BLOB);
    const server = await startRawPeer(BLOCKS_PROTOCOL, async (stream) => {
      // The length of a whole block, and then a byte now and then.
      stream.send(Uint8Array.from([0x80, 0x80, 0x40]));
      const timer = setInterval(() => stream.status === 'open' && stream.send(new Uint8Array(1)), 50);
      stream.addEventListener('close', () => clearInterval(timer));
    });
    const client = await serve(nothing, 400);
    const peers = [await connect(client, server)];
    const error = await failure(
      client.services.blocks.fetchBlob(peers, made.id, new MemorySink(), { manifest: made.manifest }),
    );
    expect(error.code).toBe('TIMEOUT');
  });

  test('a slow peer that makes progress is not given up', async () => {
    const content = noise(400_000);
    const { made } = await storeOf(content);
    const answer = block(content);
    const server = await startRawPeer(BLOCKS_PROTOCOL, async (stream) => {
      const length = answer.length;
      stream.send(Uint8Array.from([(length & 127) | 128, ((length >> 7) & 127) | 128, length >> 14]));
      for (let at = 0; at < length; at += 40_000) {
        stream.send(answer.subarray(at, at + 40_000));
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    });
    // Ten parts, 100 ms apart: longer than the timeout in all, never as long between two.
    const client = await serve(nothing, 500);
    const peers = [await connect(client, server)];
    const sink = new MemorySink();
    await client.services.blocks.fetchBlob(peers, made.id, sink, { manifest: made.manifest });
    expect(Buffer.compare(sink.content(), content)).toBe(0);
  });

  test('a stream that ends in the middle of a block is truncated, not complete', async () => {
    const { made } = await storeOf(BLOB);
    const server = await startRawPeer(BLOCKS_PROTOCOL, async (stream) => {
      stream.send(Uint8Array.from([0x80, 0x80, 0x40]));
      stream.send(BLOB.subarray(0, 5_000));
      await stream.close();
    });
    const client = await serve(nothing);
    const sink = new MemorySink();
    const peers = [await connect(client, server)];
    const error = await failure(client.services.blocks.fetchBlob(peers, made.id, sink, { manifest: made.manifest }));
    expect(error.code).toBe('TRUNCATED');
    expect(sink.blocks.size).toBe(0);
  });

  const blockOf = ({ index }: Record<string, unknown>) =>
    block(BLOB.slice(Number(index) * BLOCK_BYTES, (Number(index) + 1) * BLOCK_BYTES));

  test('a stream that ends between two blocks is opened again, where that is wanted', async () => {
    const { made } = await storeOf(BLOB);
    let streams = 0;
    const server = await startRawPeer(BLOCKS_PROTOCOL, async (stream) => {
      const first = streams++ === 0;
      await answerRaw(stream, (request, count) => (first && count > 0 ? undefined : blockOf(request)));
      await stream.close();
    });
    const client = await serve(nothing);
    const sink = new MemorySink();
    const peers = [await connect(client, server)];
    await client.services.blocks.fetchBlob(peers, made.id, sink, { manifest: made.manifest, redial: true });
    expect(sink.blocks.size).toBe(made.manifest.blocks.length);
    expect(streams).toBe(2);
  });

  test('a peer whose connection is lost in the middle is dialled again, where that is wanted', async () => {
    const { made, store } = await storeOf(BLOB);
    let lost = 0;
    const server: Libp2p<{ blocks: Blocks }> = await serve({
      object: store.object,
      block: async (id, index, signal) => {
        if (index === 2 && lost++ === 0)
          for (const connection of server.getConnections()) connection.abort(new Error());
        return store.block(id, index, signal);
      },
    });
    const client = await serve(nothing);
    const sink = new MemorySink();
    const peers = [await connect(client, server)];
    await client.services.blocks.fetchBlob(peers, made.id, sink, { manifest: made.manifest, redial: true });
    expect(sink.blocks.size).toBe(made.manifest.blocks.length);
    expect(lost).toBe(2);
  });

  test('a stream that ends between two blocks, and all after it at once, is truncated, not complete', async () => {
    const { made } = await storeOf(BLOB);
    let streams = 0;
    const server = await startRawPeer(BLOCKS_PROTOCOL, async (stream) => {
      const first = streams++ === 0;
      await answerRaw(stream, (request, count) => (first && count === 0 ? blockOf(request) : undefined));
      await stream.close();
    });
    const client = await serve(nothing);
    const sink = new MemorySink();
    const peers = [await connect(client, server)];
    const options = { manifest: made.manifest, redial: true };
    const error = await failure(client.services.blocks.fetchBlob(peers, made.id, sink, options));
    expect(error.code).toBe('TRUNCATED');
    expect([...sink.blocks.keys()]).toEqual([0]);
    expect(streams).toBe(1 + MAX_RETRIES);
  });

  test('a peer that sends without end is cut off at the bound of its buffer', async () => {
    const { made } = await storeOf(BLOB);
    let sent = 0;
    const cut = Promise.withResolvers<void>();
    const server = await startRawPeer(BLOCKS_PROTOCOL, async (stream) => {
      stream.addEventListener('close', () => cut.resolve());
      stream.addEventListener('drain', () => pour());
      const pour = () => {
        while (stream.status === 'open' && sent < 64 * MIB) {
          sent += 65_536;
          if (!stream.send(new Uint8Array(65_536).fill(1))) return;
        }
      };
      // A valid block first, which is still being written while the flood comes.
      const first = block(BLOB.slice(0, BLOCK_BYTES));
      stream.send(Uint8Array.from([(first.length & 127) | 128, ((first.length >> 7) & 127) | 128, first.length >> 14]));
      stream.send(first);
      pour();
    });
    const client = await serve(nothing);
    const peers = [await connect(client, server)];
    const sink = { has: () => false, write: () => cut.promise };
    const error = await failure(client.services.blocks.fetchBlob(peers, made.id, sink, { manifest: made.manifest }));
    expect(error.code).toBe('OVERFLOW');
    expect(sent).toBeLessThan(32 * MIB);
  });

  test('a node that does not speak the protocol is unreachable', async () => {
    const { made } = await storeOf(BLOB);
    const server = await startNode({});
    const client = await serve(nothing);
    const error = await failure(client.services.blocks.fetchObject([await connect(client, server)], made.id));
    expect(error.code).toBe('UNREACHABLE');
  });
});

describe('objects', () => {
  const objects = (...list: Uint8Array[]): BlockSource & { reads: number } => {
    const source = {
      reads: 0,
      object: async (id: CID) => {
        source.reads++;
        return list.find((bytes) => idOf(bytes).equals(id));
      },
      block: async () => undefined,
    };
    return source;
  };

  test('an object of several parts arrives, read once', async () => {
    const bytes = noise(3 * MIB + 17);
    const source = objects(bytes);
    const server = await serve(source);
    const client = await serve(nothing);
    const got = await client.services.blocks.fetchObject([await connect(client, server)], idOf(bytes));
    expect(Buffer.compare(got, bytes)).toBe(0);
    expect(source.reads).toBe(1);
  });

  test('the first peer that has it is enough', async () => {
    const bytes = noise(100);
    const servers = await Promise.all([serve(nothing), serve(objects(bytes))]);
    const client = await serve(nothing);
    const peers = await Promise.all(servers.map((server) => connect(client, server)));
    expect(Buffer.compare(await client.services.blocks.fetchObject(peers, idOf(bytes)), bytes)).toBe(0);
    const error = await failure(client.services.blocks.fetchObject(peers, idOf(noise(99))));
    expect(error.code).toBe('INCOMPLETE');
    expect(error.fields.faults).toHaveLength(2);
  });

  test('other bytes, a changing size, and more than the limit are errors', async () => {
    const id = idOf(noise(100));
    const part = (size: number, bytes: Uint8Array) => withContent({ status: 'object', size }, bytes);
    const replies: [string, (request: Record<string, unknown>, count: number) => Uint8Array][] = [
      ['BAD_BYTES', () => part(100, noise(100, 2))],
      ['BAD_BYTES', () => part(100, noise(99))],
      ['BAD_BYTES', (_request, count) => part(2 * MIB + count, noise(MIB))],
      ['TOO_LARGE', () => part(MAX_OBJECT_BYTES, noise(MIB))],
      ['MALFORMED', () => part(MAX_OBJECT_BYTES + 1, noise(MIB))],
    ];
    const client = await serve(nothing);
    for (const [code, reply] of replies) {
      const peers = [await connect(client, await liar(reply))];
      const error = await failure(client.services.blocks.fetchObject(peers, id, { maxBytes: 4 * MIB }));
      expect(error.code).toBe(code);
    }
  });
});

describe('a server', () => {
  test('answers a malformed request with a refusal and goes on serving others', async () => {
    const { made, store } = await storeOf(noise(10));
    const server = await serve(store);
    const client = await serve(nothing);
    const peer = await connect(client, server);
    const stream = await client.dialProtocol(peer, BLOCKS_PROTOCOL);
    const raw = lpStream(stream);
    await raw.write(cbor({ kind: 'block', manifest: made.id, index: -1 }));
    expect(decode((await raw.read()).subarray())).toEqual({ status: 'refused', reason: 'malformed', retryAfterMs: 0 });
    expect(await client.services.blocks.fetchObject([peer], made.id)).toEqual(made.bytes);
  });

  test('refuses a request beyond the burst of its rate limit, and says when to come back', async () => {
    const bytes = noise(10);
    const server = await serve({ object: async () => bytes, block: async () => undefined });
    const client = await serve(nothing);
    const peer = await connect(client, server);
    const raw = lpStream(await client.dialProtocol(peer, BLOCKS_PROTOCOL));
    const request = cbor({ kind: 'object', id: idOf(bytes), offset: 0 });
    let answered = 0;
    let refused: unknown;
    const writing = (async () => {
      for (let i = 0; i < REQUEST_RATE.burst * 4; i++) await raw.write(request);
    })().catch(() => {});
    for (;;) {
      const answer = (await raw.read()).subarray();
      if (answer[0] !== 0) {
        refused = decode(answer);
        break;
      }
      answered++;
    }
    raw.unwrap().abort(new Error('done'));
    await writing;
    expect(answered).toBeGreaterThanOrEqual(REQUEST_RATE.burst);
    expect(refused).toMatchObject({ status: 'refused', reason: 'rate-limited' });
  });

  test('serves a bounded number of streams per peer and tells the next one that it is busy', async () => {
    const bytes = noise(10);
    const gate = Promise.withResolvers<void>();
    const server = await serve({ object: () => gate.promise.then(() => bytes), block: async () => undefined });
    const client = await serve(nothing);
    const peer = await connect(client, server);
    const fetch = () => client.services.blocks.fetchObject([peer], idOf(bytes));
    const served = Array.from({ length: MAX_STREAMS_PER_PEER }, fetch);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const error = await failure(fetch());
    expect(error.code).toBe('BUSY');
    gate.resolve();
    expect(await Promise.all(served)).toHaveLength(MAX_STREAMS_PER_PEER);
    expect(await fetch()).toEqual(bytes);
  });

  test('a fetch waits for a busy peer and then gets its blocks', async () => {
    const content = noise(2 * MIB);
    const { made } = await storeOf(content);
    let streams = 0;
    const server = await startRawPeer(BLOCKS_PROTOCOL, async (stream) => {
      streams++;
      if (streams < 3) {
        await answerRaw(stream, () => cbor({ status: 'refused', reason: 'rate-limited', retryAfterMs: 50 }));
        return;
      }
      await answerRaw(stream, ({ index }) => {
        const start = Number(index) * BLOCK_BYTES;
        return withContent({ status: 'block' }, content.subarray(start, start + BLOCK_BYTES));
      });
    });
    const client = await serve(nothing);
    const sink = new MemorySink();
    await client.services.blocks.fetchBlob([await connect(client, server)], made.id, sink, {
      manifest: made.manifest,
    });
    expect(Buffer.compare(sink.content(), content)).toBe(0);
    expect(streams).toBe(3);
  });

  test('a source that fails costs the request, not the server', async () => {
    const bytes = noise(10);
    let fail = true;
    const server = await serve({
      object: async () => {
        if (fail) throw new Error('disk error');
        return bytes;
      },
      block: async () => undefined,
    });
    const client = await serve(nothing);
    const peer = await connect(client, server);
    expect((await failure(client.services.blocks.fetchObject([peer], idOf(bytes)))).code).toBe('REFUSED');
    fail = false;
    expect(await client.services.blocks.fetchObject([peer], idOf(bytes))).toEqual(bytes);
  });

  test('a client that stops reading does not hold more than one block in memory, and is dropped', async () => {
    const block = noise(MIB);
    let reads = 0;
    const server = await serve(
      {
        object: async () => undefined,
        block: async () => {
          reads++;
          return block;
        },
      },
      500,
    );
    const client = await startNode({});
    const stream = await client.dialProtocol(await connect(client, server), BLOCKS_PROTOCOL);
    stream.pause();
    const request = cbor({ kind: 'block', manifest: idOf(noise(1)), index: 0 });
    for (let i = 0; i < 32; i++) stream.send(encode.single(request));
    await new Promise<void>((resolve) => {
      if (stream.status !== 'open') resolve();
      else stream.addEventListener('close', () => resolve());
    });
    expect(reads).toBeLessThanOrEqual(2);
  });
});

describe('peers that are slow on purpose', () => {
  /** Answers nothing, and lets the stream stand. */
  const silent = () => startRawPeer(BLOCKS_PROTOCOL, () => new Promise(() => {}));
  /** Sends a message of a mebibyte without end, fast enough for the progress timeout. */
  const trickle = () =>
    startRawPeer(BLOCKS_PROTOCOL, async (stream) => {
      stream.send(encode.single(new Uint8Array(MIB)).subarray(0, 100));
      while (stream.status === 'open') {
        stream.send(new Uint8Array(17_000));
        await new Promise((resolve) => setTimeout(resolve, 400));
      }
    });
  const eager = { source: nothing, hedgeMs: 100, slowBlockMs: 500 };

  test('one that never gives an object holds it up no longer than the time to ask the next', async () => {
    const { made, store } = await storeOf(BLOB);
    const servers = [await silent(), await silent(), await serve(store)];
    const client = await startNode<{ blocks: Blocks }>({ blocks: blocks(eager) });
    const peers = await Promise.all(servers.map((server) => connect(client, server)));
    const faults: string[] = [];
    const started = performance.now();
    const bytes = await client.services.blocks.fetchObject(peers, made.id, {
      onFault: (peer, { code }) => faults.push(`${code} ${peer}`),
    });
    expect(Buffer.compare(bytes, made.bytes)).toBe(0);
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(faults).toEqual([`TIMEOUT ${peers[0]}`, `TIMEOUT ${peers[1]}`]);
  });

  test('an object that trickles ends at the time for the whole of it', async () => {
    const client = await serve(nothing);
    const peer = await connect(client, await trickle());
    const { made } = await storeOf(BLOB);
    const error = await failure(client.services.blocks.fetchObject([peer], made.id, { timeoutMs: 1_000 }));
    expect(error.code).toBe('TIMEOUT');
    expect(error.fields.timeoutMs).toBe(1_000);
  });

  test('the block that one owes is asked of another, also when there is only one', async () => {
    const content = noise(1_000);
    const { made, store } = await storeOf(content);
    const client = await startNode<{ blocks: Blocks }>({ blocks: blocks(eager) });
    const peers = [await connect(client, await silent()), await connect(client, await serve(store))];
    const sink = new MemorySink();
    const started = performance.now();
    await client.services.blocks.fetchBlob(peers, made.id, sink, { manifest: made.manifest });
    expect(performance.now() - started).toBeLessThan(3_000);
    expect(Buffer.compare(sink.content(), content)).toBe(0);
  });

  test('as many as are asked at once make way for one that waits', async () => {
    const { made, store } = await storeOf(BLOB);
    const client = await startNode<{ blocks: Blocks }>({ blocks: blocks(eager) });
    const servers = [await trickle(), await trickle(), await trickle(), await trickle(), await serve(store)];
    const peers = await Promise.all(servers.map((server) => connect(client, server)));
    const sink = new MemorySink();
    const started = performance.now();
    await client.services.blocks.fetchBlob(peers, made.id, sink, { manifest: made.manifest });
    expect(performance.now() - started).toBeLessThan(8_000);
    expect(Buffer.compare(sink.content(), BLOB)).toBe(0);
  });
});
