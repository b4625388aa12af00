/** The vision8 fixture as a merge: base, experts as they are, and folded states. */
import { type FoldTensor, foldTensors, openTaskVector, type TaskVectorSource } from '../../../src/merge/index.ts';
import { type Checkpoint, createSafetensors, narrow } from '../../../src/tensors/index.ts';
import { checkpointOf, fixture } from './helpers.ts';

export const TASKS = ['mnist', 'kmnist', 'kannada', 'notmnist', 'gtsrb', 'cifar10', 'signs', 'omniglot'] as const;
export type Task = (typeof TASKS)[number];

export interface Vision8 {
  readonly base: Checkpoint;
  readonly tensors: readonly FoldTensor[];
  open(task: Task): Promise<TaskVectorSource>;
}

export const expertPath = (task: Task): string => fixture(`vision8/expert-${task}.safetensors`);

export async function vision8(basePath = fixture('vision8/base.safetensors')): Promise<Vision8> {
  const base = await checkpointOf(basePath);
  const tensors = foldTensors(base, null);
  return { base, tensors, open: (task) => openTaskVector(expertPath(task), base, tensors) };
}

/** A copy of a checkpoint file with some float tensors edited, in the same dtypes. */
export async function copyEdited(
  from: Checkpoint,
  to: string,
  edit: (name: string, values: Float32Array) => Float32Array,
): Promise<void> {
  const writer = await createSafetensors(to, [...from.tensors.values()]);
  for (const { name, dtype } of from.tensors.values()) {
    await writer.write(name, narrow(edit(name, await from.readFloat32(name)), dtype));
  }
  await writer.commit();
}
