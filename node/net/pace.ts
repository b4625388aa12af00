export interface PaceOptions {
  /** Shortest time between two runs, in milliseconds; it doubles with every run as long as requests keep coming. */
  readonly firstMs: number;
  /** Longest time, in milliseconds. */
  readonly maxMs: number;
}

/**
 * Runs something that is asked for at once after a quiet time, and the more seldom the longer requests keep coming; always
 * once after the last request.
 */
export class Pace {
  readonly #options: PaceOptions;
  readonly #work: () => void;
  #interval: number;
  #last = Number.NEGATIVE_INFINITY;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: PaceOptions, components: { work: () => void }) {
    this.#options = options;
    this.#work = components.work;
    this.#interval = options.firstMs;
  }

  request(): void {
    if (this.#timer !== undefined || this.#stopped) return;
    const since = performance.now() - this.#last;
    if (since >= 2 * this.#interval) this.#interval = this.#options.firstMs;
    this.#timer = setTimeout(() => this.#run(), Math.max(0, this.#interval - since));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #run(): void {
    this.#timer = undefined;
    this.#last = performance.now();
    this.#interval = Math.min(2 * this.#interval, this.#options.maxMs);
    this.#work();
  }
}
