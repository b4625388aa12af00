import type { Stream } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { describe, expect, test } from 'vitest';
import { Fetcher } from '../../../node/net/fetcher.ts';
import { BLOCKS_PROTOCOL, type BlockSource, type Blocks, blocks } from '../../../protocols/index.ts';
import { testKey } from '../../unit/log/helpers.ts';
import { makePond, newHome, openBook, silent, type Update, updates } from '../../unit/node/support.ts';
import {
  answerRaw,
  cbor,
  connect,
  eventually,
  onCleanup,
  startNode,
  startRawPeer,
  withContent,
} from '../protocols/support.ts';

const nothing: BlockSource = { object: async () => undefined, block: async () => undefined };
const find = (made: readonly Update[], id: CID) => made.find(({ manifest }) => manifest.id.equals(id));

/** Counts what it is asked for. */
function sourceOf(made: readonly Update[], asked: { objects: number; blocks: number }): BlockSource {
  return {
    object: async (id) => {
      asked.objects++;
      return find(made, id)?.manifest.bytes;
    },
    block: async (id) => {
      asked.blocks++;
      return find(made, id)?.payload;
    },
  };
}

async function fetcherOf(made: readonly Update[], pond: Awaited<ReturnType<typeof makePond>>) {
  const node = await startNode<{ blocks: Blocks }>({ blocks: blocks({ source: nothing }) });
  const book = await openBook(pond, await newHome(pond), { onMissing: () => fetcher.poke() });
  const fetcher = new Fetcher({ book, blocks: node.services.blocks, peers: () => node.getPeers(), logger: silent });
  onCleanup(() => fetcher.stop());
  const bring = async (source: string) => {
    for (const { signed } of made) {
      await book.take(signed, null, source);
      fetcher.brought(signed, source);
    }
    fetcher.poke();
  };
  return { node, book, bring };
}

describe('the fetcher', () => {
  test('gets each small payload of a chain once, with its manifest', async () => {
    const pond = await makePond();
    const made = await updates(pond, 40, testKey(1));
    const asked = { objects: 0, blocks: 0 };
    const server = await startNode<{ blocks: Blocks }>({ blocks: blocks({ source: sourceOf(made, asked) }) });
    const { node, book, bring } = await fetcherOf(made, pond);
    await bring((await connect(node, server)).toString());
    await eventually(() => expect(book.log.size).toBe(made.length));
    expect(asked).toEqual({ objects: made.length, blocks: made.length });
  });

  test('asks by themselves for payloads that a peer gives in no bundle', async () => {
    const pond = await makePond();
    const made = await updates(pond, 5, testKey(1));
    const refused = cbor({ status: 'refused', reason: 'malformed', retryAfterMs: 0 });
    const old = await startRawPeer(BLOCKS_PROTOCOL, (stream: Stream) =>
      answerRaw(stream, (request) => {
        if (request.kind === 'payloads') return refused;
        const { manifest, payload } = find(made, (request.id ?? request.manifest) as CID)!;
        if (request.kind === 'block') return withContent({ status: 'block' }, payload);
        return withContent({ status: 'object', size: manifest.bytes.length }, manifest.bytes);
      }),
    );
    const { node, book, bring } = await fetcherOf(made, pond);
    await bring((await connect(node, old)).toString());
    await eventually(() => expect(book.log.size).toBe(made.length));
  });

  test('asks for a bundle again when the first one broke off, and not for each payload by itself', async () => {
    const pond = await makePond();
    const made = await updates(pond, 5, testKey(1));
    const asked: unknown[] = [];
    let streams = 0;
    const peer = await startRawPeer(BLOCKS_PROTOCOL, async (stream: Stream) => {
      if (streams++ === 0) {
        stream.abort(new Error('lost'));
        return;
      }
      await answerRaw(stream, ({ kind, ids }) => {
        asked.push(kind);
        const parts = (ids as CID[]).flatMap((id) => {
          const { manifest, payload } = find(made, id)!;
          return [manifest.bytes, payload];
        });
        const sizes = made.map((_, i) => [parts[2 * i]!.length, parts[2 * i + 1]!.length]);
        return withContent({ status: 'payloads', payloads: sizes }, ...parts);
      });
    });
    const { node, book, bring } = await fetcherOf(made, pond);
    await bring((await connect(node, peer)).toString());
    await eventually(() => expect(book.log.size).toBe(made.length));
    expect(asked).toEqual(['payloads']);
  });

  test('one that has nothing keeps nobody from getting all of it from another', async () => {
    const pond = await makePond();
    const made = await updates(pond, 5, testKey(1));
    const empty = await startNode<{ blocks: Blocks }>({ blocks: blocks({ source: nothing }) });
    const full = await startNode<{ blocks: Blocks }>({
      blocks: blocks({ source: sourceOf(made, { objects: 0, blocks: 0 }) }),
    });
    const { node, book, bring } = await fetcherOf(made, pond);
    await connect(node, full);
    await bring((await connect(node, empty)).toString());
    await eventually(() => expect(book.log.size).toBe(made.length));
  });
});
