import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Peers, PullResult, Sync } from '../../protocols/index.ts';
import { isBreach } from '../../protocols/index.ts';
import { entryParents, isSealEntry, type LogEntry, type SignedRecord } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { Turns } from '../turns.ts';
import { AskTimes } from './ask-times.ts';
import type { NetworkBook } from './network-book.ts';
import { PassedOver } from './passed-over.ts';
import { PeerBackoff } from './peer-backoff.ts';
import { SyncQueue } from './sync-queue.ts';
import { SyncTurn } from './sync-turn.ts';

/** How often a connected peer, drawn at random, is asked for what gossip lost, in milliseconds. */
export const SYNC_INTERVAL_MS = 10_000;
/** How often the node looks whom it has to go back to, in milliseconds. */
export const GO_ON_INTERVAL_MS = 1_000;
/** Time for one round, in milliseconds; the next one goes on from there. */
export const SYNC_ROUND_TIMEOUT_MS = 120_000;

export interface SyncerListener {
  /** A peer's encoded signed head that was not known here, bounded but not checked. */
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
  readonly #book: NetworkBook;
  readonly #connected: () => readonly PeerId[];
  readonly #listener: SyncerListener;
  readonly #logger: Logger;
  readonly #queue: SyncQueue;
  readonly #asked = new AskTimes();
  /** Peers that have more than there was room for, and how many records waited then. */
  readonly #refused = new Map<string, { readonly peer: PeerId; readonly waiting: number }>();
  /** What peers said they have and this log lacks, to be asked for by name. */
  readonly #named = new Map<string, readonly CID[]>();
  #passedOver = new PassedOver();
  #caughtUp = false;
  readonly #backoff = new PeerBackoff();
  readonly #turn = new SyncTurn();
  readonly #stopping = new AbortController();
  readonly #timers: NodeJS.Timeout[] = [];

  constructor(components: {
    sync: Sync;
    exchange: Peers;
    book: NetworkBook;
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
    // It may have more by now than it named.
    this.#named.delete(peer.toString());
    this.#add(peer);
  }

  /** A peer says what this log lacks: how many records, and the first of them. */
  lacks(peer: PeerId, { count, ids }: { readonly count: number; readonly ids: readonly CID[] }): void {
    const { knownIds } = this.#book.log;
    const lacked = ids.filter((id) => !knownIds.has(id) && !this.#passedOver.ids.has(id));
    if (lacked.length === 0 && count <= ids.length) return;
    // A part of them would come without the parents: then everything is compared.
    const isAll = count <= ids.length;
    if (this.#add(peer) && isAll) this.#named.set(peer.toString(), lacked);
  }

  /** Whether everything that some peer had has come since the start. */
  get caughtUp(): boolean {
    return this.#caughtUp;
  }

  /** What could not be used may be of use now: a newer amendment names other sealers. */
  reconsider(): void {
    this.#passedOver = new PassedOver();
  }

  #add(peer: PeerId): boolean {
    return !this.#backoff.isOff(peer.toString()) && this.#queue.add(peer);
  }

  /**
   * Goes back to the peers whose records were refused, once some of those that wait are held or gone, and to those that
   * may know new peers.
   */
  #goOn(): void {
    const peers = this.#connected();
    const connected = new Set(peers.map(String));
    for (const peer of peers) if (this.#asked.isDueAgain(peer.toString())) this.#add(peer);
    for (const [key, { peer, waiting }] of this.#refused) {
      if (!connected.has(key)) this.#refused.delete(key);
      else if (this.#book.log.pendingSize < waiting && this.#add(peer)) this.#refused.delete(key);
    }
    for (const key of this.#named.keys()) if (!connected.has(key)) this.#named.delete(key);
  }

  async #round(peer: PeerId): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, AbortSignal.timeout(SYNC_ROUND_TIMEOUT_MS)]);
    const key = peer.toString();
    // Counts as asked also when the round fails: a peer that fails is not gone back to for this.
    const mayAsk = this.#asked.due(key);
    const named = this.#named.get(key);
    this.#named.delete(key);
    try {
      const result = await this.#sync.pull(peer, (entries) => this.#take(entries, peer), {
        signal,
        named,
        passedOver: this.#passedOver.ids,
        turn: () => this.#turn.take(signal),
      });
      if (result.head !== null) this.#listener.onHead(result.head, peer);
      this.#conclude(peer, result);
      if (mayAsk) this.#listener.onPeers(await this.#exchange.ask(peer, { signal }));
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      const level = isBreach(error) ? 'warn' : 'debug';
      const waitMs = isBreach(error) ? this.#backoff.note(key) : 0;
      this.#logger[level]({ peer: key, waitMs, err: error }, 'a sync round failed');
    }
  }

  #conclude(peer: PeerId, { refused, unreadable, complete, received, withheld }: PullResult): void {
    const key = peer.toString();
    for (const id of unreadable) this.#passedOver.add(id, 'unreadable');
    if (unreadable.length > 0) {
      const fields = { peer: key, unreadable: unreadable.length };
      this.#logger.info(fields, 'a peer holds records of a newer kinmerge: update to follow them');
    }
    if (withheld > 0) {
      const waitMs = this.#backoff.note(key);
      this.#logger.warn({ peer: key, withheld, waitMs }, 'a peer did not give records that it says it has');
      return;
    }
    this.#backoff.clear(key);
    this.#caughtUp ||= complete && refused === 0;
    if (refused > 0) {
      this.#refused.set(key, { peer, waiting: this.#book.log.pendingSize });
      this.#logger.info({ peer: key, received }, 'a peer has more records than may wait here; the rest comes later');
    } else if (!complete) this.#queue.add(peer);
  }

  /** @returns the ids that there was no room for */
  async #take(entries: readonly LogEntry[], peer: PeerId): Promise<CID[]> {
    const source = peer.toString();
    const turns = new Turns();
    const refused: CID[] = [];
    for (const entry of entries) {
      if (this.#passedOver.covers(entryParents(entry))) {
        this.#passedOver.add(entry.id, 'unreadable');
        continue;
      }
      if (isSealEntry(entry)) {
        const taken = await this.#book.takeSeal(entry.sealed);
        // A third one of a sealer that signed twice, or of a key that is no sealer here yet: not to come in every round.
        if (taken === 'refused' || taken === 'untrusted') this.#passedOver.add(entry.id, 'superfluous');
        continue;
      }
      const { outcome } = await this.#book.take(entry, null, source);
      if (outcome === 'pending') this.#listener.onWaiting(entry, peer);
      // One more of a proven equivocator is not wanted: there is nothing to come back for.
      if (outcome === 'refused' && this.#book.log.isSuperfluous(entry)) this.#passedOver.add(entry.id, 'superfluous');
      else if (outcome === 'refused') refused.push(entry.id);
      await turns.next();
    }
    this.#listener.onProgress();
    return refused;
  }
}
