import type { TensorTable } from '../../../src/codec/index.ts';

/** One coded tensor: its scale, and the row-major integers that it multiplies. */
export interface ReferenceTensor {
  readonly index: number;
  readonly scale: number;
  /** Signs of a ternary tensor; of a low-rank one, as 16-bit integers, the product of its factors. */
  readonly signs: Int8Array | Int16Array;
}

/**
 * A second decoder, written from docs/payload-format.md alone with strings of bits, so slow and plain. Gives every coded
 * tensor, or null for bytes that the document does not allow.
 */
export function referenceDecode(bytes: Uint8Array, table: TensorTable): ReferenceTensor[] | null {
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

function decode(bytes: Uint8Array, table: TensorTable): ReferenceTensor[] {
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

  const codingFields = (coding: number, elements: number): CodingFields => {
    need(coding <= 1);
    const parameter = varint();
    let priors = 0;
    if (coding === 0) need(parameter >= 1 && parameter <= elements);
    else if (parameter !== 0) {
      need(parameter >= 16 && parameter <= 262_144 && elements % parameter === 0);
      priors = take(1)[0]!;
      need(priors > 0);
    }
    return { coding, parameter, priors };
  };
  const codeLength = (elements: number) => {
    const length = varint();
    need(length <= Math.ceil(elements / 4));
    return length;
  };

  need(Buffer.from(take(4)).toString('latin1') === 'KMTV' && take(1)[0] === 1);
  const flags = take(1)[0]!;
  const count = Buffer.from(take(4)).readUInt32LE();
  need(flags <= 1 && count <= table.length);
  const global = flags === 0 && count > 0 ? scale() : 0;
  const tensors: ReferenceTensor[] = [];
  for (let section = 0; section < count; section++) {
    const index = varint();
    need(index < table.length && index > (tensors.at(-1)?.index ?? -1));
    const { elements } = table[index]!;
    const nnz = varint();
    need(nnz >= 1 && nnz <= elements);
    const coding = take(1)[0]!;
    need(coding <= 2);
    if (coding < 2) {
      const fields = codingFields(coding, elements);
      const ownScale = flags === 1 ? scale() : global;
      const length = codeLength(elements);
      tensors.push({ index, scale: ownScale, signs: decodeCode(take(length), elements, nnz, fields) });
      continue;
    }
    const rows = varint();
    need(rows > 0 && elements % rows === 0);
    const columns = elements / rows;
    const rank = varint();
    need(rank >= 1 && rank <= 1024 && rows <= 4_194_304 && columns <= 4_194_304);
    need(rank * (rows + columns) <= elements && nnz <= rows * rank);
    const ownScale = flags === 1 ? scale() : global;
    for (let k = 1; k <= rank; k++) need(Math.fround(k * ownScale) === k * ownScale);
    // As many low bits of the mantissa are 0 as the rank has in binary.
    const spare = 2 ** rank.toString(2).length;
    need(Buffer.from(Float32Array.of(ownScale).buffer).readUInt32LE() % spare === 0);
    const leftFields = codingFields(take(1)[0]!, rows * rank);
    const leftLength = codeLength(rows * rank);
    const rightCount = varint();
    need(rightCount >= 1 && rightCount <= rank * columns);
    const rightFields = codingFields(take(1)[0]!, rank * columns);
    const rightLength = codeLength(rank * columns);
    const left = decodeCode(take(leftLength), rows * rank, nnz, leftFields);
    const right = decodeCode(take(rightLength), rank * columns, rightCount, rightFields);
    const signs = new Int16Array(elements);
    for (let i = 0; i < elements; i++) {
      const [row, column] = [Math.floor(i / columns), i % columns];
      for (let k = 0; k < rank; k++) signs[i]! += left[row * rank + k]! * right[k * columns + column]!;
    }
    tensors.push({ index, scale: ownScale, signs });
  }
  need(at === bytes.length);
  if (flags === 1) need(new Set(tensors.map((t) => t.scale)).size > 1);
  return tensors;
}

interface CodingFields {
  readonly coding: number;
  readonly parameter: number;
  readonly priors: number;
}

function decodeCode(
  code: Uint8Array,
  elements: number,
  nnz: number,
  { coding, parameter, priors }: CodingFields,
): Int8Array {
  if (coding === 0) return golomb(code, elements, nnz, parameter);
  return adaptive(code, elements, nnz, parameter, Math.floor(priors / 16), priors % 16);
}

function golomb(code: Uint8Array, elements: number, nnz: number, m: number): Int8Array {
  let bits = [...code].map((byte) => byte.toString(2).padStart(8, '0')).join('');
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
  return signs;
}

/** Coding 1. Numbers that may pass 2^53 are BigInts; the others divide and round down. */
function adaptive(
  code: Uint8Array,
  elements: number,
  nnz: number,
  width: number,
  rowPrior: number,
  columnPrior: number,
): Int8Array {
  const clamp = (value: number) => Math.min(32, Math.max(-32, value));
  const density = (level: number) => {
    const steps = Math.abs(level);
    const u = BigInt([65_536, 77_936, 92_682, 110_218][steps % 4]!) * 2n ** BigInt(Math.floor(steps / 4));
    const a = BigInt(nnz) * (level < 0 ? 65_536n : u);
    const b = BigInt(elements - nnz) * (level < 0 ? u : 65_536n);
    return Math.min(2 ** 24 - 1024, Math.max(1024, Number((2n ** 24n * a) / (a + b))));
  };
  const coarse = (level: number) => Math.max(1, Math.floor(density(level) / 2048));
  const log = (value: number) => {
    const e = Math.floor(Math.log2(value));
    return 256 * e + Math.floor((256 * (value - 2 ** e)) / 2 ** e);
  };
  const base = coarse(0);
  const levelFor = (k: number, n: number, expected: number, prior: number) =>
    clamp(
      Math.floor(
        (log(8192 * k + prior * base) -
          log(8192 * (n - k) + prior * (8192 - base)) -
          log(expected + prior * base) +
          log(8192 * n - expected + prior * (8192 - base)) +
          32) /
          64,
      ),
    );
  const known = new Map<number, { longest: number; sums: number[] }>();
  const frequencies = (level: number) => {
    const p = density(level);
    const longest = Math.min(256, Math.floor(2 ** 26 / p));
    const sums: number[] = [];
    let t = 2 ** 28;
    for (let g = 0; g <= longest; g++) {
      sums.push(g + Math.floor(((2 ** 28 - t) * (2 ** 15 - 1 - longest)) / 2 ** 28));
      t = Math.floor((t * (2 ** 24 - p)) / 2 ** 24);
    }
    sums.push(2 ** 15);
    known.set(level, { longest, sums });
    return { longest, sums };
  };

  let at = 0;
  const byte = () => {
    need(at < code.length);
    return code[at++]!;
  };
  let x = 0;
  for (let i = 0; i < 4; i++) x = x * 256 + byte();
  need(x >= 2 ** 23 && x < 2 ** 31);

  const signs = new Int8Array(elements);
  const rowLength = width === 0 ? 65_536 : width;
  const columns = Array.from({ length: Math.min(rowLength, elements) }, (_, position) => ({
    position,
    level: 0,
    k: 0,
  }));
  let order = columns;
  let m = 0;
  let update = 1;
  for (let row = 0; row * rowLength < elements; row++) {
    if (columnPrior > 0 && row === update) {
      for (; m > 65_536; m = Math.floor(m / 2)) for (const column of columns) column.k = Math.floor(column.k / 2);
      for (const column of columns) column.level = levelFor(column.k, m, m * base, 2 ** columnPrior);
      order = columns.toSorted((a, b) => a.level - b.level || a.position - b.position);
      update += Math.max(1, Math.floor(row / 8));
    }
    const inRow = Math.min(rowLength, elements - row * rowLength);
    let rowLevel = 0;
    let seen = 0;
    let expected = 0;
    for (let start = 0; start < inRow; ) {
      const { level } = order[start]!;
      let end = start;
      const most = rowPrior > 0 ? Math.max(32, Math.floor(start / 4)) : inRow;
      while (end < inRow && end - start < most && order[end]!.level === level) end++;
      const used = clamp(level + rowLevel);
      const { longest, sums } = known.get(used) ?? frequencies(used);
      for (let place = start; place < end; ) {
        const slot = x % 2 ** 15;
        const left = end - place;
        const g = sums.findLastIndex((sum) => sum <= slot);
        const from = sums[Math.min(g, left)]!;
        const to = g >= left ? 2 ** 15 : sums[g + 1]!;
        x = (to - from) * Math.floor(x / 2 ** 15) + slot - from;
        place += Math.min(g, left);
        if (g < left && g < longest) {
          const column = order[place++]!;
          signs[row * rowLength + column.position] = x % 2 === 1 ? -1 : 1;
          x = Math.floor(x / 2);
          column.k++;
          seen++;
        }
        while (x < 2 ** 23) x = x * 256 + byte();
      }
      expected += (end - start) * coarse(level);
      if (rowPrior > 0) rowLevel = levelFor(seen, end, expected, 2 ** rowPrior);
      start = end;
    }
    m++;
  }
  need(signs.filter((sign) => sign !== 0).length === nnz && at === code.length && x === 2 ** 23);
  return signs;
}
