/**
 * A queue that a peer cannot fill: bounds on entries and bytes in all and on entries per peer, and a fixed number of
 * tasks at once. What does not fit is dropped, newest first: what waits already was promised a turn.
 */
export interface BoundedQueueLimits {
  /** Tasks that run at once. */
  readonly concurrency: number;
  /** Tasks that run or wait, in all. */
  readonly maxEntries: number;
  /** Bytes that running and waiting tasks hold, in all. */
  readonly maxBytes: number;
  /** Tasks that run or wait for one peer, so that one cannot take every place. */
  readonly maxEntriesPerPeer: number;
}

export class BoundedQueue {
  readonly #limits: BoundedQueueLimits;
  /** Each waiting task is told whether it may run. */
  readonly #waiting: ((go: boolean) => void)[] = [];
  readonly #perPeer = new Map<string, number>();
  #entries = 0;
  #bytes = 0;
  #running = 0;
  #closed = false;
  #idle = Promise.withResolvers<void>();
  /** Tasks dropped since the start. */
  dropped = 0;

  constructor(limits: BoundedQueueLimits) {
    this.#limits = limits;
  }

  /** Tasks that run or wait now. */
  get size(): number {
    return this.#entries;
  }

  /** Takes no more tasks, drops those that wait, and returns when those that run have ended. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const tell of this.#waiting.splice(0)) tell(false);
    if (this.#running > 0) await this.#idle.promise;
  }

  /**
   * Runs the task in its turn; undefined when there is no place for it, else a promise of its result: of undefined where
   * the queue was closed before its turn.
   */
  run<T>(peer: string, bytes: number, task: () => Promise<T>): Promise<T | undefined> | undefined {
    if (this.#closed) return undefined;
    const { maxEntries, maxBytes, maxEntriesPerPeer } = this.#limits;
    const mine = this.#perPeer.get(peer) ?? 0;
    if (this.#entries >= maxEntries || this.#bytes + bytes > maxBytes || mine >= maxEntriesPerPeer) {
      this.dropped++;
      return undefined;
    }
    this.#entries++;
    this.#bytes += bytes;
    this.#perPeer.set(peer, mine + 1);
    return this.#turn(task).finally(() => {
      this.#entries--;
      this.#bytes -= bytes;
      const left = (this.#perPeer.get(peer) ?? 1) - 1;
      if (left > 0) this.#perPeer.set(peer, left);
      else this.#perPeer.delete(peer);
    });
  }

  async #turn<T>(task: () => Promise<T>): Promise<T | undefined> {
    if (this.#running >= this.#limits.concurrency) {
      const go = await new Promise<boolean>((tell) => this.#waiting.push(tell));
      if (!go) {
        this.dropped++;
        return undefined;
      }
    } else this.#running++;
    try {
      return await task();
    } finally {
      // The place goes to the next in line, or becomes free.
      const next = this.#waiting.shift();
      if (next !== undefined) next(true);
      else if (--this.#running === 0 && this.#closed) this.#idle.resolve();
    }
  }
}
