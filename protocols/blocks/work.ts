import { HEDGE_MS } from './constants.ts';

/** A block on its way: how many peers owe it, and since when (the last of them). */
interface Flight {
  peers: number;
  since: number;
}

/**
 * The blocks still to fetch, shared by the peers of one fetch. Memory: the blocks on their way and those that failing
 * peers gave back, never the whole list.
 */
export class BlockWork {
  readonly #count: number;
  readonly #has: (index: number) => boolean | Promise<boolean>;
  readonly #hedgeMs: number;
  readonly #returned: number[] = [];
  readonly #flights = new Map<number, Flight>();
  #next = 0;
  #changed = Promise.withResolvers<void>();
  /** Blocks that were there before. */
  skipped = 0;

  constructor(
    count: number,
    has: (index: number) => boolean | Promise<boolean>,
    options: { hedgeMs?: number | undefined } = {},
  ) {
    this.#count = count;
    this.#has = has;
    this.#hedgeMs = options.hedgeMs ?? HEDGE_MS;
  }

  get finished(): boolean {
    return this.#next >= this.#count && this.#returned.length === 0 && this.#flights.size === 0;
  }

  /** A block to fetch now, or undefined when none is free at the moment. */
  async take(): Promise<number | undefined> {
    for (;;) {
      const returned = this.#returned.pop();
      if (returned !== undefined) {
        this.#begin(returned);
        return returned;
      }
      if (this.#next >= this.#count) return undefined;
      const index = this.#next++;
      this.#begin(index);
      let here: boolean;
      try {
        here = await this.#has(index);
      } catch (error) {
        this.giveBack([index]);
        throw error;
      }
      if (!here) return index;
      this.skipped++;
      this.#flights.delete(index);
      this.#notify();
    }
  }

  /**
   * A block to fetch, waiting for what other peers may give back or owe for too long; undefined when everything is
   * done. Only for a peer that owes nothing itself.
   */
  async takeOrWait(): Promise<number | undefined> {
    for (;;) {
      const index = await this.take();
      if (index !== undefined) return index;
      // Something may have come back while `take` was looking.
      if (this.#returned.length > 0) continue;
      if (this.#flights.size === 0) return undefined;
      const oldest = this.#oldest();
      const wait = oldest === undefined ? Number.POSITIVE_INFINITY : oldest.since + this.#hedgeMs - performance.now();
      if (oldest !== undefined && wait <= 0) {
        this.#begin(oldest.index);
        return oldest.index;
      }
      await this.#change(wait);
    }
  }

  /** Claims a block that arrived: false when another peer was faster, and the bytes are of no use. */
  claim(index: number): boolean {
    return this.#flights.delete(index);
  }

  /** A claimed block is written. */
  done(): void {
    this.#notify();
  }

  /** Taken blocks that their peer did not deliver. */
  giveBack(indexes: readonly number[]): void {
    for (const index of indexes) {
      const flight = this.#flights.get(index);
      if (flight === undefined || --flight.peers > 0) continue;
      this.#flights.delete(index);
      this.#returned.push(index);
    }
    this.#notify();
  }

  #begin(index: number): void {
    const flight = this.#flights.get(index) ?? { peers: 0, since: 0 };
    flight.peers++;
    flight.since = performance.now();
    this.#flights.set(index, flight);
  }

  /** The block that was asked for the longest ago. */
  #oldest(): { index: number; since: number } | undefined {
    let oldest: { index: number; since: number } | undefined;
    for (const [index, { since }] of this.#flights) {
      if (oldest === undefined || since < oldest.since) oldest = { index, since };
    }
    return oldest;
  }

  async #change(wait: number): Promise<void> {
    if (wait === Number.POSITIVE_INFINITY) return this.#changed.promise;
    let timer: NodeJS.Timeout | undefined;
    const elapsed = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, wait + 1);
    });
    await Promise.race([this.#changed.promise, elapsed]);
    clearTimeout(timer);
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
