import { setImmediate } from 'node:timers/promises';

/** Gives the event loop a turn, and the AbortSignal a look, after every `slice` units of work. */
export class Pacer {
  readonly #slice: number;
  readonly #signal: AbortSignal | undefined;
  #work = 0;

  constructor(slice: number, signal: AbortSignal | undefined) {
    this.#slice = slice;
    this.#signal = signal;
  }

  async add(work: number): Promise<void> {
    this.#signal?.throwIfAborted();
    this.#work += work;
    if (this.#work < this.#slice) return;
    this.#work = 0;
    await setImmediate();
    this.#signal?.throwIfAborted();
  }
}
