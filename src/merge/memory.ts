/** How much memory a fold may take. */
import { projectionBytes } from '../compute/index.ts';
import { elementsOf, type FoldTensor } from './task-vector.ts';

/** Share of the memory that the system could give: the rest is for the node's other work and for other programs. */
const DEFAULT_MEMORY_SHARE = 1 / 2;

/** Bytes that the matrices of a fold may take together, when nobody says. */
export function defaultMemory(): number {
  return process.availableMemory() * DEFAULT_MEMORY_SHARE;
}

/** Bytes that one tensor takes while it is folded: S and T as float32, and what its projection works with. */
export function foldBytes({ shape, linear }: FoldTensor): number {
  const held = 2 * Float32Array.BYTES_PER_ELEMENT * elementsOf(shape);
  return linear ? held + projectionBytes(shape[0]!, shape[1]!) : held;
}
