import type { PeerId } from '@libp2p/interface';
import type { Peers, Sync } from '../../protocols/index.ts';
import { isBreach } from '../../protocols/index.ts';
import type { RecordBook } from '../core/record-book.ts';
import type { Logger } from '../logger.ts';

/** How often a connected peer, drawn at random, is asked for what gossip lost, in milliseconds. */
export const SYNC_INTERVAL_MS = 10_000;
/** Exchanges under way at once. */
export const MAX_SYNCS = 4;
/** Peers that wait for an exchange at most; the timer comes back to any that was dropped. */
export const MAX_QUEUED_SYNCS = 64;
/** Time for one round, in milliseconds; the next one goes on from there. */
export const SYNC_ROUND_TIMEOUT_MS = 120_000;

export interface SyncerListener {
  /** A peer's encoded signed head, bounded but not checked. */
  onHead(head: Uint8Array, from: PeerId): void;
  onPeers(peers: Awaited<ReturnType<Peers['ask']>>): void;
  /** New records may wait for payloads. */
  onProgress(): void;
}

/** Compares logs with peers and takes what is missing: on connect, on a hint, and on a timer. */
export class Syncer {
  readonly #sync: Sync;
  readonly #exchange: Peers;
  readonly #book: RecordBook;
  readonly #connected: () => readonly PeerId[];
  readonly #listener: SyncerListener;
  readonly #logger: Logger;
  readonly #queue = new Map<string, PeerId>();
  readonly #active = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(components: {
    sync: Sync;
    exchange: Peers;
    book: RecordBook;
    connected: () => readonly PeerId[];
    listener: SyncerListener;
    logger: Logger;
  }) {
    this.#sync = components.sync;
    this.#exchange = components.exchange;
    this.#book = components.book;
    this.#connected = components.connected;
    this.#listener = components.listener;
    this.#logger = components.logger;
  }

  start(): void {
    this.#timer = setInterval(() => {
      const peers = this.#connected();
      const drawn = peers[Math.floor(Math.random() * peers.length)];
      if (drawn !== undefined) this.with(drawn);
    }, SYNC_INTERVAL_MS);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearInterval(this.#timer);
    this.#queue.clear();
    await Promise.all(this.#active.values());
  }

  /** Asks for an exchange with a peer, soon; asking again meanwhile changes nothing. */
  with(peer: PeerId): void {
    if (this.#stopping.signal.aborted || this.#queue.size >= MAX_QUEUED_SYNCS) return;
    this.#queue.set(peer.toString(), peer);
    this.#next();
  }

  #next(): void {
    for (const [key, peer] of this.#queue) {
      if (this.#active.size >= MAX_SYNCS) return;
      if (this.#active.has(key)) continue;
      this.#queue.delete(key);
      const round = this.#round(peer).finally(() => {
        this.#active.delete(key);
        this.#next();
      });
      this.#active.set(key, round);
    }
  }

  async #round(peer: PeerId): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(SYNC_ROUND_TIMEOUT_MS)]);
    try {
      const source = peer.toString();
      const result = await this.#sync.pull(
        peer,
        async (records) => {
          for (const signed of records) await this.#book.take(signed, null, source);
          this.#listener.onProgress();
        },
        { signal },
      );
      if (result.head !== null) this.#listener.onHead(result.head, peer);
      if (!result.complete) this.#queue.set(source, peer);
      this.#listener.onPeers(await this.#exchange.ask(peer, { signal }));
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      const level = isBreach(error) ? 'warn' : 'debug';
      this.#logger[level]({ peer: peer.toString(), err: error }, 'a sync round failed');
    }
  }
}
