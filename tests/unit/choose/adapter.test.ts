import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { CHOICE_DENSITIES, chooseSettings, defaultSettings } from '../../../src/choose/index.ts';
import { tableOf } from '../../../src/codec/index.ts';
import { openFinetune } from '../../../src/tensors/index.ts';
import { bytes, float, opened, scratch, writeLinearGraph, writeTensors } from '../evaluate/support.ts';
import { gaussian } from './support.ts';

/** A base with one matrix `weight` of zeros, and a LoRA adapter of it. */
async function adapterOf(shape: readonly [number, number], left: Float32Array, right: Float32Array) {
  const directory = await scratch();
  const [rows, columns] = shape;
  const rank = left.length / rows;
  const zeros = new Float32Array(rows * columns);
  const base = await opened(
    await writeTensors(join(directory, 'base.safetensors'), { 'layer.weight': float(shape, ...zeros) }),
  );
  const path = join(directory, 'adapter');
  await mkdir(path);
  await writeTensors(join(path, 'adapter_model.safetensors'), {
    'base_model.model.layer.lora_A.weight': float([rank, columns], ...right),
    'base_model.model.layer.lora_B.weight': float([rows, rank], ...left),
  });
  const config = { peft_type: 'LORA', r: rank, lora_alpha: rank, target_modules: ['layer'], bias: 'none' };
  await writeFile(join(path, 'adapter_config.json'), JSON.stringify(config));
  const finetune = await openFinetune(path, base);
  onTestFinished(() => finetune.close());
  if (finetune.kind !== 'adapter') throw new Error(finetune.kind);
  return { base, finetune: finetune.adapter, table: tableOf(base), directory };
}

test('of an adapter the product of what its factors keep is compared', async () => {
  const choice = await chooseSettings(await adapterOf([64, 96], gaussian(64 * 4, 1), gaussian(4 * 96, 2)));
  if (choice.by !== 'reconstruction') throw new Error(choice.by);
  const energies = choice.table.map((row) => row.energy);
  // Each factor keeps 0.62 of its energy at a fifth, and 0.81 at a half: the product about the square of it.
  expect(energies.toSorted((a, b) => a - b)).toEqual(energies);
  expect(energies[2]).toBeGreaterThan(0.45);
  expect(energies[2]).toBeLessThan(0.7);
  expect(choice.settings).toEqual(defaultSettings(0.3));
});

test('an adapter is evaluated as what it decodes to', async () => {
  // The rank-1 product has its one large entry at [0, 0], which is what tells the classes apart.
  const small = 1e-3;
  const input = await adapterOf([2, 4], Float32Array.of(1, small), Float32Array.of(1, small, small, small));
  const path = await writeTensors(join(input.directory, 'held-out.safetensors'), {
    images: bytes([20, 4], ...Array.from({ length: 20 }, () => [255, 0, 0, 0]).flat()),
    labels: bytes([20], ...Array.from({ length: 20 }, () => 0)),
  });
  const graph = await writeLinearGraph(join(input.directory, 'linear.onnx'), 'layer.weight');
  const choice = await chooseSettings({ ...input, evaluation: { graph, tests: [{ task: 'first', path }] } });
  if (choice.by !== 'evaluation') throw new Error(choice.by);
  expect(choice.table.every((row) => row.accuracy === 100)).toBe(true);
  expect(choice.settings).toEqual(defaultSettings(CHOICE_DENSITIES[0]));
});
