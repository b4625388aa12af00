import { expect, test } from 'vitest';
import {
  CHOICE_DENSITIES,
  chooseSettings,
  defaultSettings,
  ENOUGH_ENERGY,
  type ReconstructedDensity,
} from '../../../src/choose/index.ts';
import type { Progress } from '../../../src/run-options.ts';
import { gaussian, laplace, type Pair, pairOf, uniforms, vision8 } from './support.ts';

const COUNT = 200_000;

/** Computed by sorting: 1 - |x - x^|^2 / |x|^2 with the least-squares scale. */
function exactEnergy(values: Float32Array, density: number): number {
  const sorted = values.map(Math.abs).sort().reverse();
  const kept = sorted.subarray(0, Math.floor(density * values.length));
  const sum = kept.reduce((a, b) => a + b, 0);
  return sum ** 2 / kept.length / sorted.reduce((a, b) => a + b * b, 0);
}

/** The density that keeps most. */
function best(table: readonly ReconstructedDensity[]): number {
  return table.find((row) => row.energy === 1)!.density;
}

async function chosen(pair: Pair) {
  const choice = await chooseSettings(pair);
  if (choice.by !== 'reconstruction') throw new Error(`by ${choice.by}`);
  return choice;
}

test('a Gaussian vector gets a fifth of its entries, with the default factor', async () => {
  const choice = await chosen(await pairOf({ w: gaussian(COUNT) }));
  expect(choice.settings).toEqual(defaultSettings(0.2));
  expect(choice.rule).toContain(String(ENOUGH_ENERGY));
});

test('heavier tails get fewer entries', async () => {
  const values = laplace(COUNT);
  expect((await chosen(await pairOf({ w: values }))).settings.density).toBe(0.1);
  const cubed = gaussian(COUNT).map((value) => value ** 3);
  expect((await chosen(await pairOf({ w: cubed }))).settings.density).toBe(0.05);
});

test('entries of one magnitude get as many as may be kept', async () => {
  const next = uniforms(3);
  const signs = Float32Array.from({ length: 10_000 }, () => (next() < 0.5 ? -0.01 : 0.01));
  const choice = await chosen(await pairOf({ w: signs }));
  for (const { density, energy } of choice.table) expect(energy).toBeCloseTo(2 * density, 3);
  expect(choice.settings.density).toBe(0.5);
});

test('the energies are those of an exact top-k with the least-squares scale', async () => {
  for (const values of [gaussian(COUNT), laplace(COUNT)]) {
    const { table } = await chosen(await pairOf({ w: values }));
    expect(table.map((row) => row.density)).toEqual(CHOICE_DENSITIES);
    for (const { density, energy } of table) {
      expect(Math.abs(energy - exactEnergy(values, density) / exactEnergy(values, best(table)))).toBeLessThan(0.001);
    }
  }
});

test('tensors are measured by themselves and weigh with their energy', async () => {
  const [small, large] = [gaussian(COUNT, 5).map((v) => v * 0.001), laplace(COUNT, 6)];
  const { table } = await chosen(await pairOf({ small, large }));
  // The small one has a millionth of the energy.
  for (const { density, energy } of table) {
    expect(Math.abs(energy - exactEnergy(large, density) / exactEnergy(large, best(table)))).toBeLessThan(0.001);
  }
});

test('magnitudes at the ends of the float range are measured', async () => {
  for (const magnitude of [2 ** -126, 2 ** 127]) {
    const values = Float32Array.from({ length: 100 }, (_, i) => (i < 5 ? magnitude : 0));
    const { table } = await chosen(await pairOf({ w: values }));
    for (const { energy } of table) expect(energy).toBeCloseTo(1, 6);
  }
});

test('a vector of zeros has nothing to lose at the smallest density', async () => {
  const choice = await chosen(await pairOf({ w: new Float32Array(100), empty: new Float32Array(0) }));
  expect(choice.settings).toEqual(defaultSettings(CHOICE_DENSITIES[0]));
  expect(choice.table.every((row) => row.energy === 1)).toBe(true);
});

test('a NaN is an error that names its place', async () => {
  const values = gaussian(100);
  values[17] = Number.NaN;
  await expect(chosen(await pairOf({ w: values }))).rejects.toMatchObject({
    code: 'NOT_FINITE',
    fields: { tensor: 'w', position: 17 },
  });
});

test('other tensors than the base has are listed before anything is measured', async () => {
  const { base, table } = await pairOf({ w: gaussian(10) });
  const { finetune } = await pairOf({ v: gaussian(10) });
  await expect(chooseSettings({ base, finetune, table })).rejects.toMatchObject({ code: 'TENSOR_MISMATCH' });
});

test('an expert of the fixture gets the default density', async () => {
  const { base, finetune, table } = await vision8('signs');
  expect((await chosen({ base, finetune, table })).settings).toEqual(defaultSettings());
});

test('progress counts tensors, and an abort between them stops the pass', async () => {
  const pair = await pairOf({ a: gaussian(10), b: gaussian(10), c: gaussian(10) });
  const seen: Progress[] = [];
  await chooseSettings(pair, { onProgress: (progress) => seen.push(progress) });
  expect(seen.map(({ done, total, unit }) => [done, total, unit])).toEqual([
    [1, 3, 'tensors'],
    [2, 3, 'tensors'],
    [3, 3, 'tensors'],
  ]);
  const controller = new AbortController();
  const stop = chooseSettings(pair, {
    signal: controller.signal,
    onProgress: () => controller.abort(new Error('enough')),
  });
  await expect(stop).rejects.toThrow('enough');
});
