import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Blocks, FetchedPayload } from '../../protocols/index.ts';
import { ProtocolError } from '../../protocols/index.ts';
import type { Manifest, SignedRecord } from '../../src/log/index.ts';
import { authorKey, blockCount, decodeManifest, idKey, MAX_MANIFEST_BYTES, payloadOf } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { inTurns, type Wanted } from './fetch-turns.ts';
import type { NetworkBook } from './network-book.ts';
import { PeerFaults } from './peer-faults.ts';

/**
 * Bundles of manifests, with the small payloads themselves, that are fetched at once: one on behalf of a peer, so that
 * an author's payloads come in the order of its chain, which alone says whether its budget covers them.
 */
export const MAX_BUNDLES = 2;
/** Payloads in one bundle: enough to hide that the next one begins anew, few enough that others have their turn. */
export const MAX_BUNDLED_PAYLOADS = 256;
/** Payloads, and bytes of them, that are made durable together: each group costs two flushes of a directory. */
export const MAX_GROUP_PAYLOADS = 32;
export const MAX_GROUP_BYTES = 2 ** 22;
/** Manifests fetched at once by themselves, which no bundle brought: small, but somebody may be slow to say that he has none. */
export const MAX_MANIFEST_FETCHES = 2;
/** Payloads fetched at once; one already keeps a connection busy, the others hide slow peers. */
export const MAX_PAYLOAD_FETCHES = 3;
/**
 * Time for a manifest from one peer, in milliseconds: that of the largest payload by default has 70 kB, most have 100
 * bytes. It doubles with every failure, up to the last value: who is slow but honest gets his time later.
 */
export const MANIFEST_TIMEOUT_MS = 5_000;
export const MANIFEST_TIMEOUT_MAX_MS = 60_000;
/** Turns of that time in one try to get a manifest from anybody; then others have theirs. */
export const MANIFEST_ROUNDS = 3;
/** Time after which a payload makes way while others wait, in milliseconds; it goes on from there in its next turn. */
export const PAYLOAD_TURN_MS = 120_000;
/**
 * Shortest time between two looks at what is missing, in milliseconds: a look walks all that waits, and every arrival
 * asks for one.
 */
export const LOOK_INTERVAL_MS = 50;
/** Time between two looks by the time that the last one took: with thousands of waiting records, a look takes long. */
export const LOOK_PAUSE_FACTOR = 20;
/** First wait after a failed fetch, in milliseconds; it doubles up to the last value, as long as the record waits. */
export const FETCH_RETRY_FIRST_MS = 500;
export const FETCH_RETRY_MAX_MS = 60_000;

interface Attempt {
  readonly failures: number;
  /** Turns that ended before the payload was whole. */
  readonly turns: number;
  readonly notBefore: number;
  /** A bundle did not bring it: it is asked for by itself, of all peers. */
  readonly alone: boolean;
  readonly error: Error | null;
}

/** How the fetching of a payload has gone. */
export interface Tries {
  /** Tries that brought nothing, and turns that ended before it was whole. */
  readonly count: number;
  /** Milliseconds until the next try may begin; null while one is under way. */
  readonly nextInMs: number | null;
  /** What ended the last try that failed. */
  readonly error: Error | null;
}

const FIRST_ATTEMPT: Attempt = { failures: 0, turns: 0, notBefore: 0, alone: false, error: null };

type Kind = 'manifest' | 'payload' | 'bundle';

interface Due extends Wanted {
  readonly id: CID;
  readonly kind: Kind;
}

interface Active {
  kind: Kind;
  readonly turn: AbortController;
  done: Promise<void>;
}

/** Tries after which a payload may be done without, where nothing depends on it: some seconds. */
export const HOPELESS_AFTER = 4;

export interface FetcherOptions {
  /** Default `PAYLOAD_TURN_MS`. */
  readonly payloadTurnMs?: number;
}

/** Fetches the manifests and payloads that waiting records need, from any connected peer, as long as they are needed. */
export class Fetcher {
  readonly #book: NetworkBook;
  readonly #blocks: Blocks;
  readonly #peers: () => readonly PeerId[];
  readonly #logger: Logger;
  readonly #onHopeless: (payload: CID) => void;
  readonly #payloadTurnMs: number;
  readonly #faults = new PeerFaults();
  readonly #attempts = new Map<string, Attempt>();
  readonly #active = new Map<string, Active>();
  /** On whose behalf bundles are under way. */
  readonly #bundles = new Set<string | undefined>();
  /** On whose behalf a payload is wanted, by its id. */
  readonly #origins = new Map<string, { author: string; source: string }>();
  readonly #stopping = new AbortController();
  /** What was due at the last look and has not begun. */
  #due: Due[] = [];
  #nextLook = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    components: {
      book: NetworkBook;
      blocks: Blocks;
      peers: () => readonly PeerId[];
      logger: Logger;
      /** Told after every try from the `HOPELESS_AFTER`th on that nobody gave the payload. */
      onHopeless?: (payload: CID) => void;
    },
    options: FetcherOptions = {},
  ) {
    this.#book = components.book;
    this.#blocks = components.blocks;
    this.#peers = components.peers;
    this.#logger = components.logger;
    this.#onHopeless = components.onHopeless ?? (() => {});
    this.#payloadTurnMs = options.payloadTurnMs ?? PAYLOAD_TURN_MS;
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
    const attempt = this.#attempts.get(key);
    const isActive = this.#active.has(key);
    if (attempt === undefined) return isActive ? { count: 0, nextInMs: null, error: null } : undefined;
    const { failures, turns, notBefore, error } = attempt;
    const nextInMs = isActive ? null : Math.max(0, notBefore - performance.now());
    return { count: failures + turns, nextInMs, error };
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await Promise.all(Array.from(this.#active.values(), ({ done }) => done));
  }

  #look(): void {
    const now = performance.now();
    const { manifests, payloads } = this.#book.payloads.missing();
    const wanted = new Map<string, Due>();
    const want = (id: CID, kind: Kind): void => {
      const key = idKey(id);
      const attempt = this.#attempts.get(key);
      const { author, source } = this.#origins.get(key) ?? { author: undefined, source: undefined };
      const { failures, turns, alone } = attempt ?? FIRST_ATTEMPT;
      const bundled = kind === 'manifest' && failures === 0 && !alone;
      wanted.set(key, { key, id, kind: bundled ? 'bundle' : kind, author, source, tries: failures + turns });
    };
    for (const id of payloads) want(id, 'payload');
    for (const id of manifests) want(id, 'manifest');
    for (const known of [this.#attempts, this.#origins]) {
      for (const key of known.keys()) if (!wanted.has(key)) known.delete(key);
    }
    this.#due = [];
    if (this.#peers().length === 0) return;
    let next = Number.POSITIVE_INFINITY;
    const due: Due[] = [];
    for (const [key, item] of wanted) {
      if (this.#active.has(key)) continue;
      const notBefore = this.#attempts.get(key)?.notBefore ?? 0;
      if (notBefore <= now) due.push(item);
      else next = Math.min(next, notBefore);
    }
    this.#due = inTurns(due);
    if (next < Number.POSITIVE_INFINITY) this.#pokeAfter(next - now);
    this.#advance();
  }

  #advance(): void {
    while (!this.#stopping.signal.aborted) {
      const place = this.#due.findIndex((item) => this.#mayBegin(item));
      if (place < 0) return;
      const [item] = this.#due.splice(place, 1);
      if (this.#active.has(item!.key)) continue;
      if (item!.kind === 'bundle') this.#beginBundle(item!);
      else this.#begin(item!);
    }
  }

  #mayBegin({ kind, source }: Due): boolean {
    if (kind !== 'bundle') return this.#isFree(kind);
    return this.#bundles.size < MAX_BUNDLES && !this.#bundles.has(source);
  }

  #isFree(kind: 'manifest' | 'payload'): boolean {
    let active = 0;
    for (const other of this.#active.values()) if (other.kind === kind) active++;
    return active < (kind === 'manifest' ? MAX_MANIFEST_FETCHES : MAX_PAYLOAD_FETCHES);
  }

  /** Begins with the item and with those that come after it in the order and from the same peer. */
  #beginBundle(first: Due): void {
    const items = [first];
    this.#due = this.#due.filter((item) => {
      const fits = item.kind === 'bundle' && item.source === first.source && !this.#active.has(item.key);
      if (!fits || items.length >= MAX_BUNDLED_PAYLOADS) return true;
      items.push(item);
      return false;
    });
    const [peer] = this.#faults.order(this.#peers(), first.source);
    if (peer === undefined) return;
    this.#bundles.add(first.source);
    const active: Active = { kind: 'bundle', turn: new AbortController(), done: Promise.resolve() };
    for (const { key } of items) this.#active.set(key, active);
    active.done = this.#fetchBundle(peer, items).finally(() => {
      this.#bundles.delete(first.source);
      for (const { key } of items) this.#active.delete(key);
      if (this.#due.length > 0) this.#advance();
      this.poke();
    });
  }

  /** What the peer does not give is then asked for by itself, unless it only wants to be asked later. */
  async #fetchBundle(peer: PeerId, items: readonly Due[]): Promise<void> {
    const left = new Map(items.map(({ key }) => [key, { ...FIRST_ATTEMPT, alone: true }]));
    const { maxPayloadBytes } = this.#book.log.charter.admission;
    let group: FetchedPayload[] = [];
    let bytes = 0;
    const keep = async () => {
      const payloads = group;
      [group, bytes] = [[], 0];
      await this.#book.payloads.receive(payloads);
      for (const { id } of payloads) left.delete(idKey(id));
    };
    const take = async (payload: FetchedPayload) => {
      group.push(payload);
      bytes += payload.content?.length ?? 0;
      if (group.length >= MAX_GROUP_PAYLOADS || bytes >= MAX_GROUP_BYTES) await keep();
    };
    const options = { maxBytes: maxPayloadBytes, signal: this.#stopping.signal };
    try {
      try {
        await this.#blocks.fetchPayloads(
          peer,
          items.map(({ id }) => id),
          take,
          options,
        );
      } finally {
        if (group.length > 0) await keep();
      }
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      this.#logger.debug({ peer: peer.toString(), left: left.size, err: error }, 'a bundle of payloads broke off');
      const later = (attempt: Attempt, wait: number) => {
        const notBefore = performance.now() + wait;
        for (const key of left.keys()) left.set(key, { ...attempt, notBefore, error: asError(error) });
      };
      if (!(error instanceof ProtocolError)) later({ ...FIRST_ATTEMPT, failures: 1 }, FETCH_RETRY_FIRST_MS);
      else {
        this.#faults.note(peer, error);
        const { retryAfterMs } = error.fields;
        const hasMuchToDo = error.code === 'RATE_LIMITED' || error.code === 'BUSY';
        const isLost = error.code === 'UNREACHABLE' || error.code === 'TRUNCATED';
        if (hasMuchToDo && typeof retryAfterMs === 'number') later(FIRST_ATTEMPT, retryAfterMs);
        // What broke off once says nothing of the payloads: one by one they cost the time of ten bundles.
        else if (isLost && items.every(({ tries }) => tries === 0)) {
          later({ ...FIRST_ATTEMPT, turns: 1 }, FETCH_RETRY_FIRST_MS);
        }
      }
    }
    for (const [key, attempt] of left) this.#attempts.set(key, attempt);
  }

  #begin(item: Due): void {
    const { key, id, kind } = item;
    const active: Active = { kind, turn: new AbortController(), done: Promise.resolve() };
    this.#active.set(key, active);
    active.done = this.#fetch(item, active)
      .then(() => {
        this.#attempts.delete(key);
      })
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        this.#note(key, id, active, error);
      })
      .finally(() => {
        this.#active.delete(key);
        if (this.#due.length > 0) this.#advance();
        this.poke();
      });
  }

  #note(key: string, id: CID, { kind, turn }: Active, error: unknown): void {
    const before = this.#attempts.get(key) ?? FIRST_ATTEMPT;
    const { failures, turns } = before;
    const now = performance.now();
    if (kind === 'payload' && turn.signal.aborted) {
      this.#attempts.set(key, { ...before, turns: turns + 1, notBefore: now });
      this.#logger.debug({ payload: id.toString() }, 'a payload makes way for others; it goes on in its next turn');
      return;
    }
    const wait = Math.min(FETCH_RETRY_MAX_MS, FETCH_RETRY_FIRST_MS * 2 ** Math.min(failures, 16));
    this.#attempts.set(key, { ...before, failures: failures + 1, notBefore: now + wait, error: asError(error) });
    this.#logger.debug(
      { payload: id.toString(), failures: failures + 1, err: error },
      'a payload could not be fetched yet',
    );
    if (failures + 1 >= HOPELESS_AFTER) this.#onHopeless(id);
  }

  async #fetch({ id, source }: Due, active: Active): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, active.turn.signal]);
    const peers = this.#faults.order(this.#peers(), source);
    const manifest = await this.#manifest(id, peers, active, signal);
    // Where no record that is known to be valid needs it, or others are at it, a later look begins it.
    if (!this.#book.payloads.wants(id) || (active.kind === 'manifest' && !this.#isFree('payload'))) return;
    active.kind = 'payload';
    const turn = setInterval(() => {
      if (this.#due.some(({ kind }) => kind === 'payload')) active.turn.abort(new Error('the turn is over'));
    }, this.#payloadTurnMs);
    try {
      await this.#payload(id, manifest, peers, signal);
    } finally {
      clearInterval(turn);
    }
  }

  async #payload(id: CID, manifest: Manifest, peers: readonly PeerId[], signal: AbortSignal): Promise<void> {
    const sink = await this.#book.payloads.blobs.writer(id, manifest);
    try {
      const onFault: PeerFaults['note'] = (peer, error) => this.#faults.note(peer, error);
      await this.#blocks.fetchBlob(peers, id, sink, { manifest, signal, onFault });
      await sink.commit();
    } finally {
      await sink.close();
    }
    await this.#book.payloads.learnPayload(id, manifest);
  }

  /** The manifest tells the size, and so whether the author's budget still covers the payload. */
  async #manifest(id: CID, peers: readonly PeerId[], active: Active, signal: AbortSignal): Promise<Manifest> {
    const { maxPayloadBytes } = this.#book.log.charter.admission;
    const stored = await this.#book.payloads.manifest(id);
    const failures = this.#attempts.get(idKey(id))?.failures ?? 0;
    const timeoutMs = Math.min(MANIFEST_TIMEOUT_MAX_MS, MANIFEST_TIMEOUT_MS * 2 ** Math.min(failures, 16));
    const timeOver = () => active.turn.abort(new Error('nobody gave the manifest in time'));
    const timer = setTimeout(timeOver, MANIFEST_ROUNDS * timeoutMs);
    try {
      const bytes =
        stored === undefined
          ? await this.#blocks.fetchObject(peers, id, {
              // 34 bytes a block and the map around them.
              maxBytes: Math.min(MAX_MANIFEST_BYTES, blockCount(maxPayloadBytes) * 34 + 64),
              timeoutMs,
              signal,
              onFault: (peer, error) => this.#faults.note(peer, error),
            })
          : null;
      const manifest = stored ?? decodeManifest(bytes!, maxPayloadBytes);
      // One that an earlier process stored is news to the log of this one.
      await this.#book.payloads.learnManifest(id, bytes, manifest);
      return manifest;
    } finally {
      clearTimeout(timer);
    }
  }

  #pokeAfter(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.poke(), milliseconds);
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
