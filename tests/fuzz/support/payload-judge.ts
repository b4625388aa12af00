/** What every payload must come to, whatever its bytes: a CodecError, the same on every way, or sound content in bounds. */
import { expect } from 'vitest';
import { runDecodeJob } from '../../../src/codec/decode/jobs.ts';
import { FileCache } from '../../../src/codec/file-cache.ts';
import {
  CodecError,
  checkPayload,
  encodeTernarySync,
  expand,
  isPayloadFault,
  maskWords,
  openPayload,
  type PayloadReader,
  popcount,
  type SignMasks,
  type TensorTable,
  type UpdateTensor,
} from '../../../src/codec/index.ts';
import { Kernel } from '../../../src/codec/kernel/kernel.ts';
import { referenceDecode } from '../../unit/codec/reference-decoder.ts';
import { counting } from './allocations.ts';
import { within } from './runs.ts';

/** Bytes that a decoder may take whatever it decodes (docs/payload-format.md, "Memory of a decoder"). */
const FIXED_BYTES = 8 * 2 ** 20;
/** Bytes for each section that is there, while its header is read. */
const HEADER_BYTES = 128;

const components = { kernel: new Kernel(), files: new FileCache() };

/** Judges a payload of a small table by every way to decode it; returns its verdict: a code, or 'sound'. */
export async function judge(bytes: Uint8Array, table: TensorTable): Promise<string> {
  const reader = await attempt(FIXED_BYTES, () => openPayload(bytes, table));
  const sections = reader instanceof CodecError ? [] : reader.sections;
  const elements = sections.reduce((sum, section) => sum + section.elements, 0);
  const low = sections.reduce((sum, { form, elements: n }) => sum + (form === 'low-rank' ? n : 0), 0);

  const counted = await attempt(FIXED_BYTES + 2 * bytes.length + low / 2, () => checkPayload(bytes, table));
  const decoded =
    reader instanceof CodecError
      ? reader
      : await attempt(FIXED_BYTES + 2 * bytes.length + elements / 2, () => collect(reader));
  const dense =
    reader instanceof CodecError
      ? reader
      : await attempt(FIXED_BYTES + 2 * bytes.length + 5 * elements, () => collectDense(reader, bytes));
  const verdict = verdictOf(counted);
  expect([verdictOf(decoded), verdictOf(dense)]).toEqual([verdict, verdict]);
  if (!(decoded instanceof CodecError || dense instanceof CodecError)) checkContent(decoded, dense, table);

  // The plain decoder is slow.
  if (bytes.length <= 2_000) {
    const reference = referenceDecode(bytes, table);
    expect(reference === null).toBe(counted instanceof CodecError);
    if (!(counted instanceof CodecError)) {
      const measured = reference!.map(({ index, scale, signs }) => ({ index, scale, ...sums(signs) }));
      expect(measured).toEqual(counted.tensors.map(({ entries: _, ...rest }) => rest));
    }
  }
  return counted instanceof CodecError ? counted.code : 'sound';
}

/** Judges a payload of a table of huge tensors: what its headers claim takes no memory. */
export async function judgeClaims(bytes: Uint8Array, table: TensorTable): Promise<string> {
  const headers = HEADER_BYTES * (1 + bytes.length / 6);
  const reader = await attempt(headers, () => openPayload(bytes, table));
  if (reader instanceof CodecError) return reader.code;
  // The others take time, and under coding 2 also masks, by the elements of the table.
  if (!reader.sections.every((section) => section.form === undefined && section.model === undefined)) return 'opened';
  const counted = await attempt(FIXED_BYTES + 2 * bytes.length, () => checkPayload(bytes, table));
  return counted instanceof CodecError ? counted.code : 'sound';
}

/** The result, or the verdict on the payload; anything else fails, and so does more memory or time than allowed. */
export async function attempt<T>(mostBytes: number, work: () => Promise<T>): Promise<T | CodecError> {
  const { result, bytes } = await within(() => counting(() => outcome(work)));
  expect(bytes, 'bytes that were allocated').toBeLessThanOrEqual(mostBytes);
  return result;
}

async function outcome<T>(work: () => Promise<T>): Promise<T | CodecError> {
  try {
    return await work();
  } catch (error) {
    if (isPayloadFault(error) || (error instanceof CodecError && error.code.includes('CONTAINER'))) return error;
    throw error;
  }
}

function verdictOf(result: unknown): string {
  return result instanceof CodecError ? `${result.code} ${result.message}` : 'sound';
}

async function collect(reader: PayloadReader): Promise<UpdateTensor[]> {
  const tensors: UpdateTensor[] = [];
  for await (const tensor of reader.tensors()) tensors.push(tensor);
  return tensors;
}

async function collectDense(reader: PayloadReader, source: Uint8Array): Promise<Float32Array[]> {
  return reader.sections.map((section) => {
    const out = new Float32Array(section.elements);
    runDecodeJob(components, { source, section, out });
    return out;
  });
}

function checkContent(tensors: readonly UpdateTensor[], dense: readonly Float32Array[], table: TensorTable): void {
  let previous = -1;
  expect(dense.length).toBe(tensors.length);
  for (const [i, t] of tensors.entries()) {
    const { elements } = table[t.index]!;
    expect(t.index).toBeGreaterThan(previous);
    previous = t.index;
    if (t.form === 'low-rank') {
      expect(t.rows * t.columns).toBe(elements);
      checkMasks(t.left, t.rows * t.rank);
      checkMasks(t.right, t.rank * t.columns);
    } else checkMasks(t, elements);
    expect(t.scale > 0 && Number.isFinite(t.scale)).toBe(true);
    const expanded = new Float32Array(elements);
    expand(t, expanded);
    expect(expanded.every(Number.isFinite)).toBe(true);
    expect(expanded.every((value, at) => value === dense[i]![at])).toBe(true);
  }
  // Decoded content is sound: the encoder takes it.
  expect(encodeTernarySync(table, tensors).length).toBeGreaterThan(0);
}

function checkMasks({ plus, minus, nnz }: SignMasks, elements: number): void {
  expect([plus.length, minus.length]).toEqual([maskWords(elements), maskWords(elements)]);
  expect(popcount(plus) + popcount(minus)).toBe(nnz);
  expect(plus.every((word, i) => (word & minus[i]!) === 0)).toBe(true);
}

function sums(integers: Iterable<number>): { sum: number; squares: number; peak: number } {
  let [sum, squares, peak] = [0, 0, 0];
  for (const k of integers) {
    sum += k;
    squares += k * k;
    peak = Math.max(peak, Math.abs(k));
  }
  return { sum, squares, peak };
}
