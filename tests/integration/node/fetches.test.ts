import type { PeerId, Stream } from '@libp2p/interface';
import { describe, expect, test } from 'vitest';
import { BundleFetches, MAX_BUNDLES, MAX_GROUP_PAYLOADS } from '../../../node/net/bundle-fetches.ts';
import { FetchAttempts } from '../../../node/net/fetch-attempts.ts';
import type { NetworkBook } from '../../../node/net/network-book.ts';
import { PeerFaults } from '../../../node/net/peer-faults.ts';
import {
  HOPELESS_AFTER,
  MAX_MANIFEST_FETCHES,
  MAX_PAYLOAD_FETCHES,
  SingleFetches,
} from '../../../node/net/single-fetches.ts';
import { BLOCKS_PROTOCOL, type BlockSource, type Blocks, blocks } from '../../../protocols/index.ts';
import { idKey } from '../../../src/log/index.ts';
import { testId } from '../../unit/log/helpers.ts';
import { eventually, makePond, newHome, openBook, silent, type Update, updates } from '../../unit/node/support.ts';
import { connect, onCleanup, startNode, startRawPeer } from '../protocols/support.ts';

const nothing: BlockSource = { object: async () => undefined, block: async () => undefined };

/** A book that waits for the payloads of these updates, and what fetches them. */
async function waiting(made: readonly Update[], pond: Awaited<ReturnType<typeof makePond>>) {
  const node = await startNode<{ blocks: Blocks }>({ blocks: blocks({ source: nothing }) });
  const book = await openBook(pond, await newHome(pond));
  for (const { signed } of made) await book.take(signed, null, 'peer');
  const attempts = new FetchAttempts();
  const parts = { book, blocks: node.services.blocks, faults: new PeerFaults(), attempts, logger: silent };
  const stopping = new AbortController();
  onCleanup(() => stopping.abort(new Error('the test is over')));
  return { node, book, attempts, parts, signal: stopping.signal };
}

/** A peer that says nothing, whatever it is asked. */
const silentPeer = () => startRawPeer(BLOCKS_PROTOCOL, (_stream: Stream) => new Promise(() => {}));

const itemsOf = (made: readonly Update[], source: string) => {
  const items = made.map(({ manifest: { id } }) => ({ id, key: idKey(id), source, tries: 0 }));
  return items as [(typeof items)[0], ...typeof items];
};

describe('a bundle', () => {
  test(`is made durable in groups of ${MAX_GROUP_PAYLOADS} payloads`, async () => {
    const pond = await makePond();
    const made = await updates(pond, 2 * MAX_GROUP_PAYLOADS + 1);
    const find = (id: unknown) => made.find(({ manifest }) => manifest.id.equals(id));
    const source: BlockSource = {
      object: async (id) => find(id)?.manifest.bytes,
      block: async (id) => find(id)?.payload,
    };
    const { node, book, attempts, parts, signal } = await waiting(made, pond);
    const groups: number[] = [];
    const payloads: Pick<NetworkBook['payloads'], 'receive'> = {
      receive: (group) => {
        groups.push(group.length);
        return book.payloads.receive(group);
      },
    };
    const peer = await connect(node, await startNode<{ blocks: Blocks }>({ blocks: blocks({ source }) }));
    const items = itemsOf(made, peer.toString());
    await new BundleFetches({ ...parts, book: { log: book.log, payloads } }).fetch(items, peer, signal);
    expect(groups).toEqual([MAX_GROUP_PAYLOADS, MAX_GROUP_PAYLOADS, 1]);
    expect(book.log.size).toBe(made.length);
    expect(items.every(({ key }) => attempts.tries(key, false) === undefined)).toBe(true);
  });

  test(`is one of at most ${MAX_BUNDLES}, and the only one on behalf of a peer`, async () => {
    const pond = await makePond();
    const made = await updates(pond, MAX_BUNDLES + 1);
    const { node, parts, signal } = await waiting(made, pond);
    const peer = await connect(node, await silentPeer());
    const bundles = new BundleFetches(parts);
    for (let i = 0; i < MAX_BUNDLES; i++) {
      expect(bundles.mayBegin(`peer ${i}`)).toBe(true);
      void bundles.fetch(itemsOf(made.slice(i, i + 1), `peer ${i}`), peer, signal);
      expect(bundles.mayBegin(`peer ${i}`)).toBe(false);
    }
    expect(bundles.mayBegin('another')).toBe(false);
  });
});

describe('a payload that is fetched by itself', () => {
  const single = ({ parts }: Awaited<ReturnType<typeof waiting>>, onHopeless: () => void = () => {}) =>
    new SingleFetches({ ...parts, doPayloadsWait: () => false, onHopeless });

  test(`counts as hopeless from the ${HOPELESS_AFTER}th try on that nobody gave it`, async () => {
    const pond = await makePond();
    const made = await updates(pond, 1);
    const scene = await waiting(made, pond);
    const peers = [await connect(scene.node, await startNode({ blocks: blocks({ source: nothing }) }))];
    let told = 0;
    const fetches = single(scene, () => void told++);
    const { id } = made[0]!.manifest;
    for (let tries = 1; tries <= HOPELESS_AFTER + 1; tries++) {
      await fetches.fetch(id, 'manifest', peers, scene.signal);
      expect(scene.attempts.tries(idKey(id), false)).toMatchObject({ count: tries, error: { code: 'NOT_FOUND' } });
      expect(told).toBe(Math.max(0, tries - HOPELESS_AFTER + 1));
    }
  });

  test.each([
    ['manifest', MAX_MANIFEST_FETCHES],
    ['payload', MAX_PAYLOAD_FETCHES],
  ] as const)('is, as a %s, one of at most %i at once', async (kind, most) => {
    const pond = await makePond();
    const scene = await waiting([], pond);
    const peers: PeerId[] = [await connect(scene.node, await silentPeer())];
    const fetches = single(scene);
    for (let i = 0; i < most; i++) {
      expect(fetches.mayBegin(kind)).toBe(true);
      void fetches.fetch(testId(i), kind, peers, scene.signal);
    }
    expect(fetches.mayBegin(kind)).toBe(false);
    expect(fetches.mayBegin(kind === 'manifest' ? 'payload' : 'manifest')).toBe(true);
    await eventually(() => expect(scene.node.getPeers()).toHaveLength(1));
  });
});
