import type { Libp2p } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { describe, expect, test } from 'vitest';
import { MAX_BUNDLED_CONTENT_BYTES, MAX_PAYLOADS_PER_REQUEST } from '../../../protocols/blocks/constants.ts';
import {
  BLOCKS_PROTOCOL,
  type BlockSource,
  type Blocks,
  blocks,
  type FetchedPayload,
} from '../../../protocols/index.ts';
import { BLOCK_BYTES, blockSize, type IdentifiedManifest, manifestOf } from '../../../src/log/index.ts';
import { testId } from '../../unit/log/helpers.ts';
import { answerRaw, cbor, connect, failure, noise, startNode, startRawPeer, withContent } from './support.ts';

interface Stored extends IdentifiedManifest {
  readonly content: Uint8Array;
}

const nothing: BlockSource = { object: async () => undefined, block: async () => undefined };

async function stored(...sizes: number[]): Promise<Stored[]> {
  const contents = sizes.map((size, i) => noise(size, i + 1));
  return Promise.all(contents.map(async (content) => ({ content, ...(await manifestOf(content)) })));
}

function sourceOf(payloads: readonly Stored[]): BlockSource {
  const find = (id: CID) => payloads.find((payload) => payload.id.equals(id));
  return {
    object: async (id) => find(id)?.bytes,
    block: async (id, index) => {
      const { content, manifest } = find(id)!;
      return content.subarray(index * BLOCK_BYTES, index * BLOCK_BYTES + blockSize(manifest, index));
    },
  };
}

/** Payloads, each with its manifest, as a peer sends them. */
function bundle(payloads: readonly (readonly Uint8Array[])[]): Uint8Array {
  const sizes = payloads.map((parts) => parts.map(({ length }) => length));
  return withContent({ status: 'payloads', payloads: sizes }, ...payloads.flat());
}

const serve = (source: BlockSource) => startNode<{ blocks: Blocks }>({ blocks: blocks({ source }) });

async function fetched(server: Libp2p, ids: readonly CID[], options: { timeoutMs?: number; maxBytes?: number } = {}) {
  const client = await serve(nothing);
  const peer = await connect(client, server);
  const taken: FetchedPayload[] = [];
  const absent = await client.services.blocks.fetchPayloads(peer, ids, (payload) => void taken.push(payload), options);
  return { taken, absent };
}

describe('payloads in a bundle', () => {
  test('small ones come whole, of a larger one the manifest, and what is not there is told', async () => {
    const made = await stored(1, 70_000, MAX_BUNDLED_CONTENT_BYTES, MAX_BUNDLED_CONTENT_BYTES + 1, BLOCK_BYTES + 1);
    const server = await serve(sourceOf(made));
    const ids = made.map(({ id }) => id);
    const { taken, absent } = await fetched(server, [...ids.slice(0, 2), testId(99), ...ids.slice(2)]);
    expect(absent.map(String)).toEqual([testId(99).toString()]);
    expect(taken.map(({ id }) => id.toString())).toEqual(ids.map(String));
    // A manifest may wait long for its record: it must not hold the answer that it came in.
    for (const { bytes } of taken) expect(bytes.buffer.byteLength).toBe(bytes.length);
    expect(taken.map(({ content }) => content?.length ?? null)).toEqual([
      1,
      70_000,
      MAX_BUNDLED_CONTENT_BYTES,
      null,
      null,
    ]);
    for (const [i, { bytes, content }] of taken.entries()) {
      expect(Buffer.compare(bytes, made[i]!.bytes)).toBe(0);
      if (content !== null) expect(Buffer.compare(content, made[i]!.content)).toBe(0);
    }
  });

  test('come in order, also what an answer had no room for', async () => {
    const sizes = Array.from({ length: 3 * MAX_PAYLOADS_PER_REQUEST }, (_, i) => 150_000 + i);
    const made = await stored(...sizes);
    const { taken } = await fetched(
      await serve(sourceOf(made)),
      made.map(({ id }) => id),
    );
    expect(taken.map(({ content }) => content?.length)).toEqual(sizes);
  });

  test('an object of another kind, or of more content than allowed, counts as not there', async () => {
    const [small, large] = (await stored(10, 5_000)) as [Stored, Stored];
    const charter: BlockSource = {
      ...sourceOf([small, large]),
      object: async (id) => (id.equals(testId(1)) ? cbor(1) : large.bytes),
    };
    const { taken, absent } = await fetched(await serve(charter), [testId(1), large.id], { maxBytes: 4_999 });
    expect(taken).toEqual([]);
    expect(absent.map(String)).toEqual([testId(1).toString(), large.id.toString()]);
  });

  test('other bytes, and more than was asked for, end the fetch with an error that names the peer', async () => {
    const [right, wrong] = (await stored(10, 11)) as [Stored, Stored];
    const cases = [
      { payloads: [[wrong.bytes, wrong.content]], code: 'BAD_BYTES' },
      { payloads: [[right.bytes, wrong.content]], code: 'BAD_BYTES' },
      { payloads: [[right.bytes, noise(10, 7)]], code: 'BAD_BYTES' },
      { payloads: Array.from({ length: 2 }, () => [right.bytes, right.content]), code: 'MALFORMED' },
      { payloads: [], code: 'MALFORMED' },
      { payloads: [[right.bytes, right.content]], more: noise(1), code: 'MALFORMED' },
    ];
    for (const { payloads, more, code } of cases) {
      const liar = await startRawPeer(BLOCKS_PROTOCOL, (stream) =>
        answerRaw(stream, () => Buffer.concat([bundle(payloads), more ?? new Uint8Array()])),
      );
      const error = await failure(fetched(liar, [right.id]));
      expect(error).toMatchObject({ code, fields: { peer: liar.peerId.toString() } });
    }
  });

  test('content that does not belong in a bundle is refused, though it is right', async () => {
    const [large] = (await stored(MAX_BUNDLED_CONTENT_BYTES + 1)) as [Stored];
    const peer = await startRawPeer(BLOCKS_PROTOCOL, (stream) =>
      answerRaw(stream, () => bundle([[large.bytes, large.content]])),
    );
    expect((await failure(fetched(peer, [large.id]))).code).toBe('MALFORMED');
  });

  test('a peer that does not answer in time is given up, and what it gave before is good', async () => {
    const made = await stored(...Array.from({ length: MAX_PAYLOADS_PER_REQUEST + 1 }, (_, i) => 100 + i));
    const slow = await startRawPeer(BLOCKS_PROTOCOL, (stream) =>
      answerRaw(stream, (_, count) =>
        count > 0 ? undefined : bundle(made.slice(0, -1).map(({ bytes, content }) => [bytes, content])),
      ).then(() => new Promise(() => {})),
    );
    const client = await serve(nothing);
    const peer = await connect(client, slow);
    const taken: FetchedPayload[] = [];
    const ids = made.map(({ id }) => id);
    const fetching = client.services.blocks.fetchPayloads(peer, ids, (one) => void taken.push(one), { timeoutMs: 300 });
    expect((await failure(fetching)).code).toBe('TIMEOUT');
    expect(taken).toHaveLength(MAX_PAYLOADS_PER_REQUEST);
  });
});
