import crypto from 'node:crypto';
import { syncBuiltinESMExports } from 'node:module';
import { type Clock, install } from '@sinonjs/fake-timers';
import { EventQueue } from './event-queue.ts';
import { seededRandom } from './random.ts';
import { rememberVerified } from './signatures.ts';

/** When every run begins, in milliseconds since the epoch: the daemon puts times into heads and address books. */
export const EPOCH_MS = Date.UTC(2030, 0, 1);

/**
 * Time, timers, random numbers and signature checks of the whole process, in the hands of the simulator.
 *
 * Virtual are `setTimeout`, `setInterval`, `setImmediate` (also those of `node:timers/promises`), `Date`, `performance`
 * and `AbortSignal.timeout`. Promises are real: after each timer everything that can go on without a timer does, and
 * nothing in a run does real input or output, so the order of events follows from the seed.
 */
export class VirtualClock {
  readonly #clock: Clock;
  readonly #restore: (() => void)[] = [];
  readonly #messages = new EventQueue();
  readonly #turn: (run: () => void) => unknown;
  #fired = 0;

  constructor(options: { seed: string }) {
    const { setImmediate: realImmediate } = globalThis;
    this.#turn = (run) => realImmediate(run);
    this.#clock = install({
      now: EPOCH_MS,
      toFake: [
        'setTimeout',
        'clearTimeout',
        'setInterval',
        'clearInterval',
        'setImmediate',
        'clearImmediate',
        'Date',
        'performance',
      ],
    });
    this.#replace(Math, 'random', seededRandom(`${options.seed} Math.random`));
    this.#replace(AbortSignal, 'timeout', (milliseconds: number) => {
      const controller = new AbortController();
      const reason = () => new DOMException('The operation was aborted due to timeout', 'TimeoutError');
      setTimeout(() => controller.abort(reason()), milliseconds);
      return controller.signal;
    });
    const { createPublicKey, verify } = rememberVerified(crypto);
    this.#replace(crypto, 'createPublicKey', createPublicKey);
    this.#replace(crypto, 'verify', verify);
    syncBuiltinESMExports();
  }

  /** Milliseconds since the start of the run. */
  get now(): number {
    return this.#clock.now - EPOCH_MS;
  }

  /** Timers and messages so far. */
  get fired(): number {
    return this.#fired;
  }

  /** Goes from timer to timer until the condition holds; false when `limitMs` of the run are over before. */
  async runUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
    await this.#drain();
    while (!condition()) {
      if (this.now >= limitMs || !this.#step()) return false;
      await this.#drain();
    }
    return true;
  }

  /** Runs something after that many milliseconds, rounded up: a timer that costs less and cannot be taken back. */
  after(milliseconds: number, run: () => void): void {
    this.#messages.put(this.#clock.now + Math.ceil(milliseconds), run);
  }

  /** Gives the process its own clock back. */
  stop(): void {
    this.#clock.uninstall();
    for (const restore of this.#restore.reverse()) restore();
    syncBuiltinESMExports();
  }

  /** Goes to the next timer or message; false when there is none. Of two with one time the timer comes first. */
  #step(): boolean {
    const timer = this.#clock.timerHeap?.peek()?.callAt ?? Number.POSITIVE_INFINITY;
    const { next } = this.#messages;
    if (Math.min(timer, next) === Number.POSITIVE_INFINITY) return false;
    this.#fired++;
    if (timer <= next) this.#clock.next();
    else {
      this.#clock.now = next;
      this.#messages.take()!();
    }
    return true;
  }

  /** Lets everything go on that waits for no timer. */
  #drain(): Promise<void> {
    return new Promise((resolve) => this.#turn(resolve));
  }

  #replace<T extends object, K extends keyof T>(owner: T, name: K, value: unknown): void {
    const original = owner[name];
    owner[name] = value as T[K];
    this.#restore.push(() => {
      owner[name] = original;
    });
  }
}
