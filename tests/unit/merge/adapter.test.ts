/** Models of a merge that are no plain copies of the base: LoRA adapters, and files of tied weights. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { compareCheckpoints } from '../../../node/cli/verbs/offline/kinship-compare.ts';
import { foldTensors, openTaskVector, parseMergeConfig, runMerge } from '../../../src/merge/index.ts';
import { type Checkpoint, openCheckpoint } from '../../../src/tensors/index.ts';
import { tempDir } from '../tensors/files.ts';
import {
  CONFIG,
  keep,
  linear,
  makeAdapter,
  makeBase,
  type Plans,
  productOf,
  valuesOf,
  writeTensors,
} from '../tensors/lora/support.ts';

const Q = 'model.q_proj';
const BASE: Plans = { 'model.norm.weight': { shape: [7] }, [`${Q}.weight`]: { shape: [5, 7] } };
const ADAPTER: Plans = { ...linear(Q, 5, 7), 'base_model.model.model.norm.weight': { shape: [7] } };

/** The same update as the adapter, as a whole fine-tune. */
function dense(): Plans {
  const product = productOf(ADAPTER, Q, 3).flat();
  const before = valuesOf(`${Q}.weight`, BASE[`${Q}.weight`]!);
  const norm = 'base_model.model.model.norm.weight';
  return {
    'model.norm.weight': { shape: [7], values: [...valuesOf(norm, ADAPTER[norm]!)] },
    [`${Q}.weight`]: { shape: [5, 7], values: product.map((value, i) => before[i]! + value) },
  };
}

async function writeDense(plans: Plans = dense()): Promise<string> {
  const path = join(await tempDir(), 'dense.safetensors');
  await writeTensors(path, plans);
  return path;
}

async function deltas(path: string, base: Checkpoint): Promise<(number[] | null)[]> {
  const tensors = foldTensors(base, []);
  const source = keep(await openTaskVector(path, base, tensors));
  const list: (number[] | null)[] = [];
  for (const [index, { shape }] of tensors.entries()) {
    const out = new Float32Array(shape.reduce((a, b) => a * b, 1)).fill(Number.NaN);
    list.push((await source.read(index, out)) ? [...out] : null);
  }
  return list;
}

describe('a LoRA adapter', () => {
  test('is the task vector of its expanded product', async () => {
    const base = await makeBase(BASE);
    const dir = await makeAdapter(ADAPTER);
    const source = keep(await openTaskVector(dir, base, foldTensors(base, [])));
    expect(source.kind).toBe('adapter');
    expect(await deltas(dir, base)).toEqual(await deltas(await writeDense(), base));
  });

  test('leaves tensors alone that it does not name', async () => {
    const base = await makeBase(BASE);
    const dir = await makeAdapter(linear(Q, 5, 7));
    const [norm, q] = await deltas(dir, base);
    expect([norm, q]).toEqual([null, productOf(ADAPTER, Q, 3).flat()]);
  });

  test('merges like the fine-tune that it stands for', async () => {
    const base = await makeBase(BASE);
    const merged = async (model: string) => {
      const out = join(await tempDir(), 'out');
      const models = `models: [{ model: ${model} }]`;
      const report = await runMerge(
        parseMergeConfig(`{ merge_method: average, base_model: ${base.path}, ${models} }`),
        out,
      );
      const checkpoint = keep(await openCheckpoint(out));
      return { kind: report.models[0]?.kind, values: [...(await checkpoint.readFloat32(`${Q}.weight`))] };
    };
    const adapter = await merged(await makeAdapter(ADAPTER));
    const whole = await merged(await writeDense());
    expect([adapter.kind, whole.kind]).toEqual(['adapter', 'checkpoint']);
    expect(adapter.values).toEqual(whole.values);
  });

  test('has the kinship of the fine-tune that it stands for', async () => {
    const base = await makeBase(BASE);
    const paths = [await makeAdapter(ADAPTER), await writeDense()];
    const { models, pairs } = await compareCheckpoints(paths, base.path, {});
    expect(pairs[0]!.cosine).toBeCloseTo(1, 12);
    expect(models[0]!.norm).toBe(models[1]!.norm);
  });

  test('of another base is refused before anything is read, without flags that a merge does not have', async () => {
    const base = await makeBase({ 'model.norm.weight': { shape: [7] } });
    const dir = await makeAdapter(linear(Q, 5, 7));
    const error = await openTaskVector(dir, base, foldTensors(base, [])).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'MODEL_MISMATCH', fields: { path: dir, tensor: `${Q}.weight` } });
    expect((error as Error).message).not.toContain('--');
  });

  test('of a kind that is not read keeps its own error', async () => {
    const base = await makeBase(BASE);
    const dir = await makeAdapter(ADAPTER, { ...CONFIG, use_dora: true });
    const opening = openTaskVector(dir, base, foldTensors(base, []));
    await expect(opening).rejects.toMatchObject({ code: 'ADAPTER_UNSUPPORTED', fields: { key: 'use_dora' } });
  });
});

describe('a fine-tune with tied weights', () => {
  const embed = { shape: [9, 7] };
  const values = Array.from({ length: 63 }, (_, i) => ((i * 37) % 64) / 8);

  test('of which the base stores both gives both their update', async () => {
    const base = await makeBase({ 'embed.weight': { ...embed, values }, 'lm_head.weight': { ...embed, values } });
    const path = await writeDense({ 'embed.weight': { ...embed, values: values.map((value) => value + 1) } });
    expect(await deltas(path, base)).toEqual([values.map(() => 1), values.map(() => 1)]);
  });

  test('that it stores twice and the base once is taken while both are equal', async () => {
    const base = await makeBase({ 'embed.weight': { ...embed, values } });
    const after = values.map((value) => value + 2);
    const path = await writeDense({
      'embed.weight': { ...embed, values: after },
      'lm_head.weight': { ...embed, values: after },
    });
    expect(await deltas(path, base)).toEqual([values.map(() => 2)]);
    const untied = await writeDense({
      'embed.weight': { ...embed, values: after },
      'lm_head.weight': { ...embed, values },
    });
    await expect(deltas(untied, base)).rejects.toMatchObject({
      code: 'MODEL_MISMATCH',
      fields: { tensor: 'lm_head.weight' },
    });
  });
});

test('a quantised model is named with its scheme', async () => {
  const base = await makeBase(BASE);
  const path = await writeDense({ [`${Q}.qweight`]: { shape: [1, 7], dtype: 'I32' } });
  const error = await deltas(path, base).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ code: 'MODEL_MISMATCH', message: expect.stringContaining('GPTQ') });
});
