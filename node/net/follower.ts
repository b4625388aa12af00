import type { PeerId } from '@libp2p/interface';

/** Shortest time between two exchanges that heads from one peer ask for, in milliseconds. */
export const FOLLOW_INTERVAL_MS = 2_000;

/**
 * Turns hints, heads with unknown records, into exchanges with who passed them on: the first at once, what comes
 * meanwhile into one at the end of the interval. A head can name records that nobody has.
 */
export class Follower {
  readonly #follow: (peer: PeerId) => void;
  /** Peers followed lately, and whether another hint came since. */
  readonly #recent = new Map<string, { timer: NodeJS.Timeout; again: boolean }>();

  constructor(follow: (peer: PeerId) => void) {
    this.#follow = follow;
  }

  hint(peer: PeerId): void {
    const key = peer.toString();
    const recent = this.#recent.get(key);
    if (recent !== undefined) {
      recent.again = true;
      return;
    }
    const timer = setTimeout(() => {
      const again = this.#recent.get(key)?.again === true;
      this.#recent.delete(key);
      if (again) this.hint(peer);
    }, FOLLOW_INTERVAL_MS);
    this.#recent.set(key, { timer, again: false });
    this.#follow(peer);
  }

  stop(): void {
    for (const { timer } of this.#recent.values()) clearTimeout(timer);
    this.#recent.clear();
  }
}
