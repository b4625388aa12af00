/** One payload's size beside what others would make of the same entries. */
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fp16Bytes, golombGapBits, golombParameter } from '../../../src/codec/index.ts';
import type { Cell } from '../benchmark.ts';
import { runProgram } from '../child.ts';
import { boundBytes, masksOf, openUpdate } from './subject.ts';

/** All in bytes; a compressor that is not installed has none. */
export interface Sizes {
  readonly elements: number;
  readonly nnz: number;
  readonly payload: number;
  readonly bound: number;
  readonly golomb: number;
  readonly zstd: number | null;
  readonly gzip: number | null;
  readonly fp16: number;
}

export interface SizesOptions {
  /** Which tensors count, by their names; all when absent. Every figure is then of these. */
  readonly only?: (name: string) => boolean;
  readonly scratch: string;
  readonly signal: AbortSignal;
}

/** Decodes an update to its masks and counts. `payload` has the section headers only where all tensors count. */
export async function countSizes(path: string, { only, scratch, signal }: SizesOptions): Promise<Sizes> {
  const update = await openUpdate(path, { signal });
  const masks = join(scratch, 'masks.bin');
  const file = await open(masks, 'w');
  try {
    const { table, payload } = update;
    const counted = [...table.entries()].filter(([, { name }]) => only?.(name) ?? true);
    const maskBytes = counted.reduce((sum, [, { elements }]) => sum + Math.ceil(elements / 8), 0);
    let [elements, nnz, coded, golomb, at] = [0, 0, 0, 0, 0];
    for (const [index, tensor] of counted) {
      const found = await payload.tensor(index, { signal });
      const bytes = Math.ceil(tensor.elements / 8);
      if (found !== null) {
        const { plus, minus, nnz: entries } = masksOf(found);
        // The file has all plus masks first, then all minus masks.
        await file.write(new Uint8Array(plus.buffer, plus.byteOffset, bytes), 0, bytes, at);
        await file.write(new Uint8Array(minus.buffer, minus.byteOffset, bytes), 0, bytes, maskBytes + at);
        golomb += golombBytes(plus, minus, entries, tensor.elements);
        nnz += entries;
        coded += payload.sections.find((section) => section.index === index)!.byteLength;
      }
      elements += tensor.elements;
      at += bytes;
    }
    await file.truncate(2 * maskBytes);
    const [zstd, gzip] = await Promise.all([
      compressedBytes(['zstd', '-19', '-q', '-c', masks], signal),
      compressedBytes(['gzip', '-9', '-c', masks], signal),
    ]);
    const all = only === undefined;
    const bound = boundBytes({ nnz, elements });
    return {
      elements,
      nnz,
      payload: all ? payload.bytes : coded,
      bound,
      golomb,
      zstd,
      gzip,
      fp16: fp16Bytes(elements),
    };
  } finally {
    await file.close();
    await rm(masks, { force: true });
    await update.close();
  }
}

/** Gaps by the Golomb code of the tensor's own density and a bit for each sign, in whole bytes; no header. */
export function golombBytes(plus: Uint32Array, minus: Uint32Array, nnz: number, elements: number): number {
  const m = golombParameter(nnz / elements);
  let bits = nnz;
  let last = -1;
  for (let word = 0; word < plus.length; word++) {
    for (let rest = plus[word]! | minus[word]!; rest !== 0; rest &= rest - 1) {
      const position = (word << 5) + 31 - Math.clz32(rest & -rest);
      bits += golombGapBits(position - last - 1, m);
      last = position;
    }
  }
  return Math.ceil(bits / 8);
}

/** Bytes that a program writes; null when it is not installed. */
async function compressedBytes(command: readonly string[], signal: AbortSignal): Promise<number | null> {
  let bytes = 0;
  try {
    await runProgram(command, { signal, onData: (chunk) => (bytes += chunk.byteLength) });
    return bytes;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Sums over several updates; what one lacks, the sum lacks. */
export function sumSizes(all: readonly Sizes[]): Sizes {
  const sum = (pick: (sizes: Sizes) => number) => all.reduce((total, sizes) => total + pick(sizes), 0);
  const partial = (pick: (sizes: Sizes) => number | null) =>
    all.every((sizes) => pick(sizes) !== null) ? sum((sizes) => pick(sizes) ?? 0) : null;
  return {
    elements: sum((sizes) => sizes.elements),
    nnz: sum((sizes) => sizes.nnz),
    payload: sum((sizes) => sizes.payload),
    bound: sum((sizes) => sizes.bound),
    golomb: sum((sizes) => sizes.golomb),
    zstd: partial((sizes) => sizes.zstd),
    gzip: partial((sizes) => sizes.gzip),
    fp16: sum((sizes) => sizes.fp16),
  };
}

/** A row of a table of sizes: bytes, and each as a multiple of the bound. */
export function sizesRow(label: Readonly<Record<string, Cell>>, sizes: Sizes): Record<string, Cell> {
  const ratio = (bytes: number | null) => (bytes === null ? null : bytes / sizes.bound);
  return {
    ...label,
    'kept %': (100 * sizes.nnz) / sizes.elements,
    'bound bytes': Math.ceil(sizes.bound),
    'payload bytes': sizes.payload,
    'payload/bound': ratio(sizes.payload),
    'golomb/bound': ratio(sizes.golomb),
    'zstd -19/bound': ratio(sizes.zstd),
    'gzip -9/bound': ratio(sizes.gzip),
    'fp16/bound': ratio(sizes.fp16),
    'fp16/payload': sizes.fp16 / sizes.payload,
  };
}
