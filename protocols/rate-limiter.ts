/**
 * The generic cell rate algorithm: one timestamp per key (the theoretical arrival time of the next request), no
 * counters to reset and no bursts at window edges.
 */
import { RATE_LIMITER_KEYS } from './limits.ts';

export interface RateLimit {
  /** Sustained cost units per second. */
  readonly perSecond: number;
  /** Cost units that may come at once after a rest. */
  readonly burst: number;
}

export class RateLimiter {
  readonly #intervalMs: number;
  readonly #toleranceMs: number;
  readonly #maxKeys: number;
  readonly #now: () => number;
  /** Theoretical arrival time per key, in order of last use. */
  readonly #arrival = new Map<string, number>();

  constructor(limit: RateLimit, options: { maxKeys?: number; now?: () => number } = {}) {
    this.#intervalMs = 1000 / limit.perSecond;
    this.#toleranceMs = this.#intervalMs * limit.burst;
    this.#maxKeys = options.maxKeys ?? RATE_LIMITER_KEYS;
    this.#now = options.now ?? (() => performance.now());
  }

  /** How many keys are remembered now. */
  get size(): number {
    return this.#arrival.size;
  }

  /**
   * Takes `cost` units for `key`. Returns 0 when that is within the limit, else the milliseconds to wait (and nothing
   * was taken). When all remembered keys are still under charge, a new key has to wait.
   */
  take(key: string, cost = 1): number {
    const now = this.#now();
    const known = this.#arrival.get(key);
    const next = Math.max(now, known ?? now) + cost * this.#intervalMs;
    const wait = next - now - this.#toleranceMs;
    // A rounding error of the sums above must not cost the last request of a burst.
    if (wait > 1e-6) return wait;
    if (known === undefined && this.#arrival.size >= this.#maxKeys) {
      for (const [other, arrival] of this.#arrival) if (arrival <= now) this.#arrival.delete(other);
      if (this.#arrival.size >= this.#maxKeys) return this.#toleranceMs;
    }
    this.#arrival.set(key, next);
    return 0;
  }
}
