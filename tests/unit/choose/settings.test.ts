import { expect, test } from 'vitest';
import {
  CHOICE_DENSITIES,
  ChooseError,
  chooseSettings,
  DEFAULT_DENSITY,
  defaultScaleFactor,
  defaultSettings,
  MAX_CHOICE_DENSITIES,
} from '../../../src/choose/index.ts';
import { gaussian, pairOf } from './support.ts';

test('the default is a top-k and a scale per tensor, at a fifth of the entries', () => {
  expect(defaultSettings()).toEqual({
    density: DEFAULT_DENSITY,
    mode: 'tensor',
    scaleUnit: 'magnitude',
    scaleFactor: Math.sqrt(5),
  });
});

test('the default factor grows as the root of what is cut and is the least-squares one where nothing is', () => {
  expect(defaultScaleFactor(1)).toBe(1);
  expect(defaultScaleFactor(0.25)).toBe(2);
  expect(defaultSettings(0.01).scaleFactor).toBeCloseTo(10, 12);
});

test('at the default factor a decoded tensor has the norm of one whose entries all have the kept magnitude', () => {
  const [elements, magnitude] = [1000, 0.25];
  for (const density of CHOICE_DENSITIES) {
    const norm = defaultScaleFactor(density) * magnitude * Math.sqrt(density * elements);
    expect(norm).toBeCloseTo(magnitude * Math.sqrt(elements), 12);
  }
});

test.each([
  ['none', []],
  ['0', [0, 0.1]],
  ['more than 1', [0.1, 1.1]],
  ['NaN', [Number.NaN]],
  ['one twice', [0.1, 0.2, 0.1]],
  ['too many', Array.from({ length: MAX_CHOICE_DENSITIES + 1 }, (_, i) => (i + 1) / 100)],
])('densities to choose from are refused: %s', async (_, densities) => {
  const pair = await pairOf({ w: gaussian(100) });
  const error = await chooseSettings({ ...pair, densities }).catch((caught: unknown) => caught);
  expect(error).toBeInstanceOf(ChooseError);
  expect(error).toMatchObject({ code: 'BAD_DENSITIES', message: expect.stringContaining('Give 1 to 16') });
});

test('as many densities as allowed are tried, in ascending order', async () => {
  const pair = await pairOf({ w: gaussian(1000) });
  const ascending = Array.from({ length: MAX_CHOICE_DENSITIES }, (_, i) => (i + 1) / 100);
  const choice = await chooseSettings({ ...pair, densities: ascending.toReversed() });
  expect(choice.table.map((row) => row.density)).toEqual(ascending);
});
