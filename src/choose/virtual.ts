/** Models that exist in memory only, for the evaluation of updates that have not been written. */
import type { WeightTensors } from '../evaluate/index.ts';
import type { RunOptions } from '../run-options.ts';
import { dtypeBytes, type TensorInfo } from '../tensors/index.ts';

/** What is needed of a base: an open checkpoint is one. */
export interface BaseTensors extends WeightTensors {
  /** The whole tensor as float32, in an array that the caller may overwrite. */
  readFloat32(name: string, options?: RunOptions): Promise<Float32Array>;
}

/** Adds an update to a tensor's values in place. */
export type Addition = (values: Float32Array) => void | Promise<void>;

/**
 * The base with updates added to some of its tensors, as float32: what a decoded update makes of it. Nothing is
 * copied: a tensor is read and added to when it is asked for.
 *
 * @param additions - by tensor name; tensors without one are the base's own, in its dtype
 */
export function virtualWeights(base: BaseTensors, additions: ReadonlyMap<string, Addition>): WeightTensors {
  const tensors = new Map<string, TensorInfo>();
  for (const [name, info] of base.tensors) {
    const changed = { ...info, dtype: 'F32', byteLength: info.elements * dtypeBytes('F32') } as const;
    tensors.set(name, additions.has(name) ? changed : info);
  }
  return {
    tensors,
    async readRaw(name, options) {
      const add = additions.get(name);
      if (add === undefined) return base.readRaw(name, options);
      const values = await base.readFloat32(name, options);
      await add(values);
      return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    },
  };
}
