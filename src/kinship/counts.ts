import { SLICE_ENTRIES } from '../codec/limits.ts';
import { Pacer } from '../codec/pacer.ts';
import type { PayloadReader } from '../codec/types.ts';
import type { RunOptions } from '../run-options.ts';
import { innerProduct } from './products.ts';

/** What comparing needs of an opened payload: which tensors it codes, and each of them on demand. */
export type UpdateSource = Pick<PayloadReader, 'tensor'> & {
  readonly sections: readonly { readonly index: number }[];
};

/** Σ K_a · K_b of every tensor that both payloads code, ascending by table position: exact integers. */
export interface PairCounts {
  readonly tensors: readonly { readonly index: number; readonly inner: number }[];
}

/**
 * Compares every tensor that two payloads of one charter have in common, holding one tensor of each at a time.
 * All results are exact integers, so they do not depend on which of the two comes first.
 *
 * @throws KinshipError TABLE_MISMATCH when a tensor has different element counts
 * @throws CodecError when a section's bits do not decode
 */
export async function countPairs(a: UpdateSource, b: UpdateSource, options: RunOptions = {}): Promise<PairCounts> {
  const [counts] = await countPairsOf(a, [b], options);
  return counts!;
}

/**
 * The same for one payload and many others. Each tensor of the one is decoded once, and those of the others one after
 * another, so memory is that of two tensors however many there are.
 *
 * @returns one result per other payload, in their order
 * @throws KinshipError TABLE_MISMATCH
 * @throws CodecError
 */
export async function countPairsOf(
  one: UpdateSource,
  others: readonly UpdateSource[],
  options: RunOptions = {},
): Promise<PairCounts[]> {
  const coded = others.map(({ sections }) => new Set(sections.map(({ index }) => index)));
  const counts: { index: number; inner: number }[][] = others.map(() => []);
  const pacer = new Pacer(SLICE_ENTRIES, options.signal);
  const signal = options.signal ? { signal: options.signal } : {};
  const common = one.sections.map(({ index }) => index).filter((index) => coded.some((indices) => indices.has(index)));
  for (const [done, index] of common.entries()) {
    options.signal?.throwIfAborted();
    const left = await one.tensor(index, signal);
    for (const [place, other] of others.entries()) {
      if (!coded[place]!.has(index)) continue;
      options.signal?.throwIfAborted();
      const right = await other.tensor(index, signal);
      if (left === null || right === null) continue;
      counts[place]!.push({ index, inner: await innerProduct(left, right, pacer) });
    }
    options.onProgress?.({ phase: 'comparing', done: done + 1, total: common.length, unit: 'tensors' });
  }
  return counts.map((tensors) => ({ tensors }));
}
