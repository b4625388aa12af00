import type { TensorTable } from '../../../src/codec/index.ts';

/**
 * A second decoder, written from docs/payload-format.md alone with strings of bits, so slow and plain. Gives the signs
 * and scale of every coded tensor, or null for bytes that the document does not allow.
 */
export function referenceDecode(
  bytes: Uint8Array,
  table: TensorTable,
): { index: number; scale: number; signs: Int8Array }[] | null {
  try {
    return decode(bytes, table);
  } catch (error) {
    if (error instanceof Refused) return null;
    throw error;
  }
}

class Refused extends Error {}

function need(condition: boolean): void {
  if (!condition) throw new Refused();
}

function decode(bytes: Uint8Array, table: TensorTable): { index: number; scale: number; signs: Int8Array }[] {
  let at = 0;
  const take = (count: number) => {
    need(at + count <= bytes.length);
    at += count;
    return bytes.slice(at - count, at);
  };
  const varint = () => {
    const groups: number[] = [];
    do groups.push(take(1)[0]!);
    while (groups.at(-1)! >= 128);
    need(groups.length <= 8 && (groups.length === 1 || groups.at(-1) !== 0));
    const value = groups.reduceRight((sum, group) => sum * 128n + BigInt(group % 128), 0n);
    need(value < 2n ** 53n);
    return Number(value);
  };
  const scale = () => {
    const value = Buffer.from(take(4)).readFloatLE();
    need(value >= 2 ** -126 && value < Number.POSITIVE_INFINITY);
    return value;
  };

  need(Buffer.from(take(4)).toString('latin1') === 'KMTV' && take(1)[0] === 1);
  const flags = take(1)[0]!;
  const count = Buffer.from(take(4)).readUInt32LE();
  need(flags <= 1 && count <= table.length);
  const global = flags === 0 && count > 0 ? scale() : 0;
  const tensors: { index: number; scale: number; signs: Int8Array }[] = [];
  for (let section = 0; section < count; section++) {
    const index = varint();
    need(index < table.length && index > (tensors.at(-1)?.index ?? -1));
    const { elements } = table[index]!;
    const nnz = varint();
    need(nnz >= 1 && nnz <= elements && take(1)[0] === 0);
    const m = varint();
    need(m >= 1 && m <= elements);
    const ownScale = flags === 1 ? scale() : global;
    const length = varint();
    need(length <= Math.ceil(elements / 4));
    let bits = [...take(length)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    const takeBits = (n: number) => {
      need(bits.length >= n);
      const taken = bits.slice(0, n);
      bits = bits.slice(n);
      return n === 0 ? 0 : Number.parseInt(taken, 2);
    };
    const width = Math.ceil(Math.log2(m));
    const short = 2 ** width - m;
    const signs = new Int8Array(elements);
    let position = -1;
    for (let entry = 0; entry < nnz; entry++) {
      const quotient = bits.indexOf('1');
      need(quotient >= 0);
      takeBits(quotient + 1);
      let remainder = 0;
      if (m > 1) {
        remainder = takeBits(width - 1);
        if (remainder >= short) remainder = remainder * 2 + takeBits(1) - short;
      }
      position += quotient * m + remainder + 1;
      need(position < elements);
      signs[position] = takeBits(1) === 1 ? -1 : 1;
    }
    need(bits.length < 8 && !bits.includes('1'));
    tensors.push({ index, scale: ownScale, signs });
  }
  need(at === bytes.length);
  if (flags === 1) need(new Set(tensors.map((t) => t.scale)).size > 1);
  return tensors;
}
