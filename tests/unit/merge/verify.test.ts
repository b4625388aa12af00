import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { MatrixEngine } from '../../../src/compute/index.ts';
import { exportMerged, type VerifyReport, verifyMerged } from '../../../src/merge/index.ts';
import { createSafetensors, narrow } from '../../../src/tensors/index.ts';
import { gaussian } from '../compute/random.ts';
import { checkpointOf, engineOf, fixture, foldAll, readSum, scratch, writeTensors } from './helpers.ts';
import { copyEdited, type Task, type Vision8, vision8 } from './vision8.ts';

const ORDER: Task[] = ['mnist', 'gtsrb', 'signs'];
const SCALE = 1;

let dir: string;
let fixture8: Vision8;
let engine: MatrixEngine;
let state: string;
let lambda: number;

/** A state of the given experts in the given order. */
async function fold(name: string, tasks: readonly Task[]): Promise<string> {
  const { mkdir } = await import('node:fs/promises');
  await mkdir(join(dir, name));
  const updates = await Promise.all(tasks.map((task) => fixture8.open(task)));
  const { state: folded } = await foldAll(join(dir, name), fixture8.tensors, updates, engine);
  await Promise.all(updates.map((update) => update.close()));
  return folded;
}

async function exported(name: string, from: string | null, scale = SCALE) {
  const out = join(dir, name);
  const report = await exportMerged({ state: from, base: fixture8.base, scale, out });
  return { report, merged: await checkpointOf(out) };
}

/** The export with some of its tensors edited. */
async function edited(name: string, edit: (tensor: string, values: Float32Array) => Float32Array) {
  const path = join(dir, `${name}.safetensors`);
  await copyEdited(await checkpointOf(join(dir, 'merged')), path, edit);
  return checkpointOf(path);
}

const verify = (directory: Awaited<ReturnType<typeof checkpointOf>>, more: object = {}) =>
  verifyMerged({ directory, base: fixture8.base, state, scale: SCALE, ...more });
const faultsOf = (report: VerifyReport) =>
  Object.fromEntries(report.tensors.filter((t) => t.verdict === 'fail').map((t) => [t.name, t.faults]));

beforeAll(async () => {
  dir = await scratch();
  fixture8 = await vision8();
  engine = await engineOf(2);
  state = await fold('states', ORDER);
  lambda = (await exported('merged', state)).report.lambda;
});

describe('verification passes', () => {
  it('on its own export, by tolerance and exactly', async () => {
    const merged = await checkpointOf(join(dir, 'merged'));
    for (const exact of [false, true]) {
      const report = await verify(merged, { exact, lambda });
      expect(faultsOf(report)).toEqual({});
      expect(report).toMatchObject({ verdict: 'pass', lambda, checked: 53, total: 53, exact });
      expect(report.claimedLambda?.verdict).toBe('pass');
      expect(report.impliedLambda?.verdict).toBe('pass');
      expect(Math.abs(report.impliedLambda!.max / lambda - 1)).toBeLessThan(1e-5);
    }
  });

  it('on chosen tensors only', async () => {
    const merged = await checkpointOf(join(dir, 'merged'));
    const report = await verify(merged, { tensors: ['norm.weight', 'blocks.0.mlp.fc1.weight'] });
    expect(report).toMatchObject({ verdict: 'pass', checked: 2, total: 53 });
  });

  it('on an honest backend with an error of half the tolerance, but not exactly', async () => {
    const sums = await readSum(state);
    const base = fixture8.base;
    const before = new Map(
      await Promise.all([...base.tensors.keys()].map(async (n) => [n, await base.readFloat32(n)] as const)),
    );
    const noisy = await edited('noisy', (name) => {
      const s = sums.get(name)!;
      const rms = Math.sqrt(s.reduce((sum, x) => sum + x * x, 0) / s.length);
      let noise = gaussian(s.length, name.length);
      // Errors of rounding are not along S, or lambda would move with them.
      const along = noise.reduce((sum, x, i) => sum + x * s[i]!, 0) / (rms * rms * s.length);
      noise = noise.map((x, i) => x - along * s[i]!);
      return s.map((x, i) => before.get(name)![i]! + (x + 5e-4 * rms * noise[i]!) / lambda);
    });
    expect(faultsOf(await verify(noisy))).toEqual({});
    const exact = await verify(noisy, { exact: true });
    expect(exact.verdict).toBe('fail');
    expect(faultsOf(exact)['norm.weight']).toEqual(['bytes']);
  });

  it.each(['BF16', 'F16', 'F8_E4M3', 'F8_E5M2'] as const)('in %s, and sees a moved weight', async (dtype) => {
    const path = join(dir, `base-${dtype}.safetensors`);
    const original = await checkpointOf(fixture('vision8/base.safetensors'));
    const writer = await createSafetensors(
      path,
      [...original.tensors.values()].map((info) => ({ ...info, dtype })),
    );
    for (const name of original.tensors.keys())
      await writer.write(name, narrow(await original.readFloat32(name), dtype));
    await writer.commit();
    const base = await checkpointOf(path);
    const out = join(dir, `merged-${dtype}`);
    await exportMerged({ state, base, scale: SCALE, out });
    const merged = await checkpointOf(out);
    const report = await verifyMerged({ directory: merged, base, state, scale: SCALE });
    expect(faultsOf(report)).toEqual({});
    expect((await verifyMerged({ directory: merged, base, state, scale: SCALE, exact: true })).verdict).toBe('pass');
    const moved = join(dir, `moved-${dtype}.safetensors`);
    await copyEdited(merged, moved, (name, values) =>
      name === 'blocks.1.mlp.fc2.weight' ? values.with(77, values[77]! + 0.02) : values,
    );
    const failed = await verifyMerged({ directory: await checkpointOf(moved), base, state, scale: SCALE });
    expect(faultsOf(failed)['blocks.1.mlp.fc2.weight']).toContain('single entry');
  });

  it('on the base, where the recipe is empty, and only on its very bytes', async () => {
    const { merged } = await exported('untouched', null);
    expect((await verifyMerged({ directory: merged, base: fixture8.base, state: null, scale: 1 })).verdict).toBe(
      'pass',
    );
    const report = await verifyMerged({
      directory: await checkpointOf(join(dir, 'merged')),
      base: fixture8.base,
      state: null,
      scale: 1,
    });
    expect(faultsOf(report)['norm.weight']).toEqual(['bytes']);
  });
});

describe('verification fails', () => {
  it.each([
    ['blocks.2.attn.qkv.weight', 5000, 1e-3],
    ['norm.bias', 3, 1e-3],
    ['patch_embed.weight', 0, -1e-3],
  ])('on one weight moved: %s', async (tensor, index, by) => {
    const moved = await edited(`moved-${tensor}`, (name, values) =>
      name === tensor ? values.with(index, values[index]! + by) : values,
    );
    const report = await verify(moved);
    expect(report.verdict).toBe('fail');
    const faults = faultsOf(report);
    expect(Object.keys(faults)).toEqual([tensor]);
    expect(faults[tensor]).toContain('single entry');
    expect(report.tensors.find(({ name }) => name === tensor)!.comparison!.entry).toBe(index);
  });

  it('exactly, on one weight moved by the least that its dtype can', async () => {
    const moved = await edited('moved-least', (name, values) => {
      if (name !== 'norm.bias') return values;
      const bits = new Uint32Array(values.buffer);
      bits[3]! ^= 1;
      return values;
    });
    expect((await verify(moved)).verdict).toBe('pass');
    expect(faultsOf(await verify(moved, { exact: true }))).toEqual({ 'norm.bias': ['bytes'] });
  });

  it('on two updates swapped', async () => {
    const other = await fold('swapped', ['mnist', 'signs', 'gtsrb']);
    const { merged } = await exported('swapped-merged', other);
    const faults = faultsOf(await verify(merged));
    expect(Object.keys(faults).length).toBeGreaterThanOrEqual(16);
    expect(faults['blocks.0.mlp.fc1.weight']).toContain('relative difference');
  });

  it('on one update left out', async () => {
    const other = await fold('short', ['mnist', 'gtsrb']);
    const { merged } = await exported('short-merged', other);
    expect(Object.keys(faultsOf(await verify(merged)))).toHaveLength(53);
  });

  it('on lambda changed by 1 %, in every tensor or in one', async () => {
    const { merged } = await exported('lambda-merged', state, SCALE / 1.01);
    const report = await verify(merged);
    expect(Object.keys(faultsOf(report))).toHaveLength(53);
    expect(report.tensors.every(({ faults }) => faults.includes('lambda'))).toBe(true);
    const honest = await checkpointOf(join(dir, 'merged'));
    expect((await verify(honest, { lambda: lambda * 1.01 })).claimedLambda?.verdict).toBe('fail');
    expect((await verify(honest, { lambda: lambda * 1.01 })).verdict).toBe('fail');
  });

  it('on lambdas of single tensors that differ among themselves within the other tolerances', async () => {
    const sums = await readSum(state);
    const tilt = (by: number, name: string, values: Float32Array) =>
      values.map((w, i) => w + (by * sums.get(name)![i]!) / lambda);
    const tilted = await edited('tilted', (name, values) => {
      if (name === 'blocks.0.mlp.fc1.weight') return tilt(9e-5, name, values);
      if (name === 'blocks.1.mlp.fc1.weight') return tilt(-9e-5, name, values);
      return values;
    });
    const report = await verify(tilted);
    expect(faultsOf(report)).toEqual({});
    expect(report.impliedLambda?.verdict).toBe('fail');
    expect(report.verdict).toBe('fail');
  });

  it('on NaN, and on tensors that are missing, extra or of another form', async () => {
    const nan = await edited('nan', (name, values) => (name === 'norm.bias' ? values.with(0, Number.NaN) : values));
    expect(faultsOf(await verify(nan))).toEqual({ 'norm.bias': ['non-finite'] });

    const merged = await checkpointOf(join(dir, 'merged'));
    const path = join(dir, 'forms.safetensors');
    const kept = [...merged.tensors.values()].filter(({ name }) => name !== 'norm.bias');
    const changed = await Promise.all(
      kept.map(async ({ name, shape, dtype }) => ({
        name,
        shape: name === 'pos_embed' ? [96, 16] : shape,
        dtype: name === 'norm.weight' ? ('F16' as const) : (dtype as 'F32'),
        values: await merged.readFloat32(name),
      })),
    );
    await writeTensors(path, [...changed, { name: 'trojan', shape: [1], values: Float32Array.of(1) }]);
    // Form is checked for every tensor, also when values are asked for a few.
    const report = await verify(await checkpointOf(path), { tensors: ['patch_embed.bias'] });
    expect(faultsOf(report)).toEqual({
      'norm.bias': ['missing'],
      'norm.weight': ['dtype'],
      pos_embed: ['shape'],
      trojan: ['unexpected'],
    });
  });

  it('with an error on a tensor name that nobody knows', async () => {
    const merged = await checkpointOf(join(dir, 'merged'));
    await expect(verify(merged, { tensors: ['nope'] })).rejects.toMatchObject({ code: 'BAD_INPUT' });
  });
});
