import { golombParameter, remainderWidth } from './size.ts';
import { popcount32 } from './ternary.ts';
import type { TernaryTensor } from './types.ts';

/**
 * Turns 32-bit words in memory into a byte stream with the highest bits first, in place, or back. Memory is
 * little-endian: `src/tensors` refuses other machines.
 */
export function swapWords(bytes: Uint8Array): void {
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).swap32();
}

/** The Golomb parameter that this encoder uses for a tensor: that of its own density. */
export function sectionParameter(elements: number, nnz: number): number {
  return Math.min(elements, golombParameter(nnz / elements));
}

/**
 * The gap code of a tensor under Golomb parameter `m`: per entry q zeros, a one, the truncated binary remainder and
 * the sign (1 = minus), first bit in the highest bit of the first byte, zero bits up to the next byte.
 */
export function encodeSection(t: TernaryTensor, m: number): Uint8Array {
  const width = remainderWidth(m);
  const short = 2 ** width - m;
  const bits = sectionBits(t, m);
  const byteLength = Math.ceil(bits / 8);
  const out = new Uint32Array(Math.ceil(bits / 32) + 1);
  let word = 0;
  let bit = 0; // bits of out[word] in use, from the top
  let next = 0; // first position after the last entry
  for (let w = 0; w < t.plus.length; w++) {
    const minus = t.minus[w]!;
    let kept = t.plus[w]! | minus;
    while (kept !== 0) {
      const lowest = kept & -kept;
      kept ^= lowest;
      const position = (w << 5) + 31 - Math.clz32(lowest);
      const gap = position - next;
      next = position + 1;
      const quotient = Math.floor(gap / m);
      const remainder = gap - quotient * m;
      // The output starts as zeros: a unary run is a step forward.
      bit += quotient;
      word += bit >>> 5;
      bit &= 31;
      const long = remainder >= short ? 1 : 0;
      const code = long === 1 ? remainder + short : remainder;
      const length = width === 0 ? 0 : width - 1 + long;
      // Terminator and remainder together are at most 32 bits; the sign goes separately.
      let value = ((2 ** length + code) << (31 - length)) >>> 0;
      out[word]! |= value >>> bit;
      if (bit + length + 1 > 32) out[word + 1]! |= value << (32 - bit);
      bit += length + 1;
      word += bit >>> 5;
      bit &= 31;
      value = (minus & lowest) !== 0 ? 0x80000000 : 0;
      out[word]! |= value >>> bit;
      bit += 1;
      word += bit >>> 5;
      bit &= 31;
    }
  }
  const bytes = new Uint8Array(out.buffer);
  swapWords(bytes);
  return bytes.subarray(0, byteLength);
}

/** Exact bits of the code of `encodeSection`, signs included. */
export function sectionBits(t: TernaryTensor, m: number): number {
  const width = remainderWidth(m);
  const short = 2 ** width - m;
  let bits = 0;
  let next = 0;
  let nnz = 0;
  for (let w = 0; w < t.plus.length; w++) {
    let kept = t.plus[w]! | t.minus[w]!;
    nnz += popcount32(kept);
    while (kept !== 0) {
      const lowest = kept & -kept;
      kept ^= lowest;
      const position = (w << 5) + 31 - Math.clz32(lowest);
      const gap = position - next;
      next = position + 1;
      const quotient = Math.floor(gap / m);
      bits += quotient + (gap - quotient * m < short ? 0 : 1);
    }
  }
  // Terminator, sign and the shorter remainder of every entry; M = 1 has no remainder at all.
  return bits + nnz * (width === 0 ? 1 : 1 + width);
}
