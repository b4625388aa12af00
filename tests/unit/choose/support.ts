import { join } from 'node:path';
import { type TensorTable, tableOf } from '../../../src/codec/index.ts';
import type { Checkpoint } from '../../../src/tensors/index.ts';
import { opened, scratch, VISION8, writeTensors } from '../evaluate/support.ts';

export interface Pair {
  readonly base: Checkpoint;
  readonly finetune: Checkpoint;
  readonly table: TensorTable;
}

/** A base of zeros and a fine-tune with these tensors, of one dimension each. */
export async function pairOf(tensors: Readonly<Record<string, Float32Array>>): Promise<Pair> {
  const directory = await scratch();
  const write = (name: string, of: (data: Float32Array) => Float32Array) => {
    const content = Object.entries(tensors).map(([tensor, data]) => [
      tensor,
      { dtype: 'F32', shape: [data.length], data: of(data) } as const,
    ]);
    return writeTensors(join(directory, name), Object.fromEntries(content));
  };
  const base = await opened(await write('base.safetensors', (data) => new Float32Array(data.length)));
  const finetune = await opened(await write('finetune.safetensors', (data) => data));
  return { base, finetune, table: tableOf(base) };
}

/** Base and expert of one task of the fixture, and what evaluates them. */
export async function vision8(task: string) {
  const base = await opened(join(VISION8, 'base.safetensors'));
  const finetune = await opened(join(VISION8, `expert-${task}.safetensors`));
  const heads = await opened(join(VISION8, 'heads.safetensors'));
  const evaluation = (split: 'val' | 'test') => ({
    graph: join(VISION8, 'model.onnx'),
    heads,
    tests: [{ task, path: join(VISION8, `${split}-${task}.safetensors`) }],
  });
  return { base, finetune, table: tableOf(base), evaluation };
}

/** Uniform numbers in (0, 1), the same in every run (mulberry32). */
export function uniforms(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 2 ** 32;
  };
}

export function gaussian(count: number, seed = 1): Float32Array {
  const next = uniforms(seed);
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(next())) * Math.cos(2 * Math.PI * next()));
}

/** Of exponential magnitudes: tails heavier than Gaussian ones. */
export function laplace(count: number, seed = 2): Float32Array {
  const next = uniforms(seed);
  return Float32Array.from({ length: count }, () => Math.log(next()) * (next() < 0.5 ? 1 : -1));
}
