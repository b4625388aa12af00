import { expect, test } from 'vitest';
import { goodSettings, nearestToDefault, standardErrorOf, type Tried } from '../../../src/choose/one-error.ts';

/** One task of 100 samples. */
function tried(density: number, scaleFactor: number, correct: number): Tried {
  const task = { n: 100, correct, accuracy: correct };
  return { density, scaleFactor, bytes: 1, accuracy: correct, tasks: { task } };
}

test('the error of a mean over tasks is that of independent samples', () => {
  const task = { n: 98, correct: 79, accuracy: (100 * 79) / 98 };
  const one = 100 * Math.sqrt((0.8 * 0.2) / 98);
  expect(standardErrorOf({ tasks: { a: task } })).toBeCloseTo(one, 12);
  expect(standardErrorOf({ tasks: { a: task, b: task, c: task, d: task } })).toBeCloseTo(one / 2, 12);
});

test('all right and all wrong are not certain', () => {
  for (const correct of [0, 50]) {
    const task = { n: 50, correct, accuracy: 2 * correct };
    expect(standardErrorOf({ tasks: { task } })).toBeGreaterThan(1);
  }
});

test('a setting is good within one standard error of the best, and not beyond', () => {
  // At 80 of 100 the error is 4.0 points.
  const rows = [tried(0.1, 3, 75), tried(0.2, 2, 77), tried(0.3, 2, 80)];
  const { good, standardError } = goodSettings(rows);
  expect(standardError).toBeGreaterThan(3.9);
  expect(standardError).toBeLessThan(4.1);
  expect([...good]).toEqual(rows.slice(1));
});

test('the smallest density wins, and there the factor nearest to the default in ratio', () => {
  expect(nearestToDefault([tried(0.25, 1.4, 80), tried(0.25, 2.8, 81), tried(0.5, 1.41, 90)])).toMatchObject({
    density: 0.25,
    scaleFactor: 2.8,
  });
});

test('of two factors equally far from the default the smaller one is taken', () => {
  expect(nearestToDefault([tried(0.25, 4, 80), tried(0.25, 1, 80)]).scaleFactor).toBe(1);
});
