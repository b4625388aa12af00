import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { RPC } from '@libp2p/gossipsub/message';
import type { PeerId } from '@libp2p/interface';
import pino from 'pino';
import { Community } from '../../node/core/community.ts';
import { loadOrCreateKey } from '../../node/home/keys.ts';
import { homePaths } from '../../node/home/paths.ts';
import { Network } from '../../node/net/network.ts';
import { PeerBook } from '../../node/net/peer-book.ts';
import { createHost, messageId } from '../../protocols/index.ts';
import { encodeTernarySync, ternaryFromSigns } from '../../src/codec/index.ts';
import { charterTable, manifestOf, signRecord } from '../../src/log/index.ts';
import { type SimulatedCommunity, simulatedCommunity } from './charter.ts';
import type { Rpc } from './gossip/rpc.ts';
import type { GossipObserver } from './observation.ts';
import { seededRandom } from './random.ts';

/** Nodes that each new one is told of, as in a simulation. */
const BOOTSTRAP_NODES = 2;

/** Real nodes in this process: homes on disk, worker threads, libp2p over loopback. */
export class RealNodes {
  readonly #options: SimulatedCommunity;
  readonly #directory: string;
  readonly #nodes: { community: Community; network: Network }[] = [];

  static async start(count: number, components: { observer: GossipObserver }): Promise<RealNodes> {
    const nodes = new RealNodes(await mkdtemp(join(tmpdir(), 'kinmerge-calibrate-')));
    for (let index = 0; index < count; index++) await nodes.#add(index, components.observer);
    return nodes;
  }

  private constructor(directory: string) {
    this.#directory = directory;
    this.#options = simulatedCommunity('calibration');
  }

  /** Whether all nodes hold that many updates and have one recipe. */
  agree(updates: number): boolean {
    const recipes = new Set(this.#nodes.map(({ community }) => community.view?.recipeId.toString()));
    return recipes.size === 1 && this.#nodes.every(({ community }) => community.book.log.size === updates);
  }

  /** One node contributes an update. @returns bytes of its payload */
  async contribute(index: number, name: string, density: number): Promise<number> {
    const { community, network } = this.#nodes[index]!;
    const { charter, charterId } = this.#options;
    const payload = payloadOf(charterTable(charter)[0]!.elements, name, density, charterTable(charter));
    const manifest = await manifestOf(payload);
    const { author, book } = community;
    await book.payloads.blobs.put(manifest.id, payload);
    const signed = await book.publish(author.publicKey, manifest, (link) =>
      signRecord(
        {
          version: 1,
          kind: 'update',
          author: author.publicKey,
          charter: charterId,
          ...link,
          payload: manifest.id,
          title: name,
          license: 'Apache-2.0',
          note: '',
        },
        author,
      ),
    );
    await network.publish(signed, payload);
    return payload.length;
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map(({ network }) => network.stop()));
    await Promise.all(this.#nodes.map(({ community }) => community.close()));
    await rm(this.#directory, { recursive: true, force: true, maxRetries: 3 });
  }

  async #add(index: number, observer: GossipObserver): Promise<void> {
    const home = homePaths(join(this.#directory, String(index)));
    await mkdir(home.root, { recursive: true });
    const { charter, charterId, charterBytes } = this.#options;
    await writeFile(home.charter, charterBytes);
    const logger = pino({ level: 'silent' });
    const community = new Community(
      { home, charter, charterId, base: null, engine: {}, fold: false },
      { author: await loadOrCreateKey(home.authorKey), logger },
    );
    await community.open();
    const book = new PeerBook({ path: home.peers });
    const known = [...this.#nodes].sort(() => Math.random() - 0.5).slice(0, BOOTSTRAP_NODES);
    for (const { network } of known) book.learn(network.peerId, network.addresses(), 'configured');
    const network = await Network.start(
      { listen: ['/ip4/127.0.0.1/tcp/0'], charterBytes },
      {
        community,
        key: await loadOrCreateKey(home.nodeKey),
        book,
        logger,
        listener: { onPeer: () => {} },
        createHost: observed(observer),
      },
    );
    this.#nodes.push({ community, network });
  }
}

/** A host whose gossip tells what it receives. */
function observed(observer: GossipObserver): typeof createHost {
  return async (init, services) => {
    const host = await createHost(init, services);
    // Not part of the published interface: where every RPC of a peer comes in.
    const gossip = host.services.gossip as unknown as { handleReceivedRpc(from: PeerId, rpc: RPC): Promise<void> };
    const handle = gossip.handleReceivedRpc.bind(gossip);
    gossip.handleReceivedRpc = (from, rpc) => {
      observer.received(host.peerId, from, readRpc(rpc), RPC.encode(rpc).length);
      return handle(from, rpc);
    };
    return host;
  };
}

/** A decoded RPC in the model's form. */
function readRpc({ messages, control }: RPC): Rpc {
  const text = (id: Uint8Array) => Buffer.from(id).toString('base64');
  return {
    messages: messages.map(({ topic, data }) => {
      const message = { topic, data: data ?? new Uint8Array() };
      return { ...message, id: text(messageId(message)) };
    }),
    ihave: (control?.ihave ?? []).map(({ topicID, messageIDs }) => ({
      topic: topicID ?? '',
      ids: messageIDs.map(text),
    })),
    iwant: (control?.iwant ?? []).flatMap(({ messageIDs }) => messageIDs.map(text)),
    idontwant: (control?.idontwant ?? []).flatMap(({ messageIDs }) => messageIDs.map(text)),
    graft: (control?.graft ?? []).flatMap(({ topicID }) => topicID ?? []),
    prune: (control?.prune ?? []).flatMap(({ topicID }) => topicID ?? []),
  };
}

/** A payload of one ternary tensor with this share of entries. */
function payloadOf(elements: number, name: string, density: number, table: ReturnType<typeof charterTable>) {
  const random = seededRandom(name);
  const signs = new Int8Array(elements);
  for (let i = 0; i < elements; i++) if (random() < density) signs[i] = random() < 0.7 ? 1 : -1;
  return encodeTernarySync(table, [ternaryFromSigns(0, signs, Math.fround(0.003))!]);
}
