import { productDot } from '../codec/kernel/product.ts';
import { ProductRows } from '../codec/low-rank-product.ts';
import type { Pacer } from '../codec/pacer.ts';
import { popcount32 } from '../codec/ternary.ts';
import type { LowRankTensor, SignMasks, TernaryTensor, UpdateTensor } from '../codec/types.ts';
import { KinshipError } from './errors.ts';

/** Positions where two ternary tensors are both non-zero: with the same sign, and with opposite signs. */
export interface TensorCounts {
  readonly agree: number;
  readonly disagree: number;
}

/**
 * Counts agreeing and opposed entries of two ternary tensors on their bit masks (docs/algorithms.md B.4).
 *
 * @throws KinshipError TABLE_MISMATCH when their element counts differ
 */
export function countTensors(a: TernaryTensor, b: TernaryTensor): TensorCounts {
  requireSameElements(a, b);
  return overlap(a, 0, b, 0, a.plus.length);
}

/**
 * Σ K_a · K_b of two tensors scale · K, an exact integer and the same in either order (docs/algorithms.md B.5). Two
 * ternary tensors are compared on their masks; two low-rank ones through their factors, as
 * Σ (L_aᵀ L_b) ∘ (R_a R_bᵀ), without their products; a ternary and a low-rank one along the rows of the product.
 *
 * @throws KinshipError TABLE_MISMATCH when their element counts differ
 */
export async function innerProduct(a: UpdateTensor, b: UpdateTensor, pacer: Pacer): Promise<number> {
  requireSameElements(a, b);
  if (a.form === 'low-rank') {
    if (b.form !== 'low-rank') return productDot(a, b, pacer);
    // Payloads may cut one tensor into rows of different lengths; the factors then say nothing about each other.
    return a.columns === b.columns ? factorProduct(a, b, pacer) : flattenedProduct(a, b, pacer);
  }
  if (b.form === 'low-rank') return productDot(b, a, pacer);
  const { agree, disagree } = overlap(a, 0, b, 0, a.plus.length);
  return agree - disagree;
}

function requireSameElements(a: UpdateTensor, b: UpdateTensor): void {
  if (a.elements === b.elements) return;
  throw new KinshipError(
    'TABLE_MISMATCH',
    `Tensor ${a.index} has ${a.elements} elements in one payload and ${b.elements} in the other: compare payloads of one charter.`,
    { index: a.index, elements: [a.elements, b.elements] },
  );
}

type Masks = Pick<SignMasks, 'plus' | 'minus'>;

/** Counts over `words` words, from word `fromA` of the one and `fromB` of the other. */
function overlap(a: Masks, fromA: number, b: Masks, fromB: number, words: number): TensorCounts {
  const { plus: plusA, minus: minusA } = a;
  const { plus: plusB, minus: minusB } = b;
  let agree = 0;
  let disagree = 0;
  for (let word = 0; word < words; word++) {
    const pa = plusA[fromA + word]!;
    const na = minusA[fromA + word]!;
    const pb = plusB[fromB + word]!;
    const nb = minusB[fromB + word]!;
    // An entry is in one mask of its tensor only, so the two halves of each union are disjoint: one popcount for both.
    agree += popcount32((pa & pb) | (na & nb));
    disagree += popcount32((pa & nb) | (na & pb));
  }
  return { agree, disagree };
}

async function factorProduct(a: LowRankTensor, b: LowRankTensor, pacer: Pacer): Promise<number> {
  const leftA = columnsOf(a.left, a.rows, a.rank);
  const leftB = columnsOf(b.left, b.rows, b.rank);
  const rightA = rowsOf(a.right, a.rank, a.columns);
  const rightB = rowsOf(b.right, b.rank, b.columns);
  let sum = 0;
  for (let k = 0; k < a.rank; k++) {
    for (let l = 0; l < b.rank; l++) sum += vectorProduct(leftA, k, leftB, l) * vectorProduct(rightA, k, rightB, l);
    await pacer.add(b.rank * (leftA.words + rightA.words));
  }
  return sum;
}

/** Vectors of signs, each from a word of its own on. */
interface Vectors extends Masks {
  readonly words: number;
}

function vectorProduct(a: Vectors, k: number, b: Vectors, l: number): number {
  const { agree, disagree } = overlap(a, k * a.words, b, l * b.words, a.words);
  return agree - disagree;
}

function rowsOf({ plus, minus }: SignMasks, rows: number, columns: number): Vectors {
  const words = Math.ceil(columns / 32);
  const align = (mask: Uint32Array) => {
    const aligned = new Uint32Array(rows * words);
    forEachBit(mask, (position) => {
      const row = Math.floor(position / columns);
      const column = position - row * columns;
      aligned[row * words + (column >>> 5)]! |= 1 << (column & 31);
    });
    return aligned;
  };
  return { words, plus: align(plus), minus: align(minus) };
}

function columnsOf({ plus, minus }: SignMasks, rows: number, columns: number): Vectors {
  const words = Math.ceil(rows / 32);
  const align = (mask: Uint32Array) => {
    const aligned = new Uint32Array(columns * words);
    forEachBit(mask, (position) => {
      const row = Math.floor(position / columns);
      aligned[(position - row * columns) * words + (row >>> 5)]! |= 1 << (row & 31);
    });
    return aligned;
  };
  return { words, plus: align(plus), minus: align(minus) };
}

function forEachBit(mask: Uint32Array, visit: (position: number) => void): void {
  for (let word = 0; word < mask.length; word++) {
    for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) visit(word * 32 + 31 - Math.clz32(bits & -bits));
  }
}

async function flattenedProduct(a: LowRankTensor, b: LowRankTensor, pacer: Pacer): Promise<number> {
  const [rowsA, rowsB] = [new ProductRows(a), new ProductRows(b)];
  let [sum, placeA, placeB] = [0, 0, 0];
  for (let done = 0; done < a.elements; ) {
    if (placeA === 0) rowsA.load(done / a.columns);
    if (placeB === 0) rowsB.load(done / b.columns);
    const length = Math.min(a.columns - placeA, b.columns - placeB);
    for (let j = 0; j < length; j++) sum += rowsA.values[placeA + j]! * rowsB.values[placeB + j]!;
    done += length;
    await pacer.add(length);
    placeA = (placeA + length) % a.columns;
    placeB = (placeB + length) % b.columns;
  }
  return sum;
}
