import { createHash } from 'node:crypto';
import type { RunOptions } from '../run-options.ts';
import type { Checkpoint } from './checkpoint.ts';
import { widen } from './convert.ts';
import { dtypeBytes, isFloat } from './dtype.ts';
import { CheckpointError, quote } from './errors.ts';
import { SUM_BLOCK_ELEMENTS } from './limits.ts';

export interface TensorDescription {
  /** Of the raw bytes, 32 bytes. */
  readonly sha256: Uint8Array;
  /** Of the values as float32, in float64: flat order, blocks of SUM_BLOCK_ELEMENTS summed first. 0 unless a float tensor. */
  readonly sumSquares: number;
}

/**
 * Hashes and measures a tensor in one pass, a chunk at a time.
 *
 * @throws CheckpointError NOT_FINITE with the flat index of the first NaN or infinity
 */
export async function describeTensor(
  checkpoint: Checkpoint,
  name: string,
  options: RunOptions = {},
): Promise<TensorDescription> {
  const info = checkpoint.tensors.get(name);
  const hash = createHash('sha256');
  const float = info !== undefined && isFloat(info.dtype);
  // Chunks of whole blocks, so that a block's sum never crosses a chunk.
  const chunkBytes = float ? 4 * SUM_BLOCK_ELEMENTS * dtypeBytes(info.dtype) : undefined;
  let sumSquares = 0;
  let first = 0;
  for await (const chunk of checkpoint.chunks(name, { ...options, ...(chunkBytes && { chunkBytes }) })) {
    hash.update(chunk);
    if (!float) continue;
    // A chunk is fresh memory from its first byte, hence aligned.
    const values =
      info.dtype === 'F32' ? new Float32Array(chunk.buffer, 0, chunk.length / 4) : widen(chunk, info.dtype);
    for (let from = 0; from < values.length; from += SUM_BLOCK_ELEMENTS) {
      const to = Math.min(from + SUM_BLOCK_ELEMENTS, values.length);
      let sum = 0;
      for (let i = from; i < to; i++) sum += values[i]! * values[i]!;
      // Squares of finite float32 values cannot overflow float64.
      if (!Number.isFinite(sum)) throw notFinite(name, values, first);
      sumSquares += sum;
    }
    first += values.length;
  }
  return { sha256: new Uint8Array(hash.digest()), sumSquares };
}

function notFinite(name: string, values: Float32Array, first: number): CheckpointError {
  const at = values.findIndex((value) => !Number.isFinite(value));
  const value = String(values[at]);
  const text = `tensor ${quote(name)} has ${value} at flat index ${first + at}. Repair the model: only finite values can be merged.`;
  return new CheckpointError('NOT_FINITE', text, { tensor: name, index: first + at, value });
}
