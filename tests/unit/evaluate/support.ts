import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { encodeModel } from '../../../src/compute/onnx-model.ts';
import { type Checkpoint, createSafetensors, type Dtype, openCheckpoint } from '../../../src/tensors/index.ts';

export const VISION8 = new URL('../../fixtures/vision8/', import.meta.url).pathname;

/** A directory that is gone after the test. */
export async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kinmerge-evaluate-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Opens a checkpoint that is closed after the test. */
export async function opened(path: string): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(path);
  onTestFinished(() => checkpoint.close());
  return checkpoint;
}

export interface Content {
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

export async function writeTensors(path: string, tensors: Readonly<Record<string, Content>>): Promise<string> {
  const plan = Object.entries(tensors).map(([name, { dtype, shape }]) => ({ name, dtype, shape }));
  const writer = await createSafetensors(path, plan);
  for (const [name, { data }] of Object.entries(tensors)) {
    await writer.write(name, new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
  }
  await writer.commit();
  return path;
}

export const float = (shape: readonly number[], ...values: number[]): Content => ({
  dtype: 'F32',
  shape,
  data: Float32Array.from(values),
});
export const bytes = (shape: readonly number[], ...values: number[]): Content => ({
  dtype: 'U8',
  shape,
  data: Uint8Array.from(values),
});

/** A linear classifier: logits[N,C] = images[N,4] . weight[C,4]^T. */
export async function writeLinearGraph(path: string, weight = 'weight'): Promise<string> {
  const model = encodeModel({
    name: 'linear',
    inputs: [
      { name: 'images', type: 'float32', shape: ['N', 4] },
      { name: weight, type: 'float32', shape: ['C', 4] },
    ],
    outputs: [{ name: 'logits', type: 'float32', shape: ['N', 'C'] }],
    nodes: [{ op: 'Gemm', inputs: ['images', weight], outputs: ['logits'], ints: { transB: 1 } }],
  });
  await writeFile(path, model);
  return path;
}
