import { asError } from '../../protocols/channel.ts';

/** First wait after a failed fetch, in milliseconds; it doubles up to the last value, as long as the record waits. */
export const FETCH_RETRY_FIRST_MS = 500;
export const FETCH_RETRY_MAX_MS = 60_000;

/** How the fetching of one payload has gone so far. */
export interface Attempt {
  /** Tries in a row that brought nothing. */
  readonly failures: number;
  /** Turns that ended before the payload was whole. */
  readonly turns: number;
  /** When the next try may begin, in milliseconds of the clock. */
  readonly notBefore: number;
  /** A bundle did not bring it: it is asked for by itself, of all peers. */
  readonly alone: boolean;
  /** What ended the last try that failed. */
  readonly error: Error | null;
}

/** How the fetching of a payload has gone, for those who wait for it. */
export interface Tries {
  /** Tries that brought nothing, and turns that ended before it was whole. */
  readonly count: number;
  /** Milliseconds until the next try may begin; null while one is under way. */
  readonly nextInMs: number | null;
  /** What ended the last try that failed. */
  readonly error: Error | null;
}

const FIRST_ATTEMPT: Attempt = { failures: 0, turns: 0, notBefore: 0, alone: false, error: null };

/** What was tried to get payloads, each by its key, and when it may be tried again. */
export class FetchAttempts {
  readonly #now: () => number;
  readonly #attempts = new Map<string, Attempt>();

  constructor(components: { now?: () => number } = {}) {
    this.#now = components.now ?? (() => performance.now());
  }

  of(key: string): Attempt {
    return this.#attempts.get(key) ?? FIRST_ATTEMPT;
  }

  /** How often a payload, or its manifest, was tried; undefined when it was not yet. */
  tries(key: string, isUnderWay: boolean): Tries | undefined {
    if (!isUnderWay && !this.#attempts.has(key)) return undefined;
    const { failures, turns, notBefore, error } = this.of(key);
    const nextInMs = isUnderWay ? null : Math.max(0, notBefore - this.#now());
    return { count: failures + turns, nextInMs, error };
  }

  /** A try brought nothing: the next one waits twice as long as this one did. @returns failures up to now */
  failed(key: string, error: unknown): number {
    const before = this.of(key);
    const wait = Math.min(FETCH_RETRY_MAX_MS, FETCH_RETRY_FIRST_MS * 2 ** Math.min(before.failures, 16));
    const failures = before.failures + 1;
    this.#attempts.set(key, { ...before, failures, notBefore: this.#now() + wait, error: asError(error) });
    return failures;
  }

  /** A turn ended before the payload was whole: it goes on as soon as it is its turn again. */
  madeWay(key: string): void {
    const before = this.of(key);
    this.#attempts.set(key, { ...before, turns: before.turns + 1, notBefore: this.#now() });
  }

  /** A bundle broke off: its payloads begin anew after the wait, in milliseconds, with this much behind them. */
  postpone(keys: Iterable<string>, wait: number, error: unknown, tried: { failures?: 1; turns?: 1 } = {}): void {
    const attempt = { ...FIRST_ATTEMPT, ...tried, notBefore: this.#now() + wait, error: asError(error) };
    for (const key of keys) this.#attempts.set(key, attempt);
  }

  /** A bundle did not bring them: from now on each is asked for by itself. */
  separate(keys: Iterable<string>): void {
    for (const key of keys) this.#attempts.set(key, { ...FIRST_ATTEMPT, alone: true });
  }

  succeeded(key: string): void {
    this.#attempts.delete(key);
  }

  /** Forgets what is no longer wanted. */
  keepOnly(wanted: { has(key: string): boolean }): void {
    for (const key of this.#attempts.keys()) if (!wanted.has(key)) this.#attempts.delete(key);
  }
}
