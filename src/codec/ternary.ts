import { CodecError } from './errors.ts';
import { MAX_SCALE, MIN_SCALE } from './limits.ts';
import type { TensorTable, TernaryTensor } from './types.ts';

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

/**
 * Writes the decoded entries: scale, -scale or 0 each, rounded once to float32 (docs/algorithms.md A).
 * `out` holds at least `t.elements` values; those beyond are left alone.
 * @throws CodecError BAD_TENSOR if `out` is too short
 */
export function expand(t: TernaryTensor, out: Float32Array): void {
  if (out.length < t.elements) {
    throw new CodecError('BAD_TENSOR', `The output holds ${out.length} values; the tensor has ${t.elements}.`, {
      index: t.index,
    });
  }
  out.fill(0, 0, t.elements);
  fillMask(t.plus, Math.fround(t.scale), out);
  fillMask(t.minus, Math.fround(-t.scale), out);
}

function fillMask(mask: Uint32Array, value: number, out: Float32Array): void {
  for (let w = 0; w < mask.length; w++) {
    let bits = mask[w]!;
    while (bits !== 0) {
      const lowest = bits & -bits;
      out[(w << 5) + 31 - Math.clz32(lowest)] = value;
      bits ^= lowest;
    }
  }
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
export function checkTernary(t: TernaryTensor, table: TensorTable, previousIndex: number): void {
  const entry = table[t.index];
  const bad = (why: string) => new CodecError('BAD_TENSOR', `Ternary tensor ${t.index}: ${why}.`, { index: t.index });
  if (!entry || !Number.isInteger(t.index)) throw bad('its index is not in the tensor table');
  if (t.index <= previousIndex) throw bad(`give tensors in ascending index, this one follows ${previousIndex}`);
  if (t.elements !== entry.elements) throw bad(`it has ${t.elements} elements, the table says ${entry.elements}`);
  if (!isWireScale(t.scale)) throw bad(`its scale ${t.scale} is not a positive normal float32`);
  const words = maskWords(t.elements);
  if (t.plus.length !== words || t.minus.length !== words) throw bad(`its masks must have ${words} words each`);
  let count = 0;
  let overlap = 0;
  for (let i = 0; i < words; i++) {
    overlap |= t.plus[i]! & t.minus[i]!;
    count += popcount32(t.plus[i]!) + popcount32(t.minus[i]!);
  }
  if (overlap !== 0) throw bad('an entry is in both masks');
  const used = t.elements & 31;
  if (used !== 0 && (t.plus[words - 1]! | t.minus[words - 1]!) >>> used !== 0)
    throw bad('a mask has bits past its end');
  if (count !== t.nnz || count === 0) throw bad(`nnz is ${t.nnz}, the masks have ${count} bits, and 0 is not allowed`);
}
