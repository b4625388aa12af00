import { cp, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, inject, test } from 'vitest';
import model from '../fixtures/vision8/model.json' with { type: 'json' };
import { runCli } from './support/cli.ts';
import { BASE, expert, namesIn, opened, PATIENT_MS, scratch, TASKS, VISION8 } from './support/files.ts';

const evaluation = ['--graph', join(VISION8, 'model.onnx'), '--heads', join(VISION8, 'heads.safetensors'), '--json'];

async function writeConfig(path: string, method: string, parameters: string, models: readonly string[]): Promise<void> {
  const lines = [
    `merge_method: ${method}`,
    `base_model: ${BASE}`,
    'models:',
    ...models.map((file) => `  - model: ${file}`),
    `parameters: ${parameters}`,
    'linear_tensors:',
    ...model.linear_matrices.map((name) => `  - ${name}`),
    'dtype: float32',
  ];
  await writeFile(path, `${lines.join('\n')}\n`);
}

test('the eight experts merged by a configuration reach the reference accuracy', { timeout: PATIENT_MS }, async () => {
  const dir = await scratch();
  const config = join(dir, 'opcm.yml');
  const out = join(dir, 'merged');
  await writeConfig(config, 'opcm', '{ variant: ref, alpha: 0.5, scale: 1 }', TASKS.map(expert));
  const merged = await runCli(['merge', config, '--out', out, '--device', 'cpu', '--json']);
  expect(merged).toMatchObject({ code: 0, stderr: '' });
  expect(merged.json).toMatchObject({ out, method: 'opcm', tensors: 53, linear: expect.any(Array) });
  expect(merged.json.linear).toHaveLength(17);
  expect(merged.json.models).toHaveLength(8);
  // Nothing but the checkpoint is left beside the configuration.
  expect(await namesIn(dir)).toEqual(['merged', 'opcm.yml']);

  const result = await runCli(['evaluate', out, '--tests', VISION8, ...evaluation]);
  expect(result).toMatchObject({ code: 0, stderr: '' });
  expect(Object.keys(result.json.tasks).sort()).toEqual([...TASKS].sort());
  // An independent float64 reference gives 66.1 for uncompressed task vectors.
  expect(Math.abs(result.json.average - 66.1)).toBeLessThanOrEqual(0.6);
});

test.skipIf(!inject('webgpu'))(
  'merged on webgpu, they are the same within 1e-3 and 0.2 points',
  { timeout: PATIENT_MS },
  async () => {
    const dir = await scratch();
    const config = join(dir, 'opcm.yml');
    await writeConfig(config, 'opcm', '{ variant: ref, alpha: 0.5, scale: 1 }', TASKS.map(expert));
    const accuracies: number[] = [];
    for (const device of ['cpu', 'webgpu']) {
      const out = join(dir, device);
      const merged = await runCli(['merge', config, '--out', out, '--device', device, '--json']);
      expect(merged).toMatchObject({ code: 0, stderr: '', json: { device } });
      const products = merged.json.phases.filter(({ name }: { name: string }) => name === 'products');
      expect(products).toEqual([expect.objectContaining({ device })]);
      const result = await runCli(['evaluate', out, '--tests', VISION8, ...evaluation]);
      accuracies.push(result.json.average);
    }
    expect(Math.abs(accuracies[1]! - accuracies[0]!)).toBeLessThanOrEqual(0.2);
    const [base, onCpu, onWebgpu] = [
      await opened(BASE),
      await opened(join(dir, 'cpu')),
      await opened(join(dir, 'webgpu')),
    ];
    for (const name of model.linear_matrices) {
      const [w, a, b] = [await base.readFloat32(name), await onCpu.readFloat32(name), await onWebgpu.readFloat32(name)];
      const difference = Math.hypot(...a.map((value, i) => value - b[i]!));
      expect(difference / Math.hypot(...a.map((value, i) => value - w[i]!)), name).toBeLessThan(1e-3);
    }
  },
);

test('updates and checkpoints can be averaged together', { timeout: PATIENT_MS }, async () => {
  const dir = await scratch();
  const update = join(dir, 'signs.update');
  const copy = join(dir, 'mnist.safetensors');
  await cp(expert('mnist'), copy);
  expect((await runCli(['encode', expert('signs'), '--base', BASE, '--out', update])).code).toBe(0);
  await writeConfig(join(dir, 'average.yml'), 'average', '{}', ['mnist.safetensors', 'signs.update']);
  const merged = await runCli(['merge', 'average.yml', '--out', 'merged', '--json'], { cwd: dir });
  expect(merged.json).toMatchObject({ method: 'average', models: [{ kind: 'checkpoint' }, { kind: 'update' }] });
  const vector = join(dir, 'vector.safetensors');
  expect((await runCli(['decode', update, '--out', vector])).code).toBe(0);
  const [base, mnist, signs, mean] = [
    await opened(BASE),
    await opened(copy),
    await opened(vector),
    await opened(join(dir, 'merged')),
  ];
  for (const name of base.tensors.keys()) {
    const [w, a, t, m] = [
      await base.readFloat32(name),
      await mnist.readFloat32(name),
      await signs.readFloat32(name),
      await mean.readFloat32(name),
    ];
    const off = m.findIndex((value, i) => Math.abs(value - (w[i]! + (a[i]! - w[i]! + t[i]!) / 2)) > 1e-6);
    expect(off, name).toBe(-1);
  }
});

test('evaluate takes single test sets, and tells what is missing', { timeout: PATIENT_MS }, async () => {
  const set = join(VISION8, 'val-signs.safetensors');
  const one = await runCli(['evaluate', expert('signs'), '--test', `signs=${set}`, ...evaluation]);
  expect(Object.keys(one.json.tasks)).toEqual(['signs']);
  expect(one.json.average).toBe(one.json.tasks.signs.accuracy);
  expect(one.json.average).toBeGreaterThan(60);
  const wrong = await runCli(['evaluate', expert('signs'), '--test', `sign=${set}`, ...evaluation]);
  expect(wrong).toMatchObject({ code: 1, json: { error: { code: 'INPUT_MISSING', fields: { task: 'sign' } } } });
  const none = await runCli(['evaluate', expert('signs'), ...evaluation]);
  expect(none).toMatchObject({ code: 2, json: { error: { code: 'NO_TESTS' } } });
});
