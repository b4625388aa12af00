import { describe, expect, test } from 'vitest';
import { type BarDefinition, isAsked, judge } from '../../../scripts/bench/bars.ts';
import { interleave, median, medianRatio } from '../../../scripts/bench/rounds.ts';

const bar = (id: string, sense: BarDefinition['sense'], target: number): BarDefinition => ({
  id,
  what: 'a figure',
  unit: 'ratio',
  target,
  sense,
  numeratorIs: 'one number',
  denominatorIs: 'another',
});

describe('bars', () => {
  test('a bar holds up to its target and not beyond', () => {
    const definitions = [
      bar('a', 'at most', 2),
      bar('b', 'at most', 2),
      bar('c', 'at least', 2),
      bar('d', 'at least', 2),
    ];
    const outcomes = new Map([
      ['a', { numerator: 4, denominator: 2 }],
      ['b', { numerator: 4.1, denominator: 2 }],
      ['c', { numerator: 4, denominator: 2 }],
      ['d', { numerator: 3.9, denominator: 2 }],
    ]);
    expect(judge(definitions, outcomes).map(({ holds }) => holds)).toEqual([true, false, true, false]);
  });

  test('a bar without a reference is reported, does not hold, and says why', () => {
    const outcomes = new Map([
      ['a', { reason: 'no torch here' }],
      ['b', { numerator: 1, denominator: 0 }],
    ]);
    const bars = judge([bar('a', 'at most', 1), bar('b', 'at least', 1), bar('c', 'at most', 1)], outcomes);
    expect(bars.map(({ value, holds }) => [value, holds])).toEqual([
      [null, false],
      [null, false],
      [null, false],
    ]);
    expect(bars[0]!.reason).toBe('no torch here');
    expect(bars[1]!.reason).toContain('1 / 0');
    expect(bars[2]!.reason).toBe('not measured');
  });

  test('a figure for a bar that nobody declared is a mistake', () => {
    expect(() => judge([], new Map([['a', { reason: '' }]]))).toThrow('not declared');
  });

  test('a bar is asked for by its id or by whole first parts of it', () => {
    expect(isAsked('codec.size.uniform.1', undefined)).toBe(true);
    expect(isAsked('codec.size.uniform.1', ['codec.size'])).toBe(true);
    expect(isAsked('codec.size.uniform.10', ['codec.size.uniform.1'])).toBe(false);
  });
});

describe('rounds', () => {
  test('steps take turns', async () => {
    const order: string[] = [];
    const step = (name: string) => async () => order.push(name);
    const rounds = await interleave(3, { a: step('a'), b: step('b') });
    expect(order).toEqual(['a', 'b', 'a', 'b', 'a', 'b']);
    expect(rounds).toEqual([
      { a: 1, b: 2 },
      { a: 3, b: 4 },
      { a: 5, b: 6 },
    ]);
  });

  test('the median round gives the value and both of its figures', () => {
    const rounds = [9, 1, 4, 25, 16].map((numerator) => ({ numerator, denominator: 2 }));
    expect(medianRatio(rounds)).toEqual({ numerator: 9, denominator: 2, rounds: [4.5, 0.5, 2, 12.5, 8] });
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(3);
    expect(() => medianRatio([])).toThrow('no rounds');
  });
});
