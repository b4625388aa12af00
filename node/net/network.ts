import type { EventEmitter } from 'node:events';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { IdentifyResult, Libp2p, PeerId } from '@libp2p/interface';
import type { Blocks, HostServices, Peers, Sync, Topics } from '../../protocols/index.ts';
import {
  blocks,
  createHost,
  createTopics,
  formatJoinLine,
  logSource,
  parsePeerAddress,
  peers,
  SYNC_PROTOCOL,
  sync,
} from '../../protocols/index.ts';
import type { SignedRecord, SigningKey } from '../../src/log/index.ts';
import { decodeSigned, decodeSignedHead, encodeSigned, keySeed } from '../../src/log/index.ts';
import type { Community, CommunityEvents, CommunityOptions } from '../core/community.ts';
import { Serial } from '../core/serial.ts';
import type { Logger } from '../logger.ts';
import { Turns } from '../turns.ts';
import { VERSION } from '../version.ts';
import { Dialer } from './dialer.ts';
import { Fetcher } from './fetcher.ts';
import { Follower } from './follower.ts';
import { judgeUpdate } from './gossip-judge.ts';
import { Heads } from './heads.ts';
import { dialableFrom, knownPeers } from './known-peers.ts';
import { listening } from './listening.ts';
import { NodeBlocks } from './node-blocks.ts';
import type { PeerBook } from './peer-book.ts';
import { Syncer } from './syncer.ts';

/** Heads are gossiped at most this often, in milliseconds: a burst of updates makes one head, not many. */
export const HEAD_INTERVAL_MS = 500;

type Host = Libp2p<HostServices & { blocks: Blocks; sync: Sync; peers: Peers }>;

export interface NetworkOptions {
  readonly listen: readonly string[];
  readonly charterBytes: Uint8Array;
}

/** What the network needs of a community. */
export type NetworkCommunity = EventEmitter<CommunityEvents> &
  Pick<Community, 'book' | 'shelf' | 'view' | 'offered'> & { readonly options: Pick<CommunityOptions, 'charterId'> };

export interface NetworkListener {
  onPeer(id: string, connected: boolean): void;
}

/** One community's life on the network: gossip, sync, fetching and serving, and who is known. */
export class Network {
  readonly heads: Heads;
  readonly book: PeerBook;
  readonly #community: NetworkCommunity;
  readonly #host: Host;
  readonly #topics: Topics;
  readonly #syncer: Syncer;
  readonly #fetcher: Fetcher;
  readonly #dialer: Dialer;
  readonly #follower: Follower;
  readonly #listener: NetworkListener;
  readonly #logger: Logger;
  #headTimer: NodeJS.Timeout | undefined;

  /** Creates the libp2p host and starts to listen. */
  static async start(
    options: NetworkOptions,
    components: {
      community: NetworkCommunity;
      key: SigningKey;
      book: PeerBook;
      logger: Logger;
      listener: NetworkListener;
    },
  ): Promise<Network> {
    const { community, key, book } = components;
    const { charterId } = community.options;
    const heads = new Heads({ charterId }, { key });
    // The services below need the network that is made from them: what comes before is covered by the timer.
    let takeHead: ((head: Uint8Array, from: PeerId) => void) | undefined;
    let syncer: Syncer | undefined;
    const host = await listening(options.listen, () =>
      createHost(
        {
          privateKey: privateKeyFromRaw(Buffer.concat([keySeed(key), key.publicKey])),
          listen: options.listen,
          version: VERSION,
          communities: [charterId],
        },
        {
          blocks: blocks({
            source: new NodeBlocks(
              { charterId, charterBytes: options.charterBytes },
              { book: community.book, shelf: community.shelf },
            ),
          }),
          sync: sync({
            source: logSource({
              log: community.book.log,
              charter: charterId,
              head: () => heads.own,
              hasHead: (digest) => heads.has(digest),
            }),
            onHead: (peer, head) => takeHead?.(head, peer),
            onLacks: (peer, lacks) => syncer?.lacks(peer, lacks),
          }),
          peers: peers({ charter: charterId, source: () => knownPeers(book) }),
        },
      ),
    );
    const network = new Network(components, host, heads);
    syncer = network.#syncer;
    takeHead = (head, from) => network.#takeHead(head, from);
    network.#begin();
    return network;
  }

  private constructor(
    components: { community: NetworkCommunity; book: PeerBook; logger: Logger; listener: NetworkListener },
    host: Host,
    heads: Heads,
  ) {
    const { community, book, logger } = components;
    this.heads = heads;
    this.book = book;
    this.#community = community;
    this.#host = host;
    this.#listener = components.listener;
    this.#logger = logger;
    const connected = () => host.getPeers();
    this.#fetcher = new Fetcher({ book: community.book, blocks: host.services.blocks, peers: connected, logger });
    this.#syncer = new Syncer({
      sync: host.services.sync,
      exchange: host.services.peers,
      book: community.book,
      connected,
      isChosen: (id) => this.#dialer.isChosen(id),
      logger,
      listener: {
        onHead: (head, from) => this.#takeHead(head, from),
        onWaiting: (signed, from) => this.#fetcher.brought(signed, from.toString()),
        onPeers: (found) => {
          for (const { id, addresses } of found) book.learn(id.toString(), addresses.map(String), 'hearsay');
        },
        onProgress: () => this.#fetcher.poke(),
      },
    });
    this.#dialer = new Dialer({ host, book, logger });
    this.#follower = new Follower((peer) => this.#syncer.with(peer));
    // Messages come in bursts as large as a read buffer, and each costs a signature check: one after another, in turns
    // with the rest of the node.
    const turns = new Turns();
    const judging = new Serial();
    this.#topics = createTopics({
      gossip: host.services.gossip,
      logger: host.logger,
      community: community.options.charterId,
      judgeUpdate: (message, from) =>
        judging.run(async () => {
          await turns.next();
          return judgeUpdate(community.book, message, from, (signed, peer) => {
            this.#take(signed, null, peer).catch((error: unknown) => {
              logger.error({ err: error }, 'a record could not be stored; it will come again by sync');
            });
            this.#syncer.with(peer);
          });
        }),
      onUpdate: (message, from) => this.#take(decodeSigned(message.record), message.payload, from),
      judgeHead: (head, from) =>
        judging.run(async () => {
          await turns.next();
          return heads.judge(head, from.toString());
        }),
      onHead: (head, from) => this.#followHead(head, from),
    });
  }

  get peerId(): string {
    return this.#host.peerId.toString();
  }

  /** Addresses to dial this node at, each ending in its peer id. */
  addresses(): string[] {
    return this.#host.getMultiaddrs().map(String);
  }

  /** Lines that another node can join with. */
  joinLines(): string[] {
    return this.#host.getMultiaddrs().flatMap((address) => {
      const parsed = parsePeerAddress(address.toString());
      return parsed === undefined ? [] : [formatJoinLine(this.#community.options.charterId, parsed.address)];
    });
  }

  connected(): string[] {
    return this.#host.getPeers().map(String);
  }

  /** Gossips an own update that is already durable. Nobody listening is no failure: sync hands it on. */
  async publish(signed: SignedRecord, inline: Uint8Array | null): Promise<void> {
    try {
      await this.#topics.publishUpdate({ record: encodeSigned(signed), payload: inline });
    } catch (error) {
      this.#logger.debug({ err: error }, 'gossip did not take the update; peers will find it by sync');
    }
  }

  async stop(): Promise<void> {
    clearTimeout(this.#headTimer);
    this.#community.off('missing', this.#onMissing);
    this.#community.off('view', this.#onView);
    this.#community.off('checkpoint', this.#onCheckpoint);
    this.#follower.stop();
    await Promise.all([this.#topics.stop(), this.#dialer.stop(), this.#syncer.stop(), this.#fetcher.stop()]);
    await this.#host.stop();
    await this.book.flush();
  }

  #begin(): void {
    this.#topics.start();
    this.#host.addEventListener('peer:connect', ({ detail }) => {
      this.#listener.onPeer(detail.toString(), true);
    });
    this.#host.addEventListener('peer:disconnect', ({ detail }) => {
      this.book.disconnected(detail.toString());
      this.#listener.onPeer(detail.toString(), false);
    });
    this.#host.addEventListener('peer:identify', ({ detail }) => this.#onIdentify(detail));
    this.#community.on('missing', this.#onMissing);
    this.#community.on('view', this.#onView);
    this.#community.on('checkpoint', this.#onCheckpoint);
    this.#syncer.start();
    this.#dialer.start();
    this.#scheduleHead();
  }

  #onIdentify({ peerId, protocols, listenAddrs, connection }: IdentifyResult): void {
    const id = peerId.toString();
    if (!protocols.includes(SYNC_PROTOCOL)) {
      this.#dialer.useless(id);
      return;
    }
    this.book.learn(id, dialableFrom(connection.remoteAddr, listenAddrs, id), 'peer');
    this.book.connected(id);
    this.#syncer.with(peerId);
    this.#fetcher.poke();
  }

  async #take(signed: SignedRecord, payload: Uint8Array | null, from: PeerId): Promise<void> {
    const source = from.toString();
    const { outcome } = await this.#community.book.take(signed, payload, source);
    if (outcome === 'pending') this.#fetcher.brought(signed, source);
  }

  readonly #onMissing = () => this.#fetcher.poke();
  readonly #onView = () => this.#scheduleHead();
  readonly #onCheckpoint = () => this.#scheduleHead();

  #scheduleHead(): void {
    this.#headTimer ??= setTimeout(() => {
      this.#headTimer = undefined;
      const { view, offered } = this.#community;
      if (view === undefined) return;
      // Also one that was finished before this node was on the network.
      const finished = offered?.recipe === view.recipeId.toString() ? offered.document : null;
      const head = this.heads.sign(view, finished);
      this.#topics.publishHead(head).catch((error: unknown) => {
        this.#logger.debug({ err: error }, 'gossip did not take the head; peers learn it by sync');
      });
    }, HEAD_INTERVAL_MS);
  }

  #takeHead(head: Uint8Array, from: PeerId): void {
    try {
      this.heads.take(head, from.toString());
    } catch (error) {
      this.#logger.debug({ peer: from.toString(), err: error }, 'a peer sent a head that does not hold');
    }
  }

  /** A head that names records this node lacks means that gossip lost something: ask who passed it on. */
  #followHead(bytes: Uint8Array, from: PeerId): void {
    const { log } = this.#community.book;
    const { head } = decodeSignedHead(bytes);
    if (head.frontier.some((id) => log.state(id) === 'unknown')) this.#follower.hint(from);
  }
}
