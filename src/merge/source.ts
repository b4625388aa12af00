/** Task vectors from files: a fine-tuned checkpoint or a LoRA adapter beside its base, or a compressed update. */
import { stat } from 'node:fs/promises';
import { alignTensors } from '../codec/align.ts';
import { CodecError, expand, openContainer } from '../codec/index.ts';
import type { RunOptions } from '../run-options.ts';
import { describeDifferences, type TensorDifference } from '../tensors/differences.ts';
import {
  AdapterError,
  type Checkpoint,
  isHubName,
  type LoraAdapter,
  openFinetune,
  readDelta,
} from '../tensors/index.ts';
import { MergeError } from './errors.ts';
import { elementsOf, type FoldTensor, type TaskVector } from './task-vector.ts';

/** A task vector whose tensors can be read in any order and more than once. */
export interface TaskVectorSource extends TaskVector {
  readonly path: string;
  readonly kind: 'checkpoint' | 'adapter' | 'update';
  close(): Promise<void>;
}

/**
 * Opens a model of a merge: a safetensors file, a Hugging Face directory, a directory with a LoRA adapter, or a file of
 * `kinmerge encode`. Names and shapes are compared with the base's float tensors here; values are read later, one
 * tensor at a time. Of tied weights, which files store once or twice, the base's names decide.
 *
 * @param tensors - the base's float tensors, in the order of the fold
 * @throws MergeError `MODEL_MISMATCH`, `MODEL_UNREADABLE`; AdapterError, SafetensorsError, CheckpointError, CodecError
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
  const finetune = await openFinetune(path, base, options).catch((error: unknown) => {
    throw asMismatch(path, error);
  });
  if (finetune.kind === 'adapter') return adapterSource(path, base, finetune.adapter, tensors, options);
  const { checkpoint } = finetune;
  try {
    const table = tensors.map(({ name, shape }) => ({ name, shape, elements: elementsOf(shape) }));
    const { names } = await alignTensors(base, checkpoint, table, {}, options);
    return {
      path,
      kind: 'checkpoint',
      close: () => checkpoint.close(),
      async read(index, out) {
        const name = names[index] ?? null;
        if (name === null) return false;
        const before = await base.readFloat32(tensors[index]!.name, options);
        const after = await checkpoint.readFloat32(name, options);
        // The precision of docs/algorithms.md, A: float32 whatever the stored dtypes.
        for (let i = 0; i < out.length; i++) out[i] = after[i]! - before[i]!;
        return true;
      },
    };
  } catch (error) {
    await checkpoint.close();
    throw asMismatch(path, error);
  }
}

/** An adapter as dense updates, expanded one tensor at a time. */
function adapterSource(
  path: string,
  base: Checkpoint,
  adapter: LoraAdapter,
  tensors: readonly FoldTensor[],
  options: RunOptions,
): TaskVectorSource {
  return {
    path,
    kind: 'adapter',
    close: () => adapter.close(),
    async read(index, out) {
      const delta = await readDelta(adapter, base, tensors[index]!.name, options);
      if (delta === null) return false;
      out.set(delta);
      return true;
    },
  };
}

/** What does not fit the base, as this module's error; a merge has no flags that let differences pass. */
function asMismatch(path: string, error: unknown): unknown {
  const codes: readonly string[] = ['TENSOR_MISMATCH', 'ADAPTER_MISMATCH'];
  const ours = error instanceof CodecError || error instanceof AdapterError;
  if (!ours || !codes.includes(error.code)) return error;
  const differences = (error.fields.differences ?? []) as readonly TensorDifference[];
  const text = differences.length === 0 ? error.message : describeDifferences(differences, false);
  const fields = { path, tensor: differences[0]?.tensor ?? error.fields.tensor, differences };
  return new MergeError('MODEL_MISMATCH', `${path}: ${text}`, fields, { cause: error });
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
