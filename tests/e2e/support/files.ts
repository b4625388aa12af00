import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import { type Checkpoint, createSafetensors, openCheckpoint } from '../../../src/tensors/index.ts';

export const VISION8 = fileURLToPath(new URL('../../fixtures/vision8/', import.meta.url));
export const TASKS = ['mnist', 'kmnist', 'kannada', 'notmnist', 'gtsrb', 'cifar10', 'signs', 'omniglot'] as const;
export const BASE = join(VISION8, 'base.safetensors');
export const expert = (task: (typeof TASKS)[number]): string => join(VISION8, `expert-${task}.safetensors`);

/** Real models, real processes, busy machines. */
export const PATIENT_MS = 180_000;

/** A directory that is gone after the test. */
export async function scratch(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'kinmerge-e2e-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Every name in a directory, hidden ones included. */
export async function namesIn(directory: string): Promise<string[]> {
  return (await readdir(directory)).sort();
}

/** Opens a checkpoint that is closed after the test. */
export async function opened(path: string): Promise<Checkpoint> {
  const checkpoint = await openCheckpoint(path);
  onTestFinished(() => checkpoint.close());
  return checkpoint;
}

/** Copies a safetensors file with one tensor changed: its values, or its shape. */
export async function copyWith(
  from: string,
  to: string,
  name: string,
  change: { readonly values?: (values: Float32Array) => void; readonly shape?: readonly number[] },
): Promise<string> {
  const source = await opened(from);
  const plan = [...source.tensors.values()].map(({ name: tensor, dtype, shape }) => ({
    name: tensor,
    dtype,
    shape: tensor === name ? (change.shape ?? shape) : shape,
  }));
  const writer = await createSafetensors(to, plan, { metadata: Object.fromEntries(source.metadata) });
  for (const tensor of source.tensors.keys()) {
    const values = await source.readFloat32(tensor);
    if (tensor === name) change.values?.(values);
    await writer.write(tensor, new Uint8Array(values.buffer));
  }
  await writer.commit();
  return to;
}
