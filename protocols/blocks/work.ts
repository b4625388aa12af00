/**
 * The blocks still to fetch, shared by the peers of one fetch. Memory: the indexes that failing peers gave back, never
 * the whole list.
 */
export class BlockWork {
  readonly #count: number;
  readonly #has: (index: number) => boolean | Promise<boolean>;
  readonly #returned: number[] = [];
  #next = 0;
  #inFlight = 0;
  #changed = Promise.withResolvers<void>();
  /** Blocks that were there before. */
  skipped = 0;

  constructor(count: number, has: (index: number) => boolean | Promise<boolean>) {
    this.#count = count;
    this.#has = has;
  }

  get finished(): boolean {
    return this.#next >= this.#count && this.#returned.length === 0 && this.#inFlight === 0;
  }

  /** A block to fetch now, or undefined when none is free at the moment. */
  async take(): Promise<number | undefined> {
    for (;;) {
      const returned = this.#returned.pop();
      if (returned !== undefined) {
        this.#inFlight++;
        return returned;
      }
      if (this.#next >= this.#count) return undefined;
      const index = this.#next++;
      this.#inFlight++;
      let here: boolean;
      try {
        here = await this.#has(index);
      } catch (error) {
        this.giveBack([index]);
        throw error;
      }
      if (!here) return index;
      this.skipped++;
      this.done();
    }
  }

  /** A block to fetch, waiting for what other peers may give back; undefined when everything is done. */
  async takeOrWait(): Promise<number | undefined> {
    for (;;) {
      const index = await this.take();
      if (index !== undefined) return index;
      // Something may have come back while `take` was looking.
      if (this.#returned.length > 0) continue;
      if (this.#inFlight === 0) return undefined;
      await this.#changed.promise;
    }
  }

  /** One taken block is written. */
  done(): void {
    this.#inFlight--;
    this.#notify();
  }

  /** Taken blocks that their peer did not deliver. */
  giveBack(indexes: readonly number[]): void {
    this.#returned.push(...indexes);
    this.#inFlight -= indexes.length;
    this.#notify();
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
