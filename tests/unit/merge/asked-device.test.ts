import { spawnSync } from 'node:child_process';
import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { exitCodeFor } from '../../../node/cli/exit-codes.ts';
import { createEngine, type Phase } from '../../../src/compute/index.ts';
import { checkAskedDevice, parseMergeConfig, runMerge } from '../../../src/merge/index.ts';
import { gaussian32 } from '../compute/random.ts';
import { scratch, writeTensors } from './helpers.ts';

const products = (device: string, gflop = 2): Phase => ({ name: 'products', device, seconds: 1, gflop });
const gram: Phase = { name: 'gram', device: 'cpu', seconds: 1, gflop: 5 };

describe('a device that was asked for by name', () => {
  it('is the one that the large products ran on', () => {
    expect(() => checkAskedDevice('webgpu', [gram, products('webgpu')])).not.toThrow();
    expect(() => checkAskedDevice('webgpu', [gram, products('cpu', 0)])).not.toThrow();
    expect(() => checkAskedDevice('cpu', [gram, products('cpu')])).not.toThrow();
  });

  it('fails the merge where some of them ran elsewhere', () => {
    const phases = [gram, products('webgpu'), products('cpu', 0.001)];
    expect(() => checkAskedDevice('webgpu', phases)).toThrow(
      expect.objectContaining({
        code: 'WRONG_DEVICE',
        fields: {
          asked: 'webgpu',
          products: [
            { device: 'webgpu', seconds: 1, gflop: 2 },
            { device: 'cpu', seconds: 1, gflop: 0.001 },
          ],
        },
      }),
    );
  });

  it('is none where the choice was automatic', () => {
    for (const asked of ['auto', undefined] as const) {
      expect(() => checkAskedDevice(asked, [products('webgpu'), products('cpu')])).not.toThrow();
    }
  });
});

it('a merge that asked for webgpu and got an engine on the CPU ends with exit code 1 and writes nothing', async () => {
  const dir = await scratch();
  for (const seed of [1, 2, 3]) {
    const tensor = { name: 'a.weight', shape: [12, 20], values: gaussian32(240, seed) };
    await writeTensors(join(dir, `${seed}.safetensors`), [tensor]);
  }
  const [base, ...models] = [1, 2, 3].map((seed) => join(dir, `${seed}.safetensors`));
  const config = parseMergeConfig(
    `{ merge_method: opcm, base_model: ${base}, models: [${models.map((model) => `{ model: ${model} }`)}] }`,
  );
  const listing = await readdir(dir);
  const onCpu = () => createEngine({ device: 'cpu', workers: 1 });
  const failed = await runMerge(config, join(dir, 'out'), { device: 'webgpu' }, { createEngine: onCpu }).catch(
    (error: unknown) => error,
  );
  expect(failed).toMatchObject({ code: 'WRONG_DEVICE', fields: { asked: 'webgpu' } });
  expect(exitCodeFor(failed)).toBe(1);
  expect(await readdir(dir)).toEqual(listing);

  const done = await runMerge(config, join(dir, 'out'), { device: 'cpu', workers: 1 });
  expect(done.phases).toContainEqual(expect.objectContaining({ name: 'products', device: 'cpu' }));
});

it('a merge removes what killed merges into the same directory left beside it, and nothing else', async () => {
  const dir = await scratch();
  const tensor = { name: 'a.weight', shape: [2, 2], values: gaussian32(4, 1) };
  await writeTensors(join(dir, 'base'), [tensor]);
  const deadProcess = () => spawnSync(process.execPath, ['-e', '']).pid;
  const stale = `.out.${deadProcess()}-0123456789abcdef.kinmerge-tmp`;
  const running = `.out.${process.ppid}-0123456789abcdef.kinmerge-tmp`;
  const other = `.other.${deadProcess()}-0123456789abcdef.kinmerge-tmp`;
  for (const name of [stale, running, other]) await mkdir(join(dir, name));
  const config = parseMergeConfig(`{ merge_method: opcm, base_model: ${dir}/base, models: [{ model: ${dir}/base }] }`);
  await runMerge(config, join(dir, 'out'), { workers: 1 });
  expect((await readdir(dir)).sort()).toEqual([other, running, 'base', 'out'].sort());
});
