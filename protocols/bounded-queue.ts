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
  readonly #waiting: (() => void)[] = [];
  readonly #perPeer = new Map<string, number>();
  #entries = 0;
  #bytes = 0;
  #running = 0;
  /** Tasks dropped since the start. */
  dropped = 0;

  constructor(limits: BoundedQueueLimits) {
    this.#limits = limits;
  }

  /** Tasks that run or wait now. */
  get size(): number {
    return this.#entries;
  }

  /** Runs the task in its turn; undefined when it was dropped, else a promise of its result. */
  run<T>(peer: string, bytes: number, task: () => Promise<T>): Promise<T> | undefined {
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

  async #turn<T>(task: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#limits.concurrency) await new Promise<void>((go) => this.#waiting.push(go));
    else this.#running++;
    try {
      return await task();
    } finally {
      // The place goes to the next in line, or becomes free.
      const next = this.#waiting.shift();
      if (next === undefined) this.#running--;
      else next();
    }
  }
}
