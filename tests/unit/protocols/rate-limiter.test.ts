import { describe, expect, test } from 'vitest';
import { RateLimiter } from '../../../protocols/rate-limiter.ts';

describe('a rate limiter', () => {
  test('lets a burst through, and the next only after its interval', () => {
    let now = 1_000;
    const limiter = new RateLimiter({ perSecond: 10, burst: 5 }, { now: () => now });
    for (let i = 0; i < 5; i++) expect(limiter.take('a')).toBe(0);
    expect(limiter.take('a')).toBeCloseTo(100);
    now += 99;
    expect(limiter.take('a')).toBeCloseTo(1);
    now += 1;
    expect(limiter.take('a')).toBe(0);
    expect(limiter.take('a')).toBeGreaterThan(0);
  });

  test('takes nothing for what it refuses', () => {
    let now = 0;
    const limiter = new RateLimiter({ perSecond: 1, burst: 1 }, { now: () => now });
    expect(limiter.take('a')).toBe(0);
    for (let i = 0; i < 100; i++) expect(limiter.take('a')).toBe(1_000);
    now = 1_000;
    expect(limiter.take('a')).toBe(0);
  });

  test('gives the full burst again after a rest, and never more', () => {
    let now = 0;
    const limiter = new RateLimiter({ perSecond: 2, burst: 3 }, { now: () => now });
    const taken = () => {
      let count = 0;
      while (limiter.take('a') === 0) count++;
      return count;
    };
    expect(taken()).toBe(3);
    now += 3_600_000;
    expect(taken()).toBe(3);
  });

  test('counts the cost of a request', () => {
    const limiter = new RateLimiter({ perSecond: 1, burst: 10 }, { now: () => 0 });
    expect(limiter.take('a', 10)).toBe(0);
    expect(limiter.take('a', 1)).toBe(1_000);
    expect(limiter.take('b', 11)).toBe(1_000);
  });

  test('keeps a limit per key, and a bounded number of keys', () => {
    let now = 0;
    const limiter = new RateLimiter({ perSecond: 1, burst: 1 }, { maxKeys: 3, now: () => now });
    for (const key of ['a', 'b', 'c']) expect(limiter.take(key)).toBe(0);
    expect(limiter.take('d')).toBeGreaterThan(0);
    expect(limiter.size).toBe(3);
    now = 1_000;
    expect(limiter.take('d')).toBe(0);
    expect(limiter.size).toBe(1);
  });
});
