/**
 * How much of a task vector its ternary form keeps, at many densities from one pass: the encoder's first pass counts
 * the magnitudes by their upper bits, and the rest is arithmetic on the counts.
 */
import { notFinite } from '../codec/encode/dense.ts';
import { pairsOf } from '../codec/encode/pairs.ts';
import { withEncodeThreads } from '../codec/encode/threads.ts';
import { inOrder } from '../codec/in-order.ts';
import { alignTensors, type FloatSource } from '../codec/index.ts';
import { keepCount, LOWER_BUCKETS } from '../codec/select.ts';
import type { RunOptions } from '../run-options.ts';
import type { ChooseInput } from './types.ts';

/** Buckets of finite magnitudes; from here on lie infinity and NaN, which the pass has refused. */
const FINITE_BUCKETS = 0x7f80;

/** The middle of each bucket, within 0.4 % of every normal magnitude in it; 0 for the one that holds zero. */
const MIDDLES = bucketMiddles();

/**
 * The sum of squares of a model's task vector in its ternary form, with a top-k and a least-squares scale per tensor, for
 * each density: |τ|² - |τ - τ̂|².
 *
 * @throws CodecError TENSOR_MISMATCH, NOT_FINITE; CheckpointError; the signal's reason
 */
export async function modelEnergies(
  { base, finetune, table, align, threads: count }: ChooseInput & { readonly finetune: FloatSource },
  densities: readonly number[],
  options: RunOptions,
): Promise<number[]> {
  const { names } = await alignTensors(base, finetune, table, align, options);
  const pairs = pairsOf(base, finetune, table, names);
  const tensors = pairs.map(({ pair }) => pair);
  return withEncodeThreads(tensors, count, options.signal, async (threads) => {
    const energies = densities.map(() => 0);
    const jobs = pairs.map(({ index, pair }) => async () => {
      options.signal?.throwIfAborted();
      return { index, ...(await threads.run({ kind: 'measure', pair, sums: false })) };
    });
    let done = 0;
    for await (const { index, bad, upper } of inOrder(jobs, threads.window)) {
      const { name, elements } = table[index]!;
      if (bad >= 0) notFinite(name, bad);
      for (const [i, density] of densities.entries())
        energies[i]! += ternarySquares(upper, keepCount(density, elements));
      options.onProgress?.({ phase: 'measuring', done: ++done, total: pairs.length, unit: 'tensors' });
    }
    options.signal?.throwIfAborted();
    return energies;
  });
}

/** (Σ|kept|)² / nnz of one tensor. @param upper - entries by the upper 15 bits of their magnitude */
function ternarySquares(upper: ArrayLike<number>, keep: number): number {
  let left = keep;
  let nnz = 0;
  let magnitudes = 0;
  // Bucket 0 has the zeros, which are never kept.
  for (let b = FINITE_BUCKETS - 1; b > 0 && left > 0; b--) {
    const taken = Math.min(left, upper[b]!);
    magnitudes += taken * MIDDLES[b]!;
    nnz += taken;
    left -= taken;
  }
  return nnz === 0 ? 0 : magnitudes ** 2 / nnz;
}

function bucketMiddles(): Float32Array {
  const bits = new Uint32Array(FINITE_BUCKETS);
  for (let b = 1; b < FINITE_BUCKETS; b++) bits[b] = (b + 0.5) * LOWER_BUCKETS;
  return new Float32Array(bits.buffer);
}
