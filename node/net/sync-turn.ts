/**
 * Time after which a round no longer waits for the ones before it, in milliseconds: who is slow, or stalls, costs the
 * others no more than that; they may then get the same records twice.
 */
export const SYNC_PATIENCE_MS = 3_000;

/** One round at a time compares and fetches, so that what several peers have comes once. */
export class SyncTurn {
  readonly #patienceMs: number;
  #last: Promise<void> = Promise.resolve();

  constructor(options: { patienceMs?: number } = {}) {
    this.#patienceMs = options.patienceMs ?? SYNC_PATIENCE_MS;
  }

  /** Waits for the turn, but not for ever. @returns what ends it */
  async take(): Promise<() => void> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((over) => {
      timer = setTimeout(over, this.#patienceMs);
    });
    await Promise.race([before, patience]);
    clearTimeout(timer);
    return resolve;
  }
}
