import { CodecError } from './errors.ts';
import { MAX_SCALE, MIN_SCALE } from './limits.ts';
import type { SignMasks, TensorTable, TernaryTensor } from './types.ts';

/** 32-bit words of one mask over `elements` entries. */
export function maskWords(elements: number): number {
  return (elements + 31) >>> 5;
}

/** Number of set bits of a 32-bit word. */
export function popcount32(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  v = (v + (v >>> 4)) & 0x0f0f0f0f;
  return Math.imul(v, 0x01010101) >>> 24;
}

/** Number of set bits of a mask. */
export function popcount(mask: Uint32Array): number {
  let count = 0;
  for (let i = 0; i < mask.length; i++) count += popcount32(mask[i]!);
  return count;
}

/** True for what a scale may be on the wire: a float32 value that is positive, finite and normal. */
export function isWireScale(scale: number): boolean {
  return scale >= MIN_SCALE && scale <= MAX_SCALE && Math.fround(scale) === scale;
}

/** Masks from signs: above 0 is plus, below 0 is minus. Null when all are zero. */
export function ternaryFromSigns(index: number, signs: ArrayLike<number>, scale: number): TernaryTensor | null {
  const words = maskWords(signs.length);
  const plus = new Uint32Array(words);
  const minus = new Uint32Array(words);
  let nnz = 0;
  for (let i = 0; i < signs.length; i++) {
    const sign = signs[i]!;
    if (sign === 0) continue;
    const mask = sign > 0 ? plus : minus;
    mask[i >>> 5]! |= 1 << (i & 31);
    nnz++;
  }
  return nnz === 0 ? null : { index, elements: signs.length, scale: Math.fround(scale), plus, minus, nnz };
}

/**
 * Checks a ternary tensor against itself and the table.
 * @throws CodecError BAD_TENSOR
 */
export function checkTernary(t: TernaryTensor, table: TensorTable): void {
  const bad = (why: string) => new CodecError('BAD_TENSOR', `Ternary tensor ${t.index}: ${why}.`, { index: t.index });
  const { elements } = table[t.index]!;
  if (t.elements !== elements) throw bad(`it has ${t.elements} elements, the table says ${elements}`);
  if (!isWireScale(t.scale)) throw bad(`its scale ${t.scale} is not a positive normal float32`);
  const fault = checkMasks(t, elements);
  if (fault !== null) throw bad(fault);
}

/** What is wrong with masks of so many elements; null when they are sound. */
export function checkMasks({ plus, minus, nnz }: SignMasks, elements: number): string | null {
  const words = maskWords(elements);
  if (plus.length !== words || minus.length !== words) return `its masks must have ${words} words each`;
  let count = 0;
  let overlap = 0;
  for (let i = 0; i < words; i++) {
    overlap |= plus[i]! & minus[i]!;
    count += popcount32(plus[i]!) + popcount32(minus[i]!);
  }
  if (overlap !== 0) return 'an entry is in both masks';
  const used = elements & 31;
  if (used !== 0 && (plus[words - 1]! | minus[words - 1]!) >>> used !== 0) return 'a mask has bits past its end';
  if (count !== nnz || count === 0) return `nnz is ${nnz}, the masks have ${count} bits, and 0 is not allowed`;
  return null;
}
