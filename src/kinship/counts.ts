import { popcount32 } from '../codec/ternary.ts';
import type { PayloadReader, TernaryTensor } from '../codec/types.ts';
import type { RunOptions } from '../run-options.ts';
import { KinshipError } from './errors.ts';

/** What counting needs of an opened payload: which tensors it codes, and each of them on demand. */
export type TernarySource = Pick<PayloadReader, 'sections' | 'tensor'>;

/** Positions where two ternary tensors are both non-zero: with the same sign, and with opposite signs. */
export interface TensorCounts {
  readonly agree: number;
  readonly disagree: number;
}

/** The counts of every tensor that both payloads code, ascending by table position. */
export interface PairCounts {
  readonly tensors: readonly (TensorCounts & { readonly index: number })[];
}

/**
 * Counts agreeing and opposed entries of two ternary tensors on their bit masks (docs/algorithms.md B.4).
 *
 * @throws KinshipError TABLE_MISMATCH when their element counts differ
 */
export function countTensors(a: TernaryTensor, b: TernaryTensor): TensorCounts {
  if (a.elements !== b.elements || a.plus.length !== b.plus.length) {
    throw new KinshipError(
      'TABLE_MISMATCH',
      `Tensor ${a.index} has ${a.elements} elements in one payload and ${b.elements} in the other: compare payloads of one charter.`,
      { index: a.index, elements: [a.elements, b.elements] },
    );
  }
  const { plus: plusA, minus: minusA } = a;
  const { plus: plusB, minus: minusB } = b;
  let agree = 0;
  let disagree = 0;
  for (let word = 0; word < plusA.length; word++) {
    const pa = plusA[word]!;
    const na = minusA[word]!;
    const pb = plusB[word]!;
    const nb = minusB[word]!;
    // An entry is in one mask of its tensor only, so the two halves of each union are disjoint: one popcount for both.
    agree += popcount32((pa & pb) | (na & nb));
    disagree += popcount32((pa & nb) | (na & pb));
  }
  return { agree, disagree };
}

/**
 * Counts every tensor that two payloads of one charter have in common, holding one tensor of each at a time.
 * All counts are exact integers, so they do not depend on which of the two comes first.
 *
 * @throws KinshipError TABLE_MISMATCH when a tensor has different element counts
 * @throws CodecError when a section's bits do not decode
 */
export async function countPairs(a: TernarySource, b: TernarySource, options: RunOptions = {}): Promise<PairCounts> {
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
  one: TernarySource,
  others: readonly TernarySource[],
  options: RunOptions = {},
): Promise<PairCounts[]> {
  const coded = others.map(({ sections }) => new Set(sections.map(({ index }) => index)));
  const counts: (TensorCounts & { index: number })[][] = others.map(() => []);
  const signal = options.signal ? { signal: options.signal } : {};
  const common = one.sections.map(({ index }) => index).filter((index) => coded.some((indices) => indices.has(index)));
  for (const [done, index] of common.entries()) {
    options.signal?.throwIfAborted();
    const left = await one.tensor(index, signal);
    for (const [place, other] of others.entries()) {
      if (!coded[place]!.has(index)) continue;
      options.signal?.throwIfAborted();
      const right = await other.tensor(index, signal);
      if (left !== null && right !== null) counts[place]!.push({ index, ...countTensors(left, right) });
    }
    options.onProgress?.({ phase: 'comparing', done: done + 1, total: common.length, unit: 'tensors' });
  }
  return counts.map((tensors) => ({ tensors }));
}
