import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Blocks } from '../../protocols/index.ts';
import type { SignedRecord } from '../../src/log/index.ts';
import { authorKey, idKey, payloadOf } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { BundleFetches, MAX_BUNDLED_PAYLOADS } from './bundle-fetches.ts';
import { FetchAttempts, type Tries } from './fetch-attempts.ts';
import { inTurns, type Wanted } from './fetch-turns.ts';
import type { NetworkBook } from './network-book.ts';
import { PeerFaults } from './peer-faults.ts';
import { SingleFetches, type SingleKind } from './single-fetches.ts';

/**
 * Shortest time between two looks at what is missing, in milliseconds: a look walks all that waits, and every arrival
 * asks for one.
 */
export const LOOK_INTERVAL_MS = 50;
/** Time between two looks by the time that the last one took: with thousands of waiting records, a look takes long. */
export const LOOK_PAUSE_FACTOR = 20;

interface Due extends Wanted {
  readonly id: CID;
  readonly kind: SingleKind | 'bundle';
}

/** Fetches the manifests and payloads that waiting records need, from any connected peer, as long as they are needed. */
export class Fetcher {
  readonly #book: NetworkBook;
  readonly #peers: () => readonly PeerId[];
  readonly #faults = new PeerFaults();
  readonly #attempts = new FetchAttempts();
  readonly #bundles: BundleFetches;
  readonly #singles: SingleFetches;
  /** What is under way, by its key; those of a bundle end together. */
  readonly #active = new Map<string, Promise<void>>();
  /** On whose behalf a payload is wanted, by its key. */
  readonly #origins = new Map<string, { author: string; source: string }>();
  readonly #stopping = new AbortController();
  /** What was due at the last look and has not begun. */
  #due: Due[] = [];
  #nextLook = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(components: {
    book: NetworkBook;
    blocks: Blocks;
    peers: () => readonly PeerId[];
    logger: Logger;
    /** Told after every try from the `HOPELESS_AFTER`th on that nobody gave the payload. */
    onHopeless?: (payload: CID) => void;
  }) {
    const { book, blocks, peers, logger, onHopeless = () => {} } = components;
    this.#book = book;
    this.#peers = peers;
    const parts = { book, blocks, faults: this.#faults, attempts: this.#attempts, logger };
    this.#bundles = new BundleFetches(parts);
    const doPayloadsWait = () => this.#due.some(({ kind }) => kind === 'payload');
    this.#singles = new SingleFetches({ ...parts, doPayloadsWait, onHopeless });
  }

  /** Notes who brought a record that waits: the first to be asked for its payload, and whose turn it takes. */
  brought({ record }: SignedRecord, source: string): void {
    const payload = payloadOf(record);
    if (payload === null) return;
    const key = idKey(payload);
    if (!this.#origins.has(key)) this.#origins.set(key, { author: authorKey(record.author), source });
  }

  /** Starts what is missing and due, at once or soon. Call it when something new waits or a peer connected. */
  poke(): void {
    if (this.#stopping.signal.aborted) return;
    const now = performance.now();
    if (now < this.#nextLook) {
      this.#pokeAfter(this.#nextLook - now);
      return;
    }
    this.#look();
    const ended = performance.now();
    this.#nextLook = now + Math.max(LOOK_INTERVAL_MS, LOOK_PAUSE_FACTOR * (ended - now));
  }

  /** How often a payload, or its manifest, was tried; undefined when it was not yet. */
  tries(payload: CID): Tries | undefined {
    const key = idKey(payload);
    return this.#attempts.tries(key, this.#active.has(key));
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await Promise.all(this.#active.values());
  }

  #look(): void {
    const now = performance.now();
    const wanted = this.#wanted();
    this.#attempts.keepOnly(wanted);
    for (const key of this.#origins.keys()) if (!wanted.has(key)) this.#origins.delete(key);
    this.#due = [];
    if (this.#peers().length === 0) return;
    let next = Number.POSITIVE_INFINITY;
    const due: Due[] = [];
    for (const [key, item] of wanted) {
      if (this.#active.has(key)) continue;
      const { notBefore } = this.#attempts.of(key);
      if (notBefore <= now) due.push(item);
      else next = Math.min(next, notBefore);
    }
    this.#due = inTurns(due);
    if (next < Number.POSITIVE_INFINITY) this.#pokeAfter(next - now);
    this.#advance();
  }

  /** All that waiting records need, by its key. */
  #wanted(): Map<string, Due> {
    const { manifests, payloads } = this.#book.payloads.missing();
    const wanted = new Map<string, Due>();
    const want = (id: CID, kind: SingleKind): void => {
      const key = idKey(id);
      const { author, source } = this.#origins.get(key) ?? { author: undefined, source: undefined };
      const { failures, turns, alone } = this.#attempts.of(key);
      const bundled = kind === 'manifest' && failures === 0 && !alone;
      wanted.set(key, { key, id, kind: bundled ? 'bundle' : kind, author, source, tries: failures + turns });
    };
    for (const id of payloads) want(id, 'payload');
    for (const id of manifests) want(id, 'manifest');
    return wanted;
  }

  #advance(): void {
    while (!this.#stopping.signal.aborted) {
      const place = this.#due.findIndex(({ kind, source }) =>
        kind === 'bundle' ? this.#bundles.mayBegin(source) : this.#singles.mayBegin(kind),
      );
      if (place < 0) return;
      const [item] = this.#due.splice(place, 1);
      if (!this.#active.has(item!.key)) this.#begin(item!);
    }
  }

  #begin(item: Due): void {
    const { id, key, kind, source } = item;
    const { signal } = this.#stopping;
    if (kind !== 'bundle') {
      const peers = this.#faults.order(this.#peers(), source);
      this.#track([key], this.#singles.fetch(id, kind, peers, signal));
      return;
    }
    const items = this.#takeBundle(item);
    const [peer] = this.#faults.order(this.#peers(), source);
    if (peer === undefined) return;
    this.#track(
      items.map((bundled) => bundled.key),
      this.#bundles.fetch(items, peer, signal),
    );
  }

  /** The item and those that come after it in the order and from the same peer. */
  #takeBundle(first: Due): [Due, ...Due[]] {
    const items: [Due, ...Due[]] = [first];
    this.#due = this.#due.filter((item) => {
      const fits = item.kind === 'bundle' && item.source === first.source && !this.#active.has(item.key);
      if (!fits || items.length >= MAX_BUNDLED_PAYLOADS) return true;
      items.push(item);
      return false;
    });
    return items;
  }

  #track(keys: readonly string[], work: Promise<void>): void {
    const done = work.finally(() => {
      for (const key of keys) this.#active.delete(key);
      if (this.#due.length > 0) this.#advance();
      this.poke();
    });
    for (const key of keys) this.#active.set(key, done);
  }

  #pokeAfter(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.poke(), milliseconds);
  }
}
