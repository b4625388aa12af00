import { describe, expect, test } from 'vitest';
import { FETCH_RETRY_FIRST_MS, FETCH_RETRY_MAX_MS, FetchAttempts } from '../../../node/net/fetch-attempts.ts';

const KEY = 'a payload';

/** Attempts with a clock that stands still until it is set. */
function attemptsAt(start: number) {
  const clock = { now: start };
  return { clock, attempts: new FetchAttempts({ now: () => clock.now }) };
}

describe('what was tried to get a payload', () => {
  test('waits twice as long after every failure, up to the limit', () => {
    const { clock, attempts } = attemptsAt(1_000);
    const waits: number[] = [];
    for (let i = 1; i <= 20; i++) {
      expect(attempts.failed(KEY, new Error(`failure ${i}`))).toBe(i);
      waits.push(attempts.of(KEY).notBefore - clock.now);
    }
    expect(waits.slice(0, 3)).toEqual([FETCH_RETRY_FIRST_MS, 2 * FETCH_RETRY_FIRST_MS, 4 * FETCH_RETRY_FIRST_MS]);
    expect(waits.filter((wait) => wait === FETCH_RETRY_MAX_MS).length).toBe(13);
    expect(Math.max(...waits)).toBe(FETCH_RETRY_MAX_MS);
  });

  test('tells how often it was tried and when the next try may begin', () => {
    const { clock, attempts } = attemptsAt(1_000);
    expect(attempts.tries(KEY, false)).toBeUndefined();
    expect(attempts.tries(KEY, true)).toEqual({ count: 0, nextInMs: null, error: null });
    attempts.madeWay(KEY);
    expect(attempts.tries(KEY, false)).toEqual({ count: 1, nextInMs: 0, error: null });
    attempts.failed(KEY, 'nobody has it');
    clock.now += 100;
    expect(attempts.tries(KEY, false)).toEqual({
      count: 2,
      nextInMs: FETCH_RETRY_FIRST_MS - 100,
      error: new Error('nobody has it'),
    });
    expect(attempts.tries(KEY, true)?.nextInMs).toBeNull();
    clock.now += 2 * FETCH_RETRY_FIRST_MS;
    expect(attempts.tries(KEY, false)?.nextInMs).toBe(0);
  });

  test('a turn that ended keeps the failures before it, and their error', () => {
    const { attempts } = attemptsAt(0);
    const error = new Error('lost');
    attempts.failed(KEY, error);
    attempts.madeWay(KEY);
    expect(attempts.of(KEY)).toMatchObject({ failures: 1, turns: 1, notBefore: 0, error });
  });

  test('what a bundle did not bring is asked for by itself, unless the bundle comes again later', () => {
    const { attempts } = attemptsAt(1_000);
    attempts.separate([KEY, 'another']);
    expect([KEY, 'another'].map((key) => attempts.of(key).alone)).toEqual([true, true]);
    attempts.postpone([KEY], 250, new Error('busy'));
    expect(attempts.of(KEY)).toMatchObject({ alone: false, failures: 0, turns: 0, notBefore: 1_250 });
    attempts.postpone([KEY], 250, new Error('lost'), { turns: 1 });
    expect(attempts.of(KEY)).toMatchObject({ alone: false, failures: 0, turns: 1 });
  });

  test('is forgotten when it came or nobody wants it', () => {
    const { attempts } = attemptsAt(0);
    for (const key of ['came', 'wanted', 'unwanted']) attempts.failed(key, new Error('lost'));
    attempts.succeeded('came');
    attempts.keepOnly(new Set(['came', 'wanted']));
    const known = ['came', 'wanted', 'unwanted'].map((key) => attempts.tries(key, false) !== undefined);
    expect(known).toEqual([false, true, false]);
  });
});
