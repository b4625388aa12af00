import type { IdentifyResult } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { type createHost, formatJoinLine, parsePeerAddress, SYNC_PROTOCOL } from '../../protocols/index.ts';
import type { SignedRecord, SignedSeal, SigningKey } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { Dialer } from './dialer.ts';
import type { Tries } from './fetch-attempts.ts';
import { Fetcher } from './fetcher.ts';
import { Gossip } from './gossip.ts';
import { HeadGossip } from './head-gossip.ts';
import { Heads } from './heads.ts';
import { dialableFrom } from './known-peers.ts';
import type { NetworkCommunity } from './network-book.ts';
import { type NetworkHost, type NetworkOptions, startHost } from './network-host.ts';
import type { PeerBook } from './peer-book.ts';
import { Syncer, type SyncerListener } from './syncer.ts';

/** How long a node that knows peers waits for one to catch up with before it seals by itself, in milliseconds. */
export const SEAL_GRACE_MS = 30_000;

export interface NetworkListener {
  onPeer(id: string, connected: boolean): void;
}

interface NetworkComponents {
  readonly community: NetworkCommunity;
  readonly book: PeerBook;
  readonly logger: Logger;
  readonly listener: NetworkListener;
}

/** One community's life on the network: gossip, sync, fetching and serving, and who is known. */
export class Network {
  readonly heads: Heads;
  readonly book: PeerBook;
  readonly #community: NetworkCommunity;
  readonly #host: NetworkHost;
  readonly #gossip: Gossip;
  readonly #headGossip: HeadGossip;
  readonly #syncer: Syncer;
  readonly #fetcher: Fetcher;
  readonly #dialer: Dialer;
  readonly #listener: NetworkListener;
  readonly #logger: Logger;
  readonly #started = performance.now();

  /** Creates the libp2p host and starts to listen. */
  static async start(
    options: NetworkOptions,
    components: NetworkComponents & {
      readonly key: SigningKey;
      /** Makes the host; libp2p's by default. The simulator has its own. */
      readonly createHost?: typeof createHost;
    },
  ): Promise<Network> {
    const { community, key, book } = components;
    const heads = new Heads({ charterId: community.options.charterId }, { key });
    // The host's services need the syncer that is made from them: what comes before is covered by the timer.
    let syncer: Syncer | undefined;
    const host = await startHost(options, {
      community,
      key,
      heads,
      peers: book,
      onLacks: (peer, lacks) => syncer?.lacks(peer, lacks),
      createHost: components.createHost,
    });
    const network = new Network({ ...components, host, heads });
    syncer = network.#syncer;
    network.#begin();
    return network;
  }

  private constructor(components: NetworkComponents & { readonly host: NetworkHost; readonly heads: Heads }) {
    const { community, host, heads, book: peers, logger } = components;
    const { book } = community;
    const { blocks, sync, peers: exchange } = host.services;
    this.heads = heads;
    this.book = peers;
    this.#community = community;
    this.#host = host;
    this.#listener = components.listener;
    this.#logger = logger;
    const connected = () => host.getPeers();
    this.#fetcher = new Fetcher({
      book,
      blocks,
      peers: connected,
      logger,
      onHopeless: (payload) => community.renounceDeclined?.(payload),
    });
    this.#dialer = new Dialer({ host, book: peers, logger });
    const onWaiting: SyncerListener['onWaiting'] = (signed, from) => this.#fetcher.brought(signed, from.toString());
    this.#syncer = new Syncer({
      sync,
      exchange,
      book,
      connected,
      isChosen: (id) => this.#dialer.isChosen(id),
      logger,
      listener: {
        onHead: (head, from) => this.#takeHead(head, from.toString()),
        onWaiting,
        onPeers: (found) => {
          for (const { id, addresses } of found) peers.learn(id.toString(), addresses.map(String), 'hearsay');
        },
        onProgress: () => this.#fetcher.poke(),
      },
    });
    this.#gossip = new Gossip(
      { charterId: community.options.charterId },
      { host, book, heads, logger, listener: { onWaiting, onBehind: (peer) => this.#syncer.with(peer) } },
    );
    this.#headGossip = new HeadGossip({
      community,
      heads,
      publish: (head) => void this.#gossip.publishHead(head),
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
    await this.#gossip.publishUpdate(signed, inline);
  }

  /** Gossips an own seal that is already durable. */
  async publishSeal(signed: SignedSeal): Promise<void> {
    await this.#gossip.publishSeal(signed);
  }

  async stop(): Promise<void> {
    this.#community.off('held', this.#onHeld);
    this.#community.off('missing', this.#onMissing);
    this.#headGossip.stop();
    await Promise.all([this.#gossip.stop(), this.#dialer.stop(), this.#syncer.stop(), this.#fetcher.stop()]);
    await this.#host.stop();
    await this.book.flush();
  }

  #begin(): void {
    this.#gossip.start();
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
    this.#syncer.start();
    this.#dialer.start();
    this.#headGossip.start();
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

  readonly #onMissing = () => this.#fetcher.poke();
  readonly #onHeld = (records: readonly SignedRecord[]) => {
    if (records.some(({ record }) => record.kind === 'amendment' && record.sealers !== null)) this.#syncer.reconsider();
  };

  #takeHead(head: Uint8Array, peer: string): void {
    try {
      this.heads.take(head, peer);
    } catch (error) {
      this.#logger.debug({ peer, err: error }, 'a peer sent a head that does not hold');
    }
  }
}
