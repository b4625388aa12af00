import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Blocks } from '../../protocols/index.ts';
import type { Manifest } from '../../src/log/index.ts';
import { blockCount, decodeManifest, idKey, MAX_MANIFEST_BYTES } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import type { FetchAttempts } from './fetch-attempts.ts';
import type { NetworkBook } from './network-book.ts';
import type { PeerFaults } from './peer-faults.ts';

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
/** Tries after which a payload may be done without, where nothing depends on it: some seconds. */
export const HOPELESS_AFTER = 4;

/** What is fetched: the manifest first, and then the payload, or the payload at once. */
export type SingleKind = 'manifest' | 'payload';

/** A fetch that is under way: its kind changes when it goes on from the manifest to the payload. */
interface Running {
  kind: SingleKind;
  readonly turn: AbortController;
}

/** Fetches manifests and payloads one by one, each from all peers that it is given. */
export class SingleFetches {
  readonly #book: NetworkBook;
  readonly #blocks: Blocks;
  readonly #faults: PeerFaults;
  readonly #attempts: FetchAttempts;
  readonly #logger: Logger;
  readonly #doPayloadsWait: () => boolean;
  readonly #onHopeless: (payload: CID) => void;
  readonly #running = new Set<Running>();

  constructor(components: {
    book: NetworkBook;
    blocks: Blocks;
    faults: PeerFaults;
    attempts: FetchAttempts;
    logger: Logger;
    /** Whether other payloads wait for a turn. */
    doPayloadsWait: () => boolean;
    /** Told after every try from the `HOPELESS_AFTER`th on that nobody gave the payload. */
    onHopeless: (payload: CID) => void;
  }) {
    this.#book = components.book;
    this.#blocks = components.blocks;
    this.#faults = components.faults;
    this.#attempts = components.attempts;
    this.#logger = components.logger;
    this.#doPayloadsWait = components.doPayloadsWait;
    this.#onHopeless = components.onHopeless;
  }

  /** Whether one more of the kind may begin. */
  mayBegin(kind: SingleKind): boolean {
    let running = 0;
    for (const other of this.#running) if (other.kind === kind) running++;
    return running < (kind === 'manifest' ? MAX_MANIFEST_FETCHES : MAX_PAYLOAD_FETCHES);
  }

  /**
   * Fetches a payload, or its manifest alone when there is no room for the payload now. Resolves also when nobody gave it.
   *
   * @param peers - whom to ask, in this order
   */
  async fetch(id: CID, kind: SingleKind, peers: readonly PeerId[], signal: AbortSignal): Promise<void> {
    const running: Running = { kind, turn: new AbortController() };
    this.#running.add(running);
    try {
      await this.#fetch(id, peers, running, AbortSignal.any([signal, running.turn.signal]));
      this.#attempts.succeeded(idKey(id));
    } catch (error) {
      if (!signal.aborted) this.#note(id, running, error);
    } finally {
      this.#running.delete(running);
    }
  }

  #note(id: CID, { kind, turn }: Running, error: unknown): void {
    const key = idKey(id);
    const payload = id.toString();
    if (kind === 'payload' && turn.signal.aborted) {
      this.#attempts.madeWay(key);
      this.#logger.debug({ payload }, 'a payload makes way for others; it goes on in its next turn');
      return;
    }
    const failures = this.#attempts.failed(key, error);
    this.#logger.debug({ payload, failures, err: error }, 'a payload could not be fetched yet');
    if (failures >= HOPELESS_AFTER) this.#onHopeless(id);
  }

  async #fetch(id: CID, peers: readonly PeerId[], running: Running, signal: AbortSignal): Promise<void> {
    const manifest = await this.#manifest(id, peers, running, signal);
    // Where no record that is known to be valid needs it, or others are at it, a later look begins it.
    if (!this.#book.payloads.wants(id) || (running.kind === 'manifest' && !this.mayBegin('payload'))) return;
    running.kind = 'payload';
    const turn = setInterval(() => {
      if (this.#doPayloadsWait()) running.turn.abort(new Error('the turn is over'));
    }, PAYLOAD_TURN_MS);
    try {
      await this.#payload(id, manifest, peers, signal);
    } finally {
      clearInterval(turn);
    }
  }

  async #payload(id: CID, manifest: Manifest, peers: readonly PeerId[], signal: AbortSignal): Promise<void> {
    const sink = await this.#book.payloads.blobs.writer(id, manifest);
    try {
      await this.#blocks.fetchBlob(peers, id, sink, { manifest, signal, onFault: this.#onFault });
      await sink.commit();
    } finally {
      await sink.close();
    }
    await this.#book.payloads.learnPayload(id, manifest);
  }

  /** The manifest tells the size, and so whether the author's budget still covers the payload. */
  async #manifest(id: CID, peers: readonly PeerId[], { turn }: Running, signal: AbortSignal): Promise<Manifest> {
    const { maxPayloadBytes } = this.#book.log.charter.admission;
    const stored = await this.#book.payloads.manifest(id);
    const { failures } = this.#attempts.of(idKey(id));
    const timeoutMs = Math.min(MANIFEST_TIMEOUT_MAX_MS, MANIFEST_TIMEOUT_MS * 2 ** Math.min(failures, 16));
    const timeOver = () => turn.abort(new Error('nobody gave the manifest in time'));
    const timer = setTimeout(timeOver, MANIFEST_ROUNDS * timeoutMs);
    try {
      const bytes =
        stored === undefined
          ? await this.#blocks.fetchObject(peers, id, {
              // 34 bytes a block and the map around them.
              maxBytes: Math.min(MAX_MANIFEST_BYTES, blockCount(maxPayloadBytes) * 34 + 64),
              timeoutMs,
              signal,
              onFault: this.#onFault,
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

  readonly #onFault: PeerFaults['note'] = (peer, error) => this.#faults.note(peer, error);
}
