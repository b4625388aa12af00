/** Waits for something that may take long, as long as it gets on: its signal aborts after a time without progress. */
export class Patience {
  readonly #milliseconds: number;
  readonly #controller = new AbortController();
  #left: number;
  #since = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Runs from now on. */
  constructor(milliseconds: number) {
    this.#milliseconds = milliseconds;
    this.#left = milliseconds;
    this.resume();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get lost(): boolean {
    return this.#controller.signal.aborted;
  }

  /** There was progress: the time begins anew. */
  reset(): void {
    this.pause();
    this.#left = this.#milliseconds;
    this.resume();
  }

  /** The time stands still until `resume`. */
  pause(): void {
    if (this.#timer === undefined) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#left = Math.max(0, this.#left - (performance.now() - this.#since));
  }

  resume(): void {
    if (this.#timer !== undefined || this.lost) return;
    this.#since = performance.now();
    this.#timer = setTimeout(() => this.#controller.abort(), this.#left);
  }
}
