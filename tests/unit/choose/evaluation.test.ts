import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import {
  CHOICE_DENSITIES,
  type ChooseInput,
  chooseSettings,
  defaultScaleFactor,
  defaultSettings,
  FACTOR_STEPS,
  FRUITLESS_DENSITIES,
  virtualWeights,
} from '../../../src/choose/index.ts';
import { encodeTaskVector, expand, openPayload, tableOf } from '../../../src/codec/index.ts';
import { evaluate } from '../../../src/evaluate/index.ts';
import type { Progress } from '../../../src/run-options.ts';
import { bytes, float, opened, scratch, writeLinearGraph, writeTensors } from '../evaluate/support.ts';
import { vision8 } from './support.ts';

/** Seconds of matrix work, on machines that may be busy. */
const PATIENT_MS = 180_000;

async function chosen(input: ChooseInput, options = {}) {
  const choice = await chooseSettings(input, options);
  if (choice.by !== 'evaluation') throw new Error(`by ${choice.by}`);
  return choice;
}

/**
 * A linear classifier of two classes whose base is always wrong and whose fine-tune is right by its largest entries, so
 * that every density and every factor is right as well.
 */
async function easy(samples = 50): Promise<ChooseInput & { evaluation: NonNullable<ChooseInput['evaluation']> }> {
  const directory = await scratch();
  const file = (name: string) => join(directory, name);
  const base = await opened(
    await writeTensors(file('base.safetensors'), { weight: float([2, 4], -1, 0, 0, 0, 0, 0, 0, 0) }),
  );
  const tuned = float([2, 4], 9, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3);
  const finetune = await opened(await writeTensors(file('finetune.safetensors'), { weight: tuned }));
  await writeTensors(file('held-out.safetensors'), {
    images: bytes([samples, 4], ...Array.from({ length: samples }, () => [255, 0, 0, 0]).flat()),
    labels: bytes([samples], ...Array.from({ length: samples }, () => 0)),
  });
  const graph = await writeLinearGraph(file('linear.onnx'));
  const tests = [{ task: 'first', path: file('held-out.safetensors') }];
  return { base, finetune, table: tableOf(base), evaluation: { graph, tests } };
}

/** From now on a directory for temporary files of its own; the function tells what is in it. */
async function temporary(): Promise<() => Promise<string[]>> {
  const directory = join(await scratch(), 'tmp');
  await mkdir(directory);
  vi.stubEnv('TMPDIR', directory);
  onTestFinished(() => void vi.unstubAllEnvs());
  return () => readdir(directory);
}

test('where all settings are equally good, the smallest density and the default factor are taken', async () => {
  const input = await easy();
  const left = await temporary();
  const choice = await chosen(input);
  expect(choice.settings).toEqual(defaultSettings(CHOICE_DENSITIES[0]));
  expect(choice.table.every((row) => row.good && row.accuracy === 100 && row.bytes > 0)).toBe(true);
  expect(await left()).toEqual([]);
});

test('larger densities are left out once some in a row have brought nothing', async () => {
  const { table } = await chosen(await easy());
  const tried = CHOICE_DENSITIES.slice(0, 1 + FRUITLESS_DENSITIES);
  expect([...new Set(table.map((row) => row.density))]).toEqual(tried);
  expect(table.map((row) => row.scaleFactor)).toEqual(
    tried.flatMap((density) => FACTOR_STEPS.map((step) => step * defaultScaleFactor(density))),
  );
});

test('progress counts the samples of all evaluations, in phases that name the density', async () => {
  const seen: Progress[] = [];
  await chosen({ ...(await easy(50)), densities: [0.5, 1] }, { onProgress: (p: Progress) => seen.push(p) });
  const samples = seen.filter((progress) => progress.unit === 'samples');
  const total = 2 * FACTOR_STEPS.length * 50;
  expect(samples.map(({ done }) => done)).toEqual(Array.from({ length: total / 50 }, (_, i) => 50 * (i + 1)));
  expect(samples[0]).toMatchObject({ phase: 'trying density 0.5', total });
  expect(samples.at(-1)).toMatchObject({ phase: 'trying density 1', done: total });
});

test('an abort stops the choice and leaves no file', async () => {
  const input = await easy();
  const left = await temporary();
  const controller = new AbortController();
  const onProgress = ({ unit }: Progress) => unit === 'samples' && controller.abort(new Error('enough'));
  await expect(chosen(input, { signal: controller.signal, onProgress })).rejects.toThrow('enough');
  expect(await left()).toEqual([]);
});

test('what cannot be evaluated is refused before anything is encoded', async () => {
  const input = await easy();
  const left = await temporary();
  const seen: Progress[] = [];
  const evaluation = { ...input.evaluation, tests: [] };
  await expect(chosen({ ...input, evaluation }, { onProgress: (p: Progress) => seen.push(p) })).rejects.toMatchObject({
    code: 'NO_TESTS',
  });
  expect(seen).toEqual([]);
  expect(await left()).toEqual([]);
});

test('settings chosen on held-out samples of two experts hold on their test sets', {
  timeout: PATIENT_MS,
}, async () => {
  const means = { chosen: 0, default: 0 };
  for (const task of ['kmnist', 'signs']) {
    const { evaluation, ...input } = await vision8(task);
    const choice = await chosen({ ...input, evaluation: evaluation('val'), densities: [0.1, 0.2] });
    const best = Math.max(...choice.table.map((row) => row.accuracy));
    const row = choice.table.find(
      ({ density, scaleFactor }) => density === choice.settings.density && scaleFactor === choice.settings.scaleFactor,
    )!;
    expect(row.good).toBe(true);
    expect(row.accuracy).toBeGreaterThanOrEqual(best - choice.standardError);
    // Far too large a factor was not worth trying at both densities, or is seen to be bad.
    expect(choice.table.filter(({ good }) => !good).length).toBeGreaterThan(0);

    for (const [name, settings] of [['chosen', choice.settings] as const, ['default', defaultSettings()] as const]) {
      const payload = join(await scratch(), 'payload');
      await encodeTaskVector({ ...input, ...settings }, payload);
      const reader = await openPayload(payload, input.table);
      const additions = new Map(
        reader.sections.map(({ index }) => [
          input.table[index]!.name,
          async (values: Float32Array) => {
            const update = new Float32Array(values.length);
            expand((await reader.tensor(index))!, update);
            for (let i = 0; i < values.length; i++) values[i] = values[i]! + update[i]!;
          },
        ]),
      );
      const weights = virtualWeights(input.base, additions);
      means[name] += (await evaluate({ ...evaluation('test'), weights })).average / 2;
      await reader.close();
    }
  }
  // Two tasks of 1000 and 500 samples: a standard error of 1.1 points. The larger settings were within one of the choice.
  expect(means.chosen).toBeGreaterThan(means.default - 2.5);
});
