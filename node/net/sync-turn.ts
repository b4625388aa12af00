import { setTimeout as sleep } from 'node:timers/promises';

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

  /** Waits for the turn, but not for ever, nor beyond the signal. @returns what ends it */
  async take(signal?: AbortSignal): Promise<() => void> {
    const before = this.#last;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#last = promise;
    const waited = new AbortController();
    const ends = AbortSignal.any([waited.signal, ...(signal === undefined ? [] : [signal])]);
    await Promise.race([before, sleep(this.#patienceMs, undefined, { signal: ends }).catch(() => {})]);
    waited.abort();
    return resolve;
  }
}
