import { describe, expect, test } from 'vitest';
import type { Dtype } from '../../../../src/tensors/index.ts';
import { readDelta, readFactor } from '../../../../src/tensors/index.ts';
import { multiply } from '../../../../src/tensors/lora/product.ts';
import { failure } from '../files.ts';
import {
  CONFIG,
  deltaOf,
  linear,
  makeBase,
  openAdapter,
  type Plans,
  productOf,
  transpose,
  valuesOf,
} from './support.ts';

const M = 'model.layers.0.q_proj';
const weight = `${M}.weight`;

describe('the dense update equals three plain loops', () => {
  test('of a Linear: scaling · B · A', async () => {
    const base = await makeBase({ [weight]: { shape: [5, 7] } });
    const plans = linear(M, 5, 7);
    const adapter = await openAdapter(base, plans);
    expect(await deltaOf(adapter, base, weight)).toEqual(productOf(plans, M, 3).flat());
  });

  test.each([1, 2, 3, 4, 5, 8, 9])('at rank %i', async (rank) => {
    const base = await makeBase({ [weight]: { shape: [6, 10] } });
    const plans = linear(M, 6, 10, rank);
    const adapter = await openAdapter(base, plans, { ...CONFIG, r: rank });
    expect(await deltaOf(adapter, base, weight)).toEqual(productOf(plans, M, 6 / rank).flat());
  });

  test.each(['F32', 'F16', 'BF16', 'F64'] satisfies Dtype[])('of factors stored as %s', async (dtype) => {
    const base = await makeBase({ [weight]: { shape: [5, 7], dtype: 'BF16' } });
    const plans = linear(M, 5, 7, 2, dtype);
    const adapter = await openAdapter(base, plans);
    expect(await deltaOf(adapter, base, weight)).toEqual(productOf(plans, M, 3).flat());
  });

  test('with rank-stabilised scaling', async () => {
    const base = await makeBase({ [weight]: { shape: [5, 7] } });
    const plans = linear(M, 5, 7);
    const adapter = await openAdapter(base, plans, { ...CONFIG, use_rslora: true });
    expect(await deltaOf(adapter, base, weight)).toEqual(productOf(plans, M, 6 / Math.sqrt(2)).flat());
  });

  test('with a rank and an alpha of its own', async () => {
    const k = 'model.layers.0.k_proj';
    const base = await makeBase({ [weight]: { shape: [5, 7] }, [`${k}.weight`]: { shape: [3, 7] } });
    const plans = { ...linear(M, 5, 7), ...linear(k, 3, 7, 4) };
    const config = { ...CONFIG, rank_pattern: { k_proj: 4 }, alpha_pattern: { 'layers.0.k_proj': 10 } };
    const adapter = await openAdapter(base, plans, config);
    expect(await deltaOf(adapter, base, weight)).toEqual(productOf(plans, M, 3).flat());
    expect(await deltaOf(adapter, base, `${k}.weight`)).toEqual(productOf(plans, k, 2.5).flat());
  });

  test('of a Conv1D, whose weight is stored inputs first', async () => {
    const base = await makeBase({ [weight]: { shape: [7, 5] } });
    const plans = linear(M, 5, 7);
    const adapter = await openAdapter(base, plans, { ...CONFIG, fan_in_fan_out: true });
    expect(await deltaOf(adapter, base, weight)).toEqual(transpose(productOf(plans, M, 3)).flat());
  });

  test.each([false, true])('of a square weight, where fan_in_fan_out: %s decides', async (flag) => {
    const base = await makeBase({ [weight]: { shape: [4, 4] } });
    const plans = linear(M, 4, 4);
    const adapter = await openAdapter(base, plans, { ...CONFIG, fan_in_fan_out: flag });
    const product = productOf(plans, M, 3);
    expect(await deltaOf(adapter, base, weight)).toEqual((flag ? transpose(product) : product).flat());
  });

  test('of an Embedding: scaling · (B · A) transposed', async () => {
    const base = await makeBase({ 'embed.weight': { shape: [11, 4] } });
    const plans: Plans = {
      'base_model.model.embed.lora_embedding_A': { shape: [2, 11] },
      'base_model.model.embed.lora_embedding_B': { shape: [4, 2] },
    };
    const adapter = await openAdapter(base, plans);
    const product = productOf(plans, 'embed', 3, ['lora_embedding_A', 'lora_embedding_B']);
    expect(await deltaOf(adapter, base, 'embed.weight')).toEqual(transpose(product).flat());
  });

  test.each([
    ['Conv2d', [3, 3, 2]],
    ['Conv2d of 1 x 1', [3, 1, 1]],
    ['Conv1d', [3, 5]],
    ['Conv3d', [3, 2, 2, 2]],
  ])('of a %s: the product of the flattened factors', async (_what, inputs) => {
    const base = await makeBase({ 'conv.weight': { shape: [4, ...inputs] } });
    const ones = inputs.slice(1).map(() => 1);
    const plans: Plans = {
      'base_model.model.conv.lora_A.weight': { shape: [2, ...inputs] },
      'base_model.model.conv.lora_B.weight': { shape: [4, 2, ...ones] },
    };
    const adapter = await openAdapter(base, plans);
    const factors = adapter.lowRank.get('conv.weight')!;
    expect([factors.rows, factors.columns]).toEqual([4, inputs.reduce((a, b) => a * b, 1)]);
    expect(await deltaOf(adapter, base, 'conv.weight')).toEqual(productOf(plans, 'conv', 3).flat());
  });

  test('over several blocks of columns', async () => {
    const [rows, columns, rank] = [3, 40_000, 5];
    const left = valuesOf('l', { shape: [rows, rank] });
    const right = valuesOf('r', { shape: [rank, columns] });
    const out = await multiply({ rows, columns, rank, scaling: 1 / 3 }, left, right);
    for (let i = 0; i < rows; i++) {
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        for (let k = 0; k < rank; k++) sum += left[i * rank + k]! * right[k * columns + j]!;
        if (out[i * columns + j] !== Math.fround(sum / 3) && out[i * columns + j] !== Math.fround((1 / 3) * sum)) {
          throw new Error(`entry ${i}, ${j}`);
        }
      }
    }
  });

  test('where float32 sums would cancel to something else', async () => {
    const left = Float32Array.of(2 ** 24, 1, -(2 ** 24));
    const right = Float32Array.of(1, 1, 1);
    expect([...(await multiply({ rows: 1, columns: 1, rank: 3, scaling: 1 }, left, right))]).toEqual([1]);
  });
});

describe('factors', () => {
  test('are read in the orientation of the base, and say where they lie', async () => {
    const base = await makeBase({ [weight]: { shape: [7, 5] } });
    const plans = linear(M, 5, 7);
    const adapter = await openAdapter(base, plans, { ...CONFIG, fan_in_fan_out: true });
    const factors = adapter.lowRank.get(weight)!;
    const [a, b] = [`base_model.model.${M}.lora_A.weight`, `base_model.model.${M}.lora_B.weight`];
    expect(factors).toEqual({
      rows: 7,
      columns: 5,
      rank: 2,
      scaling: 3,
      left: { tensor: a, rows: 7, columns: 2, transposed: true },
      right: { tensor: b, rows: 2, columns: 5, transposed: true },
    });
    const [A, B] = [valuesOf(a, plans[a]!), valuesOf(b, plans[b]!)];
    const left = await readFactor(adapter, factors.left);
    const right = await readFactor(adapter, factors.right);
    expect([...left]).toEqual(Array.from({ length: 14 }, (_, i) => A[(i % 2) * 7 + Math.floor(i / 2)]));
    expect([...right]).toEqual(Array.from({ length: 10 }, (_, i) => B[(i % 5) * 2 + Math.floor(i / 5)]));
  });
});

describe('the update of other tensors', () => {
  test('that the adapter has whole is their difference, in float32', async () => {
    const base = await makeBase({ 'score.weight': { shape: [2, 3], values: [1, 2, 3, 4, 5, 0.1] } });
    const plans: Plans = { 'base_model.model.score.weight': { shape: [2, 3], values: [1, 4, 3, 4, 5, 0.3] } };
    const adapter = await openAdapter(base, plans, { ...CONFIG, modules_to_save: ['score'] });
    const last = Math.fround(Math.fround(0.3) - Math.fround(0.1));
    expect(await deltaOf(adapter, base, 'score.weight')).toEqual([0, 2, 0, 0, 0, last]);
  });

  test('that the adapter does not have is none', async () => {
    const base = await makeBase({ [weight]: { shape: [5, 7] }, other: { shape: [3] } });
    const adapter = await openAdapter(base, linear(M, 5, 7));
    expect(await readDelta(adapter, base, 'other')).toBeNull();
    expect((await failure(() => readDelta(adapter, base, 'absent'))).code).toBe('UNKNOWN_TENSOR');
  });
});

test('an abort ends the work between slices', async () => {
  const [rows, columns, rank] = [2_048, 2_048, 16];
  const controller = new AbortController();
  const values = new Float32Array(rows * rank);
  const working = multiply({ rows, columns, rank, scaling: 1 }, values, values, { signal: controller.signal });
  controller.abort();
  await expect(working).rejects.toThrow(expect.objectContaining({ name: 'AbortError' }));
});
