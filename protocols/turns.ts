import { setImmediate } from 'node:timers/promises';

/** Longest stretch of work without a turn of the event loop, in milliseconds: timers, peers and users wait for it. */
export const MAX_TURN_MS = 10;

/** Gives the event loop its turn in a loop whose steps may all finish without one. */
export class Turns {
  #since = performance.now();

  /** Call it between two steps. */
  async next(): Promise<void> {
    if (performance.now() - this.#since < MAX_TURN_MS) return;
    await setImmediate();
    this.#since = performance.now();
  }
}
