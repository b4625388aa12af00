import { mkdtemp, readdir, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  heavyQuantile,
  heavyTail,
  normalQuantiles,
  QUANTILES,
} from '../../../scripts/bench/synthetic/distributions.ts';
import { BlockDrawer, blocksOf } from '../../../scripts/bench/synthetic/draw.ts';
import { generatePair } from '../../../scripts/bench/synthetic/generate.ts';
import { LLAMA_1B, LLAMA_TINY, llama, vit } from '../../../scripts/bench/synthetic/model.ts';
import { RandomStream } from '../../../scripts/bench/synthetic/random.ts';
import { openCheckpoint, widen } from '../../../src/tensors/index.ts';

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'kinmerge-bench-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

describe('distributions', () => {
  test('normal quantiles are those of the tables', () => {
    const quantiles = normalQuantiles();
    const at = (p: number) => quantiles[Math.floor(p * QUANTILES)]!;
    expect(at(0.975)).toBeCloseTo(1.959964, 3);
    expect(at(0.841345)).toBeCloseTo(1, 3);
    expect(at(0.00135)).toBeCloseTo(-3, 1);
    const square = quantiles.reduce((sum, x) => sum + x * x, 0) / QUANTILES;
    expect(square).toBeCloseTo(1, 3);
  });

  test("Student's t with 4 degrees of freedom, scaled to variance 1", () => {
    // Tables give 2.776445 at 0.975 and 8.610302 at 0.9995.
    expect(heavyQuantile(0.975) * Math.SQRT2).toBeCloseTo(2.776445, 5);
    expect(heavyQuantile(0.9995) * Math.SQRT2).toBeCloseTo(8.610302, 5);
    expect(heavyQuantile(0.025)).toBeCloseTo(-heavyQuantile(0.975), 12);
    expect(heavyQuantile(0.5)).toBe(0);
    expect(heavyTail(0, 0.5)).toBeLessThan(heavyQuantile(1 / QUANTILES));
    expect(heavyTail(QUANTILES - 1, 0.5)).toBe(-heavyTail(0, 0.5));
  });

  test('a stream is uniform, and its seed decides it', () => {
    const words = new Uint32Array(100_000);
    new RandomStream('a').fill(words);
    const mean = words.reduce((sum, word) => sum + word / 2 ** 32, 0) / words.length;
    expect(mean).toBeCloseTo(0.5, 2);
    const [again, other] = [new Uint32Array(100_000), new Uint32Array(100_000)];
    new RandomStream('a').fill(again);
    new RandomStream('b').fill(other);
    expect(again).toEqual(words);
    expect(other.filter((word, i) => word === words[i]).length).toBeLessThan(3);
  });
});

describe('synthetic checkpoints', () => {
  test('the shapes are those of TinyLlama and ViT-B/16', () => {
    const parameters = (tensors: readonly { readonly shape: readonly number[] }[]) =>
      tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(parameters(llama('x', LLAMA_1B).tensors)).toBe(1_100_048_384);
    expect(parameters(vit('x', { width: 768, blocks: 12 }).tensors)).toBe(85_798_656);
  });

  test('both directories open as checkpoints, in shards, and differ in a heavy-tailed way', async () => {
    const dir = await scratch();
    const model = llama('tiny', LLAMA_TINY);
    const pair = await generatePair(model, dir);
    expect(pair.made).toBe(join(dir, 'tiny'));
    expect(pair.unchanged).toBeGreaterThan(0.1);
    expect(pair.unchanged).toBeLessThan(0.35);
    expect(await readdir(pair.base)).toEqual([
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ]);
    const [base, finetune] = [await openCheckpoint(pair.base), await openCheckpoint(pair.finetune)];
    onTestFinished(async () => {
      await base.close();
      await finetune.close();
    });
    expect(base.warnings).toEqual([]);
    let [squares, fourth, count] = [0, 0, 0];
    for (const [name, { elements }] of base.tensors) {
      const [before, after] = [await base.readFloat32(name), await finetune.readFloat32(name)];
      for (let i = 0; i < elements; i++) {
        const change = after[i]! - before[i]!;
        squares += change ** 2;
        fourth += change ** 4;
      }
      count += elements;
    }
    expect(count).toBe(pair.elements);
    const variance = squares / count;
    expect(Math.sqrt(variance) / model.law.rms).toBeGreaterThan(0.7);
    expect(Math.sqrt(variance) / model.law.rms).toBeLessThan(1.4);
    // A normal vector has 3 here.
    expect(fourth / count / variance ** 2).toBeGreaterThan(6);
  });

  test('a pair that is there is taken again, another model is not mistaken for it', async () => {
    const dir = await scratch();
    const model = vit('tiny', { width: 16, blocks: 1 });
    const first = await generatePair(model, dir);
    const file = join(first.base, 'model.safetensors');
    const { mtimeMs } = await stat(file);
    expect(await generatePair(model, dir)).toEqual({ ...first, made: undefined });
    expect((await stat(file)).mtimeMs).toBe(mtimeMs);
    const other = await generatePair({ ...model, seed: 'another' }, dir);
    expect(other.made).toBe(first.made);
    expect(await readdir(dir)).toEqual(['tiny']);
  });

  test('an aborted generation leaves nothing', async () => {
    const dir = await scratch();
    const model = vit('tiny', { width: 16, blocks: 1 });
    const stop = new AbortController();
    const running = generatePair(model, dir, {
      signal: stop.signal,
      onProgress: () => stop.abort(new Error('enough')),
    });
    await expect(running).rejects.toThrow('enough');
    expect(await readdir(dir)).toEqual([]);
  });

  test('the bytes of a block do not depend on what was drawn before', () => {
    const { tensors, seed, law } = llama('tiny', LLAMA_TINY);
    const blocks = tensors.slice(0, 4).flatMap(blocksOf);
    const forward = new BlockDrawer(seed, law);
    const drawn = blocks.map((block) => forward.draw(block));
    const backward = new BlockDrawer(seed, law);
    const again = [...blocks].reverse().map((block) => backward.draw(block));
    expect(again.reverse()).toEqual(drawn);
    const gains = widen(drawn[1]!.base, 'BF16');
    expect(gains.reduce((sum, x) => sum + x, 0) / gains.length).toBeCloseTo(1, 1);
  });
});
