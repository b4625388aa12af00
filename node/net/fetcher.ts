import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Blocks } from '../../protocols/index.ts';
import type { Manifest } from '../../src/log/index.ts';
import { decodeManifest, MAX_MANIFEST_BYTES } from '../../src/log/index.ts';
import type { RecordBook } from '../core/record-book.ts';
import type { Logger } from '../logger.ts';

/** Payloads fetched at once; one already keeps a connection busy, a second hides a slow peer. */
export const MAX_FETCHES = 2;
/** First wait after a failed fetch, in milliseconds; it doubles up to the last value, as long as the record waits. */
export const FETCH_RETRY_FIRST_MS = 500;
export const FETCH_RETRY_MAX_MS = 60_000;

interface Attempt {
  failures: number;
  notBefore: number;
}

/** Fetches the manifests and payloads that waiting records need, from any connected peer, as long as they are needed. */
export class Fetcher {
  readonly #book: RecordBook;
  readonly #blocks: Blocks;
  readonly #peers: () => readonly PeerId[];
  readonly #logger: Logger;
  readonly #attempts = new Map<string, Attempt>();
  readonly #active = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();
  #timer: NodeJS.Timeout | undefined;

  constructor(components: { book: RecordBook; blocks: Blocks; peers: () => readonly PeerId[]; logger: Logger }) {
    this.#book = components.book;
    this.#blocks = components.blocks;
    this.#peers = components.peers;
    this.#logger = components.logger;
  }

  /** Starts what is missing and due. Call it when something new waits or a peer connected. */
  poke(): void {
    if (this.#stopping.signal.aborted) return;
    const { manifests, payloads } = this.#book.log.missing();
    const wanted = new Set([...manifests, ...payloads].map(String));
    for (const key of this.#attempts.keys()) if (!wanted.has(key)) this.#attempts.delete(key);
    if (this.#peers().length === 0) return;
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const id of [...manifests, ...payloads]) {
      const key = id.toString();
      const notBefore = this.#attempts.get(key)?.notBefore ?? 0;
      if (this.#active.has(key)) continue;
      if (notBefore > now) next = Math.min(next, notBefore);
      else if (this.#active.size < MAX_FETCHES) this.#begin(key, id);
    }
    if (next < Number.POSITIVE_INFINITY) this.#pokeAfter(next - now);
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    clearTimeout(this.#timer);
    await Promise.all(this.#active.values());
  }

  #begin(key: string, id: CID): void {
    const fetching = this.#fetch(id)
      .then(() => {
        this.#attempts.delete(key);
      })
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        const failures = (this.#attempts.get(key)?.failures ?? 0) + 1;
        const wait = Math.min(FETCH_RETRY_MAX_MS, FETCH_RETRY_FIRST_MS * 2 ** Math.min(failures - 1, 16));
        this.#attempts.set(key, { failures, notBefore: performance.now() + wait });
        this.#logger.debug({ payload: key, failures, err: error }, 'a payload could not be fetched yet');
      })
      .finally(() => {
        this.#active.delete(key);
        this.poke();
      });
    this.#active.set(key, fetching);
  }

  async #fetch(id: CID): Promise<void> {
    const signal = this.#stopping.signal;
    const peers = this.#peers();
    const manifest = await this.#manifest(id, peers);
    const sink = await this.#book.blobs.writer(id, manifest);
    try {
      await this.#blocks.fetchBlob(peers, id, sink, { manifest, signal });
      await sink.commit();
    } finally {
      await sink.close();
    }
    await this.#book.learnPayload(id, manifest);
  }

  /** The manifest tells the size, and so whether the author's budget still covers the payload. */
  async #manifest(id: CID, peers: readonly PeerId[]): Promise<Manifest> {
    const stored = await this.#book.manifest(id);
    const bytes =
      stored === undefined
        ? await this.#blocks.fetchObject(peers, id, { maxBytes: MAX_MANIFEST_BYTES, signal: this.#stopping.signal })
        : undefined;
    const manifest = stored ?? decodeManifest(bytes!, this.#book.log.charter.admission.maxPayloadBytes);
    if (bytes !== undefined) await this.#book.learnManifest(id, bytes, manifest);
    const worth = this.#book.log.missing().payloads.some((payload) => payload.equals(id));
    if (!worth) throw new Error('the record of this payload is not known to be valid yet');
    return manifest;
  }

  #pokeAfter(milliseconds: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.poke(), milliseconds);
  }
}
