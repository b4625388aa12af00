import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { floorGflop } from '../../../scripts/bench/merge/floor.ts';
import { clipVision, elementsOf, matrixShapes, VIT_B32, vitBlocks } from '../../../scripts/bench/merge/models.ts';
import { fastest, medianRate } from '../../../scripts/bench/merge/rate.ts';
import { writeUpdate } from '../../../scripts/bench/merge/updates.ts';
import { openPayload } from '../../../src/codec/index.ts';

describe('the models that are folded', () => {
  test('ViT-B/32 has the parameters and matrices of the published checkpoint', () => {
    const { tensors } = clipVision('vit-b32', VIT_B32);
    expect(tensors.reduce((sum, { shape }) => sum + elementsOf(shape), 0)).toBe(87_849_216);
    const counts = matrixShapes({ name: '', tensors }).map(({ rows, columns, count }) => [rows, columns, count]);
    expect(counts.sort()).toEqual([
      [3072, 768, 12],
      [512, 768, 1],
      [768, 3072, 12],
      [768, 768, 48],
    ]);
  });

  test('tensors are in the order of an update', () => {
    const names = vitBlocks('blocks', 8, 12).tensors.map(({ name }) => name);
    expect(names).toEqual([...names].sort());
  });
});

describe('synthetic updates', () => {
  const model = vitBlocks('small', 32, 1);

  async function update(step: number): Promise<string> {
    const dir = await mkdtemp(join(tmpdir(), 'kinmerge-bench-'));
    onTestFinished(() => rm(dir, { recursive: true, force: true }));
    const path = join(dir, 'update');
    await writeUpdate(path, model, step);
    return path;
  }

  test('the same step gives the same bytes, another step others', async () => {
    const [one, again, other] = await Promise.all(
      [update(1), update(1), update(2)].map(async (path) => readFile(await path)),
    );
    expect(one!.equals(again!)).toBe(true);
    expect(one!.equals(other!)).toBe(false);
  });

  test('a fifth of the entries is kept, with a scale for each tensor', async () => {
    const table = model.tensors.map(({ name, shape }) => ({ name, shape, elements: elementsOf(shape) }));
    const payload = await openPayload(await update(1), table);
    onTestFinished(() => payload.close());
    const elements = table.reduce((sum, tensor) => sum + tensor.elements, 0);
    expect(payload.mode).toBe('tensor');
    expect(payload.sections).toHaveLength(table.length);
    // Four deviations of a binomial count.
    expect(Math.abs(payload.nnz / elements - 0.2)).toBeLessThan(4 * Math.sqrt((0.2 * 0.8) / elements));
    for (const { scale } of payload.sections) expect(scale / 1e-3).toBeGreaterThan(0.49);
    for (const { scale } of payload.sections) expect(scale / 1e-3).toBeLessThan(1.51);
  });
});

describe('the floor and the rate', () => {
  test('the floor counts every term once, whichever side is longer', () => {
    // m = 10, n = 20, r = 2, from the table: 2000 + 8/3 1000, then 6000 + 8000 + 160, or 400 + 2400 + 240.
    const wide = { rows: 10, columns: 20, splitRank: 2 };
    const tall = { rows: 20, columns: 10, splitRank: 2 };
    for (const matrix of [wide, tall]) {
      expect(floorGflop('ref', [matrix]) * 1e9).toBeCloseTo(2000 + 8000 / 3 + 14_160, 6);
      expect(floorGflop('lite', [matrix]) * 1e9).toBeCloseTo(2000 + 8000 / 3 + 3040, 6);
    }
    expect(floorGflop('ref', [wide, tall])).toBeCloseTo(2 * floorGflop('ref', [wide]), 12);
  });

  test('rates are medians, and the faster one counts; numpy may be absent', () => {
    const rates = (float64: number) => ({ float64, float32: 2 * float64 });
    const rounds = [3, 1, 2].map((x) => ({ openblas: rates(10 * x), onnxruntime: rates(x) }));
    expect(medianRate(rounds)).toEqual({ openblas: rates(20), onnxruntime: rates(2) });
    expect(fastest(medianRate(rounds))).toBe(20);
    expect(fastest(medianRate(rounds.map((round) => ({ ...round, openblas: null }))))).toBe(2);
  });
});
