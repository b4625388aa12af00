import type { EventEmitter } from 'node:events';
import { privateKeyFromRaw } from '@libp2p/crypto/keys';
import type { IdentifyResult, Libp2p, Metrics, PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
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
import type { SignedRecord, SignedSeal, SigningKey } from '../../src/log/index.ts';
import {
  decodeSigned,
  decodeSignedHead,
  decodeSignedSeal,
  encodeSigned,
  encodeSignedSeal,
  keySeed,
} from '../../src/log/index.ts';
import type { Community, CommunityEvents, CommunityOptions } from '../core/community.ts';
import { Serial } from '../core/serial.ts';
import type { Logger } from '../logger.ts';
import { Turns } from '../turns.ts';
import { VERSION } from '../version.ts';
import { Dialer } from './dialer.ts';
import type { Tries } from './fetch-attempts.ts';
import { Fetcher } from './fetcher.ts';
import { Follower } from './follower.ts';
import { judgeSeal, judgeUpdate } from './gossip-judge.ts';
import { HeadTurn } from './head-turn.ts';
import { Heads } from './heads.ts';
import { dialableFrom, knownPeers } from './known-peers.ts';
import { listening } from './listening.ts';
import type { NetworkBook, NetworkShelf } from './network-book.ts';
import { NodeBlocks } from './node-blocks.ts';
import { Pace } from './pace.ts';
import type { PeerBook } from './peer-book.ts';
import { Syncer } from './syncer.ts';

/** A head is signed at most this often, in milliseconds: a burst of updates makes one, not many. */
export const HEAD_INTERVAL_MS = 500;
/**
 * Longest time between two heads that are gossiped while the log keeps changing, in milliseconds: they reach everybody
 * in many copies, and of a node that catches up nobody needs to know every step. Sync hands out the newest at any time.
 */
export const HEAD_GOSSIP_MAX_MS = 8_000;

/** How long a node that knows peers waits for one to catch up with before it seals by itself, in milliseconds. */
export const SEAL_GRACE_MS = 30_000;

type Host = Libp2p<HostServices & { blocks: Blocks; sync: Sync; peers: Peers }>;

export interface NetworkOptions {
  readonly listen: readonly string[];
  /** Addresses that others are told to dial; those it listens on when empty. */
  readonly announce?: readonly string[];
  readonly charterBytes: Uint8Array;
  /** Watches connections and streams. */
  readonly metrics?: Metrics;
}

/** What the network needs of a community. */
export type NetworkCommunity = EventEmitter<CommunityEvents> &
  Pick<Community, 'view' | 'offered'> &
  Partial<Pick<Community, 'renounceDeclined'>> & {
    readonly options: Pick<CommunityOptions, 'charterId'>;
    readonly book: NetworkBook;
    readonly shelf: NetworkShelf;
  };

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
  readonly #headTurn: HeadTurn;
  readonly #listener: NetworkListener;
  readonly #logger: Logger;
  readonly #started = performance.now();
  readonly #headGossip = new Pace(
    { firstMs: HEAD_INTERVAL_MS, maxMs: HEAD_GOSSIP_MAX_MS },
    { work: () => this.#headTurn.changed() },
  );
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
      /** Makes the host; libp2p's by default. The simulator has its own. */
      createHost?: typeof createHost;
    },
  ): Promise<Network> {
    const { community, key, book } = components;
    const { charterId } = community.options;
    const heads = new Heads({ charterId }, { key });
    // The services below need the syncer that is made from them: what comes before is covered by the timer.
    let syncer: Syncer | undefined;
    const host = await listening(options.listen, () =>
      (components.createHost ?? createHost)(
        {
          privateKey: privateKeyFromRaw(Buffer.concat([keySeed(key), key.publicKey])),
          listen: options.listen,
          announce: options.announce ?? [],
          version: VERSION,
          metrics: options.metrics,
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
            onHead: (peer, head) => void heads.judge(head, peer.toString()),
            onLacks: (peer, lacks) => syncer?.lacks(peer, lacks),
          }),
          peers: peers({ charter: charterId, source: () => knownPeers(book) }),
        },
      ),
    );
    const network = new Network(components, host, heads);
    syncer = network.#syncer;
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
    this.#fetcher = new Fetcher({
      book: community.book,
      blocks: host.services.blocks,
      peers: connected,
      logger,
      onHopeless: (payload) => community.renounceDeclined?.(payload),
    });
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
    this.#headTurn = new HeadTurn({ heads, publish: () => this.#gossipHead() });
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
      judgeSeal: (seal, from) =>
        judging.run(async () => {
          await turns.next();
          return judgeSeal(community.book, seal, () => this.#syncer.with(from));
        }),
      onSeal: async (seal) => {
        await community.book.takeSeal(decodeSignedSeal(seal));
      },
    });
  }

  get peerId(): string {
    return this.#host.peerId.toString();
  }

  /** Addresses that others dial this node at, each ending in its peer id. */
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

  /** How the fetching of a payload that a record waits for has gone. */
  tries(payload: CID): Tries | undefined {
    return this.#fetcher.tries(payload);
  }

  /**
   * Whether this node may make a seal: it knows no peer, has caught up with one, or has waited long enough for one. A node that was
   * off would else seal what others have sealed meanwhile, and two seals with one number stop them all. What heads say of seals
   * does not count: anybody can sign a head.
   */
  get maySeal(): boolean {
    const waited = performance.now() - this.#started >= SEAL_GRACE_MS;
    return this.#syncer.caughtUp || waited || this.book.all().length === 0;
  }

  /** Gossips an own update that is already durable. Nobody listening is no failure: sync hands it on. */
  async publish(signed: SignedRecord, inline: Uint8Array | null): Promise<void> {
    try {
      await this.#topics.publishUpdate({ record: encodeSigned(signed), payload: inline });
    } catch (error) {
      this.#logger.debug({ err: error }, 'gossip did not take the update; peers will find it by sync');
    }
  }

  /** Gossips an own seal that is already durable. */
  async publishSeal(signed: SignedSeal): Promise<void> {
    try {
      await this.#topics.publishSeal(encodeSignedSeal(signed));
    } catch (error) {
      this.#logger.debug({ err: error }, 'gossip did not take the seal; peers will find it by sync');
    }
  }

  async stop(): Promise<void> {
    clearTimeout(this.#headTimer);
    this.#community.off('held', this.#onHeld);
    this.#headGossip.stop();
    this.#community.off('missing', this.#onMissing);
    this.#community.off('view', this.#onView);
    this.#community.off('checkpoint', this.#onCheckpoint);
    this.#follower.stop();
    this.#headTurn.stop();
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
    this.#community.on('held', this.#onHeld);
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
  readonly #onHeld = (records: readonly SignedRecord[]) => {
    if (records.some(({ record }) => record.kind === 'amendment' && record.sealers !== null)) this.#syncer.reconsider();
  };
  readonly #onView = () => this.#scheduleHead();
  readonly #onCheckpoint = () => this.#scheduleHead();

  #scheduleHead(): void {
    this.#headTimer ??= setTimeout(() => {
      this.#headTimer = undefined;
      const { view } = this.#community;
      if (view === undefined) return;
      // Also of checkpoints that were finished before this node was on the network.
      this.heads.sign(view, (recipe) => this.#community.offered(recipe));
      this.#headGossip.request();
    }, HEAD_INTERVAL_MS);
  }

  #gossipHead(): void {
    const head = this.heads.own;
    if (head === null) return;
    this.#topics.publishHead(head).catch((error: unknown) => {
      this.#logger.debug({ err: error }, 'gossip did not take the head; peers learn it by sync');
    });
  }

  #takeHead(head: Uint8Array, from: PeerId): void {
    try {
      this.heads.take(head, from.toString());
    } catch (error) {
      this.#logger.debug({ peer: from.toString(), err: error }, 'a peer sent a head that does not hold');
    }
  }

  /** A head that names records or a seal that this node lacks means that gossip lost something: ask who passed it on. */
  #followHead(bytes: Uint8Array, from: PeerId): void {
    const { log } = this.#community.book;
    const { head } = decodeSignedHead(bytes);
    const lacksSeal = head.sealed !== null && !log.seals.has(head.sealed.seal);
    if (lacksSeal || head.frontier.some((id) => log.state(id) === 'unknown')) this.#follower.hint(from);
  }
}
