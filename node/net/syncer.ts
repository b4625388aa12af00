import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Peers, PullResult, Sync } from '../../protocols/index.ts';
import { isBreach } from '../../protocols/index.ts';
import type { SignedRecord } from '../../src/log/index.ts';
import type { RecordBook } from '../core/record-book.ts';
import type { Logger } from '../logger.ts';
import { Turns } from '../turns.ts';
import { AskTimes } from './ask-times.ts';
import { SyncQueue } from './sync-queue.ts';
import { WaitingRecords } from './waiting-records.ts';

/** How often a connected peer, drawn at random, is asked for what gossip lost, in milliseconds. */
export const SYNC_INTERVAL_MS = 10_000;
/** How often the node looks whom it has to go back to, in milliseconds. */
export const GO_ON_INTERVAL_MS = 1_000;
/** Time for one round, in milliseconds; the next one goes on from there. */
export const SYNC_ROUND_TIMEOUT_MS = 120_000;

export interface SyncerListener {
  /** A peer's encoded signed head, bounded but not checked. */
  onHead(head: Uint8Array, from: PeerId): void;
  onPeers(peers: Awaited<ReturnType<Peers['ask']>>): void;
  /** A record waits for a payload. */
  onWaiting(signed: SignedRecord, from: PeerId): void;
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
  readonly #queue: SyncQueue;
  readonly #asked = new AskTimes();
  /** Peers that have more than there was room for, and how many records waited then. */
  readonly #refused = new Map<string, { readonly peer: PeerId; readonly waiting: number }>();
  readonly #waiting: WaitingRecords;
  readonly #stopping = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];

  constructor(components: {
    sync: Sync;
    exchange: Peers;
    book: RecordBook;
    connected: () => readonly PeerId[];
    /** Whether the node is connected to the peer by its own choice: strangers never take all the places. */
    isChosen: (id: string) => boolean;
    listener: SyncerListener;
    logger: Logger;
  }) {
    this.#sync = components.sync;
    this.#exchange = components.exchange;
    this.#book = components.book;
    this.#connected = components.connected;
    this.#listener = components.listener;
    this.#logger = components.logger;
    this.#waiting = new WaitingRecords(components.book.log);
    this.#queue = new SyncQueue({ isChosen: components.isChosen, run: (peer) => this.#round(peer) });
  }

  start(): void {
    const every = (milliseconds: number, work: () => void) => this.#timers.push(setInterval(work, milliseconds));
    every(GO_ON_INTERVAL_MS, () => this.#goOn());
    every(SYNC_INTERVAL_MS, () => {
      this.#book.expire().catch((error: unknown) => {
        this.#logger.error({ err: error }, 'records that waited too long could not be dropped');
      });
      const peers = this.#connected();
      const drawn = peers[Math.floor(Math.random() * peers.length)];
      if (drawn !== undefined) this.with(drawn);
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    for (const timer of this.#timers) clearInterval(timer);
    await this.#queue.stop();
  }

  /** Asks for an exchange with a peer, soon; asking again meanwhile changes nothing. */
  with(peer: PeerId): void {
    this.#queue.add(peer);
  }

  /**
   * Goes back to the peers whose records were refused, once some of those that wait are held or gone, and to those that
   * may know new peers.
   */
  #goOn(): void {
    const peers = this.#connected();
    const connected = new Set(peers.map(String));
    for (const peer of peers) if (this.#asked.isDueAgain(peer.toString())) this.#queue.add(peer);
    for (const [key, { peer, waiting }] of this.#refused) {
      if (!connected.has(key)) this.#refused.delete(key);
      else if (this.#book.log.pendingSize < waiting && this.#queue.add(peer)) this.#refused.delete(key);
    }
    this.#waiting.keepOnly(connected);
  }

  async #round(peer: PeerId): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(SYNC_ROUND_TIMEOUT_MS)]);
    const key = peer.toString();
    // Counts as asked also when the round fails: a peer that fails is not gone back to for this.
    const mayAsk = this.#asked.due(key);
    try {
      const known = this.#waiting.tips(key);
      const result = await this.#sync.pull(peer, (records) => this.#take(records, peer), { signal, known });
      if (result.head !== null) this.#listener.onHead(result.head, peer);
      this.#conclude(peer, result);
      if (mayAsk) this.#listener.onPeers(await this.#exchange.ask(peer, { signal }));
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      const level = isBreach(error) ? 'warn' : 'debug';
      this.#logger[level]({ peer: key, err: error }, 'a sync round failed');
    }
  }

  #conclude(peer: PeerId, { refused, unreadable, complete, received }: PullResult): void {
    const key = peer.toString();
    if (refused > 0) {
      this.#refused.set(key, { peer, waiting: this.#book.log.pendingSize });
      this.#logger.info({ peer: key, received }, 'a peer has more records than may wait here; the rest comes later');
    } else if (!complete) this.#queue.add(peer);
    if (unreadable > 0) {
      this.#logger.info({ peer: key, unreadable }, 'a peer holds records of a newer kinmerge: update to follow them');
    }
  }

  /** @returns the ids that there was no room for */
  async #take(records: readonly SignedRecord[], peer: PeerId): Promise<CID[]> {
    const source = peer.toString();
    const turns = new Turns();
    const refused: CID[] = [];
    for (const signed of records) {
      const { outcome } = await this.#book.take(signed, null, source);
      if (outcome === 'pending') {
        this.#waiting.add(source, signed);
        this.#listener.onWaiting(signed, peer);
      }
      // One more of a proven equivocator is not wanted: there is nothing to come back for.
      if (outcome === 'refused' && !this.#book.log.isSuperfluous(signed)) refused.push(signed.id);
      await turns.next();
    }
    this.#listener.onProgress();
    return refused;
  }
}
