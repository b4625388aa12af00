import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Pace } from '../../../node/net/pace.ts';

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** A pace whose runs are noted in milliseconds from now. */
function paced(firstMs: number, maxMs: number) {
  const started = performance.now();
  const runs: number[] = [];
  const pace = new Pace({ firstMs, maxMs }, { work: () => runs.push(performance.now() - started) });
  return { pace, runs };
}

describe('the pace of something that is asked for again and again', () => {
  test('starts at once and slows down to its limit', () => {
    const { pace, runs } = paced(20, 100);
    const asking = setInterval(() => pace.request(), 5);
    pace.request();
    vi.advanceTimersByTime(450);
    clearInterval(asking);
    expect(runs).toEqual([0, 40, 120, 220, 320, 420]);
    // The last request is not forgotten.
    vi.advanceTimersByTime(1_000);
    expect(runs).toEqual([0, 40, 120, 220, 320, 420, 520]);
  });

  test('is quick again after a quiet time', () => {
    const { pace, runs } = paced(20, 100);
    pace.request();
    vi.advanceTimersByTime(10);
    pace.request();
    vi.advanceTimersByTime(200);
    expect(runs).toEqual([0, 40]);
    // Twice the interval that had been reached.
    pace.request();
    vi.advanceTimersByTime(0);
    expect(runs).toEqual([0, 40, 210]);
    pace.request();
    vi.advanceTimersByTime(1_000);
    expect(runs).toEqual([0, 40, 210, 250]);
  });

  test('ends with stop', () => {
    const { pace, runs } = paced(10, 10);
    pace.request();
    pace.stop();
    pace.request();
    vi.advanceTimersByTime(50);
    expect(runs).toEqual([]);
  });
});
