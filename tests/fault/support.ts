/** Real nodes on loopback, and a libp2p peer that says whatever a test wants. */

import { generateKeyPair } from '@libp2p/crypto/keys';
import type { Libp2p, ServiceMap } from '@libp2p/interface';
import { multiaddr } from '@multiformats/multiaddr';
import type { ServiceFactoryMap } from 'libp2p';
import type pino from 'pino';
import { expect, onTestFinished } from 'vitest';
import type { Community } from '../../node/core/community.ts';
import { loadOrCreateKey } from '../../node/home/keys.ts';
import type { HomePaths } from '../../node/home/paths.ts';
import { Network } from '../../node/net/network.ts';
import type { NetworkOptions } from '../../node/net/network-host.ts';
import { PeerBook } from '../../node/net/peer-book.ts';
import { LocalService } from '../../node/service/local.ts';
import { createHost, encodeUpdate, type HostServices, updatesTopic } from '../../protocols/index.ts';
import { encodeSigned, generateKey } from '../../src/log/index.ts';
import {
  eventually,
  newHome,
  openCommunityHere,
  type Pond,
  payloadOf,
  silent,
  type Update,
  updateOf,
} from '../unit/node/support.ts';

export interface TestNode {
  readonly home: HomePaths;
  readonly community: Community;
  readonly network: Network;
  readonly service: LocalService;
  /** Ends the node; a test need not. */
  stop(): Promise<void>;
}

/** A node as the daemon makes it, in this process. */
export async function startNode(
  pond: Pond,
  options: {
    fold?: boolean;
    logger?: pino.Logger;
    peers?: readonly TestNode[];
    home?: HomePaths;
    network?: Partial<NetworkOptions>;
  } = {},
): Promise<TestNode> {
  const home = options.home ?? (await newHome(pond));
  const logger = options.logger ?? silent;
  const community = await openCommunityHere(pond, { home, fold: options.fold ?? false, logger });
  const service = new LocalService({ community });
  const book = new PeerBook({ path: home.peers });
  for (const peer of options.peers ?? []) book.learn(peer.network.peerId, peer.network.addresses(), 'configured');
  const network = await Network.start(
    { listen: ['/ip4/127.0.0.1/tcp/0'], charterBytes: pond.charterBytes, ...options.network },
    {
      community,
      key: await loadOrCreateKey(home.nodeKey),
      book,
      logger,
      listener: { onPeer: (id, connected) => service.peerChanged(id, connected) },
    },
  );
  service.network = network;
  let stopped: Promise<void> | undefined;
  const stop = () => {
    stopped ??= network.stop().then(() => community.close());
    return stopped;
  };
  onTestFinished(stop);
  return { home, community, network, service, stop };
}

export interface Stranger<T extends ServiceMap = ServiceMap> {
  readonly host: Libp2p<T & HostServices>;
  /** Sends bytes on the updates topic, whatever they are. */
  gossip(data: Uint8Array): Promise<void>;
  /** Announces an update as a good node would, with another payload or none where one is given. */
  announce(update: Update, payload?: Uint8Array | null): Promise<void>;
}

/** A peer of the community that is connected to the node, and listens and speaks on its updates topic. */
export async function stranger<T extends ServiceMap = Record<never, never>>(
  pond: Pond,
  node: TestNode,
  services: ServiceFactoryMap<T> = {} as ServiceFactoryMap<T>,
): Promise<Stranger<T>> {
  const host = await createHost(
    {
      privateKey: await generateKeyPair('Ed25519'),
      listen: ['/ip4/127.0.0.1/tcp/0'],
      version: '0.0.0-test',
      communities: [pond.charterId],
    },
    services,
  );
  onTestFinished(() => host.stop());
  const topic = updatesTopic(pond.charterId);
  const gossip = host.services.gossip;
  gossip.subscribe(topic);
  await host.dial(node.network.addresses().map((address) => multiaddr(address)));
  await eventually(() => expect(gossip.getSubscribers(topic).map(String)).toContain(node.network.peerId));
  const send = async (data: Uint8Array) => {
    const { recipients } = await gossip.publish(topic, data);
    expect(recipients.map(String)).toContain(node.network.peerId);
  };
  return {
    host,
    gossip: send,
    announce: (update, payload = update.payload) =>
      send(encodeUpdate({ record: encodeSigned(update.signed), payload })),
  };
}

let goods = 0;

/** The proof that a node is well: a good update of a new author from a new peer is held and accepted. */
export async function takesGoodUpdate(pond: Pond, node: TestNode): Promise<void> {
  const peer = await stranger(pond, node);
  const update = await updateOf(pond, generateKey(), payloadOf(pond, 1_000 + goods++), { title: 'good' });
  await peer.announce(update);
  await eventually(async () => {
    expect(node.community.book.log.state(update.signed.id)).toBe('held');
    expect((await node.service.why(update.signed.id.toString())).verdict).toBe('accepted');
  });
}

/** Time for a message to arrive and be judged, when nothing is to be seen of it. */
export async function settle(milliseconds = 300): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Longest stretch without a turn of the event loop that a running daemon may have, in milliseconds. */
export const MAX_BLOCK_MS = 50;
/** What a single turn may take when a full garbage collection falls into it on a busy machine, in milliseconds. */
const MAX_ODD_BLOCK_MS = 4 * MAX_BLOCK_MS;
/** Share of the turns that keep to the limit. */
const KEEPS_TO_LIMIT = 0.99;
/** Fewer turns than this say nothing. */
const MIN_TURNS = 50;

/**
 * Watches the work between two turns of this thread's event loop, in milliseconds of this thread's CPU time: another
 * process that takes the CPU away does not count, work of this program does.
 */
export function watchEventLoop(): { expectFree(): void } {
  let last = process.threadCpuUsage();
  const turns: number[] = [];
  const timer = setInterval(() => {
    const now = process.threadCpuUsage();
    turns.push((now.user - last.user + now.system - last.system) / 1_000);
    last = now;
  }, 1);
  onTestFinished(() => clearInterval(timer));
  return {
    /** Ends the watch. */
    expectFree: () => {
      clearInterval(timer);
      expect(turns.length).toBeGreaterThan(MIN_TURNS);
      turns.sort((a, b) => b - a);
      const allowed = Math.ceil(turns.length * (1 - KEEPS_TO_LIMIT));
      expect(turns.slice(allowed, allowed + 1), `of ${turns.length} turns: ${turns.slice(0, 5)}`).toSatisfy(
        ([turn]: number[]) => turn! < MAX_BLOCK_MS,
      );
      expect(turns[0]).toBeLessThan(MAX_ODD_BLOCK_MS);
    },
  };
}
