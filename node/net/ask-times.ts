/** First time after which a peer is asked again for the peers it knows, in milliseconds; it doubles every time. */
export const ASK_FIRST_MS = 5_000;
/** Longest time between two such questions, in milliseconds. */
export const ASK_MAX_MS = 180_000;
/** Peers remembered at most: more than a node has connections. */
export const MAX_ASKED_PEERS = 1_024;

/**
 * When to ask whom for the peers it knows. In the first minute a community comes together, and answers change; later
 * every few minutes is enough. A peer that comes back is not asked sooner, so its rate limit is never met.
 */
export class AskTimes {
  readonly #now: () => number;
  readonly #asked = new Map<string, { next: number; wait: number }>();

  constructor(components: { now?: () => number } = {}) {
    this.#now = components.now ?? (() => performance.now());
  }

  /** Whether a peer that was asked before is to be asked again. */
  isDueAgain(peer: string): boolean {
    const asked = this.#asked.get(peer);
    return asked !== undefined && this.#now() >= asked.next;
  }

  /** Whether the peer may be asked now; then it counts as asked. */
  due(peer: string): boolean {
    const now = this.#now();
    const { next, wait } = this.#asked.get(peer) ?? { next: now, wait: ASK_FIRST_MS };
    if (now < next) return false;
    this.#asked.delete(peer);
    this.#asked.set(peer, { next: now + wait, wait: Math.min(2 * wait, ASK_MAX_MS) });
    if (this.#asked.size > MAX_ASKED_PEERS) this.#asked.delete(this.#asked.keys().next().value!);
    return true;
  }
}
