/** First wait after a round in which a peer broke its word, in milliseconds; it doubles up to the last value. */
export const BACKOFF_FIRST_MS = 2_000;
export const BACKOFF_MAX_MS = 600_000;
/** Peers remembered at most: more than a node has connections. */
export const MAX_BACKED_OFF_PEERS = 1_024;

/**
 * Peers that lied, or promised entries and did not give them: they are left alone for a while, longer every time, until
 * a round with them is good.
 */
export class PeerBackoff {
  readonly #now: () => number;
  readonly #peers = new Map<string, { readonly until: number; readonly wait: number }>();

  constructor(components: { now?: () => number } = {}) {
    this.#now = components.now ?? (() => performance.now());
  }

  isOff(peer: string): boolean {
    return this.#now() < (this.#peers.get(peer)?.until ?? Number.NEGATIVE_INFINITY);
  }

  /** @returns the milliseconds for which the peer is left alone */
  note(peer: string): number {
    const wait = Math.min(BACKOFF_MAX_MS, 2 * (this.#peers.get(peer)?.wait ?? BACKOFF_FIRST_MS / 2));
    this.#peers.delete(peer);
    this.#peers.set(peer, { until: this.#now() + wait, wait });
    if (this.#peers.size > MAX_BACKED_OFF_PEERS) this.#peers.delete(this.#peers.keys().next().value!);
    return wait;
  }

  clear(peer: string): void {
    this.#peers.delete(peer);
  }
}
