import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { exportMerged, type FoldTensor, openState } from '../../../src/merge/index.ts';
import { type Checkpoint, openCheckpoint } from '../../../src/tensors/index.ts';
import { gaussian32 } from '../compute/random.ts';
import { checkpointOf, engineOf, foldAll, readSum, scratch, taskVector, writeTensors } from './helpers.ts';

const floats = [
  { name: 'half', shape: [4, 6], dtype: 'F16' as const, values: gaussian32(24, 1) },
  { name: 'brain', shape: [6], dtype: 'BF16' as const, values: gaussian32(6, 2) },
  { name: 'single', shape: [3, 5], dtype: 'F32' as const, values: gaussian32(15, 3) },
];
const raw = [
  { name: 'ids', shape: [2], dtype: 'I64' as const, bytes: Uint8Array.from({ length: 16 }, (_, i) => i * 11) },
  { name: 'mask', shape: [3], dtype: 'BOOL' as const, bytes: Uint8Array.of(1, 0, 1) },
];
const tensors: FoldTensor[] = [
  { name: 'half', shape: [4, 6], linear: true },
  { name: 'single', shape: [3, 5], linear: true },
];

let dir: string;
let base: Checkpoint;
let state: string;
beforeAll(async () => {
  dir = await scratch();
  const model = join(dir, 'model');
  await mkdir(model);
  await writeTensors(join(model, 'model.safetensors'), floats, raw);
  await writeFile(join(model, 'config.json'), '{"model_type":"test"}');
  base = await checkpointOf(model);
  const updates = [1, 2].map((seed) =>
    taskVector(tensors, { half: gaussian32(24, seed * 10, 0.01), single: gaussian32(15, seed * 10 + 1, 0.01) }),
  );
  state = (await foldAll(dir, tensors, updates, await engineOf(1))).state;
});

async function exported(name: string, more: Partial<Parameters<typeof exportMerged>[0]> = {}) {
  const out = join(dir, name);
  const report = await exportMerged({ state, base, scale: 1, out, metadata: { recipe: 'r' }, ...more });
  return { out, report, merged: await checkpointOf(out) };
}

describe('an exported model', () => {
  it('is base plus scale times S over lambda, in the dtypes of the base', async () => {
    const { merged, report } = await exported('plain', { scale: 2 });
    const sums = await readSum(state);
    const opened = await openState(state);
    expect(report.lambda).toBe(opened.lambda);
    await opened.close();
    for (const { name, dtype, shape } of base.tensors.values()) {
      expect(merged.tensors.get(name)).toMatchObject({ dtype, shape });
    }
    const before = await base.readFloat32('single');
    const after = await merged.readFloat32('single');
    const wanted = sums.get('single')!.map((s, i) => before[i]! + (2 / report.lambda) * s);
    expect(after).toEqual(wanted);
  });

  it('has the bytes of the base for integers, booleans and tensors that were not merged', async () => {
    const { merged } = await exported('copied');
    for (const name of ['ids', 'mask', 'brain']) expect(await merged.readRaw(name)).toEqual(await base.readRaw(name));
    expect(await merged.readRaw('half')).not.toEqual(await base.readRaw('half'));
  });

  it('carries side files and metadata, and is the same each time', async () => {
    const { out, merged } = await exported('first');
    const again = await exported('second');
    expect(merged.metadata.get('recipe')).toBe('r');
    expect(await readFile(join(out, 'config.json'), 'utf8')).toBe('{"model_type":"test"}');
    expect(await readFile(join(again.out, 'model.safetensors'))).toEqual(
      await readFile(join(out, 'model.safetensors')),
    );
  });

  it('copies only the side files that are asked for', async () => {
    const { merged } = await exported('without', { sideFiles: ['tokenizer.json'] });
    expect(merged.sideFiles).toEqual([]);
    const { merged: named } = await exported('with', { sideFiles: ['config.json'] });
    expect(named.sideFiles.map(({ name }) => name)).toEqual(['config.json']);
  });

  it('is the base itself while there is no state', async () => {
    const { merged, report } = await exported('base', { state: null });
    expect(report).toMatchObject({ lambda: 1, steps: 0, norm: 0 });
    for (const name of base.tensors.keys()) expect(await merged.readRaw(name)).toEqual(await base.readRaw(name));
  });

  it('takes another dtype for its float tensors when asked', async () => {
    const { merged } = await exported('float32', { dtype: 'F32' });
    expect([...merged.tensors.values()].map(({ name, dtype }) => `${name} ${dtype}`).sort()).toEqual([
      'brain F32',
      'half F32',
      'ids I64',
      'mask BOOL',
      'single F32',
    ]);
    expect(await merged.readFloat32('brain')).toEqual(await base.readFloat32('brain'));
  });

  it('leaves nothing behind when it fails: scale, overflow of the dtype, other base, occupied target, abort', async () => {
    const listing = (await readdir(dir)).sort();
    const fail = (more: object, options = {}) =>
      exportMerged({ state, base, scale: 1, out: join(dir, 'failed'), ...more }, options);
    await expect(fail({ scale: Number.NaN })).rejects.toMatchObject({ code: 'BAD_INPUT' });
    await expect(fail({ scale: 1e8 })).rejects.toMatchObject({ code: 'NON_FINITE', fields: { tensor: 'half' } });
    await expect(fail({ out: join(dir, 'plain') })).rejects.toMatchObject({ code: 'TARGET_EXISTS' });
    await expect(fail({}, { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
    await writeTensors(join(dir, 'other.safetensors'), [{ ...floats[2]!, shape: [5, 3] }, floats[0]!]);
    const other = await openCheckpoint(join(dir, 'other.safetensors'));
    await expect(fail({ base: other })).rejects.toMatchObject({ code: 'BASE_MISMATCH', fields: { tensor: 'single' } });
    await other.close();
    expect((await readdir(dir)).sort()).toEqual([...listing, 'other.safetensors'].sort());
  });
});
