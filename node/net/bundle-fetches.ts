import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Blocks, FetchedPayload } from '../../protocols/index.ts';
import { ProtocolError } from '../../protocols/index.ts';
import { idKey } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { FETCH_RETRY_FIRST_MS, type FetchAttempts } from './fetch-attempts.ts';
import type { Wanted } from './fetch-turns.ts';
import type { NetworkBook } from './network-book.ts';
import type { PeerFaults } from './peer-faults.ts';

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

/** A payload of a bundle; all of one bundle are wanted on behalf of the same peer. */
export type Bundled = Pick<Wanted, 'key' | 'source' | 'tries'> & { readonly id: CID };

/** What a bundle needs of the book. */
type BundleBook = Pick<NetworkBook, 'log'> & { readonly payloads: Pick<NetworkBook['payloads'], 'receive'> };

/** Fetches payloads that were not tried by themselves yet, many at a time from one peer. */
export class BundleFetches {
  readonly #book: BundleBook;
  readonly #blocks: Blocks;
  readonly #faults: PeerFaults;
  readonly #attempts: FetchAttempts;
  readonly #logger: Logger;
  /** On whose behalf bundles are under way. */
  readonly #sources = new Set<string | undefined>();

  constructor(components: {
    book: BundleBook;
    blocks: Blocks;
    faults: PeerFaults;
    attempts: FetchAttempts;
    logger: Logger;
  }) {
    this.#book = components.book;
    this.#blocks = components.blocks;
    this.#faults = components.faults;
    this.#attempts = components.attempts;
    this.#logger = components.logger;
  }

  /** Whether a bundle may begin on behalf of this peer. */
  mayBegin(source: string | undefined): boolean {
    return this.#sources.size < MAX_BUNDLES && !this.#sources.has(source);
  }

  /**
   * Fetches a bundle from the peer. What it does not give is then asked for by itself, unless it only wants to be asked
   * later. Resolves also when the bundle broke off.
   */
  async fetch(items: readonly [Bundled, ...Bundled[]], peer: PeerId, signal: AbortSignal): Promise<void> {
    const { source } = items[0];
    const left = new Set(items.map(({ key }) => key));
    this.#sources.add(source);
    try {
      await this.#receive(items, left, peer, signal);
      this.#attempts.separate(left);
    } catch (error) {
      if (signal.aborted) return;
      this.#logger.debug({ peer: peer.toString(), left: left.size, err: error }, 'a bundle of payloads broke off');
      if (error instanceof ProtocolError) this.#faults.note(peer, error);
      const fresh = new Set(items.filter(({ key, tries }) => tries === 0 && left.has(key)).map(({ key }) => key));
      this.#brokeOff(left, fresh, error);
    } finally {
      this.#sources.delete(source);
    }
  }

  /** Takes what comes out of `left` once it is durable. */
  async #receive(items: readonly Bundled[], left: Set<string>, peer: PeerId, signal: AbortSignal): Promise<void> {
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
    const ids = items.map(({ id }) => id);
    try {
      await this.#blocks.fetchPayloads(peer, ids, take, { maxBytes: maxPayloadBytes, signal });
    } finally {
      if (group.length > 0) await keep();
    }
  }

  /** @param fresh - those of `left` that were never tried before */
  #brokeOff(left: ReadonlySet<string>, fresh: ReadonlySet<string>, error: unknown): void {
    if (!(error instanceof ProtocolError)) {
      this.#attempts.postpone(left, FETCH_RETRY_FIRST_MS, error, { failures: 1 });
      return;
    }
    const { retryAfterMs } = error.fields;
    const hasMuchToDo = error.code === 'RATE_LIMITED' || error.code === 'BUSY';
    const isLost = error.code === 'UNREACHABLE' || error.code === 'TRUNCATED';
    if (hasMuchToDo && typeof retryAfterMs === 'number') this.#attempts.postpone(left, retryAfterMs, error);
    else this.#attempts.separate(left);
    // What broke off once says nothing of the payloads: one by one they cost the time of ten bundles.
    if (isLost) this.#attempts.postpone(fresh, FETCH_RETRY_FIRST_MS, error, { turns: 1 });
  }
}
