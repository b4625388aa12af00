/** Writes the merged model as a Hugging Face directory. */
import { sumSquares } from '../compute/index.ts';
import type { RunOptions } from '../run-options.ts';
import {
  type Checkpoint,
  createCheckpointDirectory,
  type FloatDtype,
  isFloat,
  narrow,
  type TensorInfo,
} from '../tensors/index.ts';
import { MergeError } from './errors.ts';
import { checkScale, deltasOf, indexDeltas, type MergedDeltas, mergeInto, readMerged } from './merged.ts';
import { openState } from './state.ts';

export interface ExportInput {
  /** The state directory; null while no update is accepted: the result is the base itself. */
  readonly state: string | null;
  readonly base: Checkpoint;
  /** The factor on the merged task vector: W = base + scale * M. */
  readonly scale: number;
  /** The directory to make; it must not exist (or be empty), unless `overwrite` is set. */
  readonly out: string;
  /** Strings for the header of the safetensors file. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Dtype of all float tensors; default: each keeps the base's. */
  readonly dtype?: FloatDtype;
  /** Replaces an existing checkpoint directory. */
  readonly overwrite?: boolean;
  /** Names of the side files to copy; default: all that lie beside the base. */
  readonly sideFiles?: readonly string[];
}

export interface ExportReport {
  /** 1 when there is no state. */
  readonly lambda: number;
  readonly scale: number;
  /** Updates in the merge. */
  readonly steps: number;
  /** Norm of the merged task vector M = S / lambda, before the scale; 0 when there is no state. */
  readonly norm: number;
  readonly tensors: number;
  /** Bytes of all tensors. */
  readonly bytes: number;
}

/**
 * Writes `model.safetensors` in the base's dtypes, and the base's configuration and tokenizer files. Integer and
 * boolean tensors, and float tensors that the state does not have, are copied. One tensor is in memory at a time.
 *
 * @throws MergeError `BAD_INPUT`, `BASE_MISMATCH`, `STATE_*`, `NON_FINITE`; CheckpointError for the directory.
 *   Nothing is left behind then.
 */
export async function exportMerged(input: ExportInput, options: RunOptions = {}): Promise<ExportReport> {
  checkScale(input.scale);
  const state = input.state === null ? null : await openState(input.state, options);
  try {
    const deltas = state === null ? NO_DELTAS : deltasOf(state, input.scale);
    const written = await writeMerged({ ...input, deltas }, options);
    const lambda = state?.lambda ?? 1;
    return { lambda, scale: input.scale, steps: state?.steps ?? 0, norm: (state?.norm ?? 0) / lambda, ...written };
  } finally {
    await state?.close();
  }
}

const NO_DELTAS: MergedDeltas = { tensors: [], factor: 0, read: async () => undefined };

type WriteInput = Pick<ExportInput, 'base' | 'out' | 'metadata' | 'dtype' | 'overwrite' | 'sideFiles'> & {
  readonly deltas: MergedDeltas;
};

/** Base plus deltas as a checkpoint directory; used by every merge method. Errors as `exportMerged`. */
export async function writeMerged(
  input: WriteInput,
  options: RunOptions = {},
): Promise<{ tensors: number; bytes: number }> {
  const { base, deltas } = input;
  const positions = indexDeltas(deltas, base);
  const plan = [...base.tensors.values()].map(({ name, dtype, shape }) => ({
    name,
    shape,
    dtype: isFloat(dtype) ? (input.dtype ?? dtype) : dtype,
  }));
  const writer = await createCheckpointDirectory(
    input.out,
    {
      tensors: plan,
      sideFiles: base.sideFiles.filter(({ name }) => input.sideFiles?.includes(name) ?? true),
      ...(input.metadata === undefined ? {} : { metadata: input.metadata }),
      ...(input.overwrite === undefined ? {} : { overwrite: input.overwrite }),
    },
    options,
  );
  try {
    let done = 0;
    let bytes = 0;
    for (const target of writer.tensors) {
      options.signal?.throwIfAborted();
      const info = base.tensors.get(target.name)!;
      const index = positions.get(target.name);
      if (index === undefined && info.dtype === target.dtype) {
        await writer.writeChunks(target.name, base.chunks(target.name, options), options);
      } else {
        const weights = await weightsOf(info, base, deltas, index, options);
        await writer.write(target.name, narrowFinite(weights, target));
      }
      bytes += target.byteLength;
      done++;
      options.onProgress?.({ phase: 'writing', done, total: plan.length, unit: 'tensors' });
    }
    await writer.commit();
    return { tensors: done, bytes };
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

async function weightsOf(
  info: TensorInfo,
  base: Checkpoint,
  deltas: MergedDeltas,
  index: number | undefined,
  options: RunOptions,
): Promise<Float32Array> {
  if (index === undefined) return base.readFloat32(info.name, options);
  const merged = await readMerged(info, base, deltas, index, options);
  mergeInto(merged.base, merged.delta, deltas.factor, merged.delta);
  return merged.delta;
}

/** @throws MergeError `NON_FINITE` for weights that are not finite, or that the target's dtype cannot hold */
export function narrowFinite(weights: Float32Array, target: TensorInfo): Uint8Array {
  const fail = (why: string): never => {
    throw new MergeError('NON_FINITE', `Tensor '${target.name}' ${why}. Nothing was written.`, {
      tensor: target.name,
      dtype: target.dtype,
    });
  };
  if (!Number.isFinite(sumSquares(weights))) fail('has a NaN or infinite value, in the base or once merged');
  const largest = LARGEST[target.dtype as FloatDtype];
  if (weights.some((weight) => Math.abs(weight) >= largest)) {
    fail(`has a merged value that ${target.dtype} cannot hold; choose float32, or a smaller scale`);
  }
  return narrow(weights, target.dtype);
}

/**
 * Magnitudes from which on the dtype cannot hold a value: rounding gives an infinity, or would give more than the largest
 * value of an F8 form (448; 57,344), to which `narrow` saturates. A tie that still rounds down counts as too large.
 */
const LARGEST: Readonly<Record<FloatDtype, number>> = {
  F8_E4M3: 464,
  F8_E5M2: 61_440,
  F16: 65_520,
  BF16: (2 - 2 ** -8) * 2 ** 127,
  F32: Number.POSITIVE_INFINITY,
  F64: Number.POSITIVE_INFINITY,
};
