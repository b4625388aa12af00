/** Which tensors get the projection when only names and shapes are known (docs/algorithms.md, A). */
import { type Dtype, isFloat } from '../tensors/index.ts';

/** Parts of a name that mark an embedding: a table of vectors, not a linear map. */
export const EMBEDDING_NAME_PARTS = ['embed', 'wte', 'wpe', 'tok_emb', 'position'] as const;

/**
 * The default rule: 2-D, both sides at least 2, and no part of the name that marks an embedding. A tensor with one row
 * or column has a diagonal only, which the projection removes: it would stay at the first update's direction for ever.
 */
export function isLinearByDefault(name: string, shape: readonly number[]): boolean {
  if (shape.length !== 2 || shape[0]! < 2 || shape[1]! < 2) return false;
  return !EMBEDDING_NAME_PARTS.some((part) => name.includes(part));
}

/** Names of the tensors that are linear by the default rule; tensors known not to be floating point never are. */
export function defaultLinear(
  tensors: Iterable<{ readonly name: string; readonly shape: readonly number[]; readonly dtype?: Dtype }>,
): string[] {
  const names: string[] = [];
  for (const { name, shape, dtype } of tensors) {
    if ((dtype === undefined || isFloat(dtype)) && isLinearByDefault(name, shape)) names.push(name);
  }
  return names;
}
