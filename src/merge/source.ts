/** Task vectors from files: a fine-tuned checkpoint beside its base, or a compressed update. */
import { stat } from 'node:fs/promises';
import { CodecError, expand, openContainer } from '../codec/index.ts';
import type { RunOptions } from '../run-options.ts';
import { type Checkpoint, isFloat, isHubName, openCheckpoint } from '../tensors/index.ts';
import { MergeError } from './errors.ts';
import type { FoldTensor, TaskVector } from './task-vector.ts';

/** A task vector whose tensors can be read in any order and more than once. */
export interface TaskVectorSource extends TaskVector {
  readonly path: string;
  readonly kind: 'checkpoint' | 'update';
  close(): Promise<void>;
}

/**
 * Opens a model of a merge: a safetensors file, a Hugging Face directory, or a file of `kinmerge encode`. Names and
 * shapes are compared with the base's float tensors here; values are read later, one tensor at a time.
 *
 * @param tensors - the base's float tensors, in the order of the fold
 * @throws MergeError `MODEL_MISMATCH`, `MODEL_UNREADABLE`; SafetensorsError, CheckpointError, CodecError
 */
export async function openTaskVector(
  path: string,
  base: Checkpoint,
  tensors: readonly FoldTensor[],
  options: RunOptions = {},
): Promise<TaskVectorSource> {
  const info = isHubName(path)
    ? undefined
    : await stat(path).catch((error: unknown) => {
        throw new MergeError('MODEL_UNREADABLE', `There is no model at ${path}.`, { path }, { cause: error });
      });
  if (info?.isFile() === true) {
    const update = await openUpdate(path, tensors, options);
    if (update !== null) return update;
  }
  const finetune = await openCheckpoint(path, options);
  try {
    const floats = [...finetune.tensors.values()].filter(({ dtype }) => isFloat(dtype));
    requireSameTensors(path, tensors, floats);
    return {
      path,
      kind: 'checkpoint',
      close: () => finetune.close(),
      async read(index, out) {
        const { name } = tensors[index]!;
        const before = await base.readFloat32(name, options);
        const after = await finetune.readFloat32(name, options);
        // The precision of docs/algorithms.md, A: float32 whatever the stored dtypes.
        for (let i = 0; i < out.length; i++) out[i] = after[i]! - before[i]!;
        return true;
      },
    };
  } catch (error) {
    await finetune.close();
    throw error;
  }
}

/** Null when the file is not a compressed update at all. */
async function openUpdate(
  path: string,
  tensors: readonly FoldTensor[],
  options: RunOptions,
): Promise<TaskVectorSource | null> {
  const container = await openContainer(path, options).catch((error: unknown) => {
    if (error instanceof CodecError && error.code === 'BAD_CONTAINER_MAGIC') return null;
    throw error;
  });
  if (container === null) return null;
  try {
    requireSameTensors(path, tensors, container.table);
    const { norm } = await container.check(options);
    const positions = new Map(container.table.map(({ name }, index) => [name, index]));
    return {
      path,
      kind: 'update',
      norm,
      close: () => container.close(),
      async read(index, out) {
        const tensor = await container.payload.tensor(positions.get(tensors[index]!.name)!, options);
        if (tensor === null) return false;
        expand(tensor, out);
        return true;
      },
    };
  } catch (error) {
    await container.close();
    throw error;
  }
}

/** @throws MergeError `MODEL_MISMATCH` naming the first difference */
function requireSameTensors(
  path: string,
  expected: readonly FoldTensor[],
  found: readonly { readonly name: string; readonly shape: readonly number[] }[],
): void {
  const fail = (tensor: string, what: string, fields: Record<string, unknown> = {}): never => {
    throw new MergeError('MODEL_MISMATCH', `${path}: float tensor '${tensor}' ${what}`, { path, tensor, ...fields });
  };
  const shapes = new Map(found.map(({ name, shape }) => [name, shape]));
  for (const { name, shape } of expected) {
    const other = shapes.get(name);
    if (other === undefined) fail(name, 'of the base is missing. Merge models that were made from this base.');
    else if (other.join() !== shape.join()) {
      fail(name, `has shape [${other.join()}], in the base it has [${shape.join()}].`, {
        expected: shape,
        found: other,
      });
    }
    shapes.delete(name);
  }
  for (const name of shapes.keys()) {
    fail(name, 'is not in the base. Remove it (a head of its own?) or name the base that has it.');
  }
}
