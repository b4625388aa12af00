import { formatCoding } from './format-coding.ts';
import { aligned, type Kernel, MAX_KERNEL_BYTES } from './kernel/kernel.ts';
import { withKernel } from './kernel/pool.ts';
import { MAX_WIDTH, MIN_WIDTH } from './limits.ts';
import { golombParameter } from './size.ts';
import { spread } from './spread.ts';
import { maskWords } from './ternary.ts';
import type { AnsModel, SectionCoding, TernaryTensor } from './types.ts';

/** Rows and columns are modelled when they promise this share of the code: below it they only cost time. */
const MIN_GAIN = 1 / 256;

/** With so many bits per entry, about a 64th, nothing else is tried: that takes time and would not be smaller. */
const SURE_GAIN_BITS = 1 / 12;
/** Entries from which on such a promise is kept: with fewer, learning can cost more than was estimated. */
const SURE_ENTRIES = 4_096;

/** Bytes of the list of symbols of coding 1, per entry, usually. */
const SYMBOL_BYTES = 6;

/** How a tensor or a factor is coded, and its code. */
export interface CodedSection {
  readonly coding: SectionCoding;
  readonly code: Uint8Array;
}

/** Two bit masks in a kernel's memory. */
export interface PlacedMasks {
  /** Address of the mask of positive entries, and of that of negative ones. */
  readonly plus: number;
  readonly minus: number;
  readonly elements: number;
  readonly nnz: number;
  /** The first address behind them that is free. */
  readonly end: number;
}

/** As `codeMasks`, of masks in JavaScript's memory. */
export function codeSection(t: TernaryTensor, shape: readonly number[]): CodedSection {
  return withMasks(t, (kernel, placed) => codeMasks(kernel, placed, shape));
}

/** The code of a tensor by a given coding, whether or not it is the smallest. */
export function codeWith(t: TernaryTensor, coding: SectionCoding): Uint8Array {
  const code = withMasks(t, (kernel, placed) => codePlaced(kernel, placed, coding));
  if (code === null) throw new RangeError(`a tensor of ${t.elements} elements has too many symbols`);
  return code;
}

function withMasks<T>(t: TernaryTensor, work: (kernel: Kernel, placed: PlacedMasks) => T): T {
  return withKernel((kernel) => {
    const words = maskWords(t.elements);
    const plus = kernel.heap;
    const minus = aligned(plus + 4 * words);
    const end = aligned(minus + 4 * words);
    kernel.reach(end);
    kernel.u32(plus, words).set(t.plus);
    kernel.u32(minus, words).set(t.minus);
    return work(kernel, { plus, minus, elements: t.elements, nnz: t.nnz, end });
  });
}

/**
 * Codes a tensor with rows and columns, if they promise much; else in the smallest of up to three ways: Golomb; coding 1
 * with the tensor's density alone; coding 1 with rows and columns, if they promise a gain. Of equal sizes the first one
 * counts. Depends on the content and the shape alone.
 */
export function codeMasks(kernel: Kernel, t: PlacedMasks, shape: readonly number[]): CodedSection {
  // Room for a list of symbols, which grows otherwise bit by bit: little more than one of 4 bytes per entry.
  kernel.reach(Math.min(t.end + SYMBOL_BYTES * t.nnz, Math.max(t.end, MAX_KERNEL_BYTES / 2)));
  const byRows = rowModel(kernel, t, shape);
  if (byRows !== null && t.nnz >= SURE_ENTRIES && byRows.gain >= t.nnz * SURE_GAIN_BITS) {
    const coding = { golombM: 0, model: byRows.model };
    const code = codePlaced(kernel, t, coding);
    // A promise is not kept by every tensor; a section may not be longer than two bit masks.
    if (code !== null && code.length <= Math.ceil(t.elements / 4)) return { coding, code };
  }
  const golombM = sectionParameter(t.elements, t.nnz);
  const golombBytes = golombSize(kernel, t, golombM);
  const models: AnsModel[] = [{ width: 0, rows: 0, columns: 0 }];
  if (byRows !== null && byRows.gain >= golombBytes * 8 * MIN_GAIN) models.push(byRows.model);
  let best: CodedSection | null = null;
  let smallest = formatCoding({ golombM }).length + golombBytes;
  for (const model of models) {
    const coding = { golombM: 0, model };
    const code = codePlaced(kernel, t, coding);
    // More symbols than the list may hold: Golomb's code needs none.
    if (code === null) continue;
    const size = formatCoding(coding).length + code.length;
    if (size >= smallest) continue;
    best = { coding, code };
    smallest = size;
  }
  return best ?? { coding: { golombM }, code: golombCode(kernel, t, golombM) };
}

/** Null when coding 1 would take more symbols than the kernel's list may hold (`MAX_SYMBOLS` of ans-encode.c). */
function codePlaced(kernel: Kernel, t: PlacedMasks, { golombM, model }: SectionCoding): Uint8Array | null {
  if (!model) return golombCode(kernel, t, golombM);
  const { width, rows, columns } = model;
  const at = kernel.encodeAns(t, { width, rows, columns });
  return at === null ? null : kernel.u8(at.start, at.end - at.start).slice();
}

function golombCode(kernel: Kernel, t: PlacedMasks, golombM: number): Uint8Array {
  const length = golombSize(kernel, t, golombM);
  kernel.reach(t.end + length);
  kernel.calls.golomb_encode(t.plus, t.minus, maskWords(t.elements), golombM, t.end);
  return kernel.u8(t.end, length).slice();
}

/** Exact bytes of the Golomb code. */
function golombSize(kernel: Kernel, { plus, minus, elements }: PlacedMasks, golombM: number): number {
  return Math.ceil(kernel.calls.golomb_bits(plus, minus, maskWords(elements), golombM) / 8);
}

/** The Golomb parameter that this encoder uses for a tensor: that of its own density. */
export function sectionParameter(elements: number, nnz: number): number {
  return Math.min(elements, golombParameter(nnz / elements));
}

/**
 * The model of rows and columns that promises most, in bits, over every way to see the shape as a matrix (a
 * convolution's weight has several); null when none promises anything. Sums, products and quotients of float64 only,
 * and `log256`: the same choice on every machine.
 */
function rowModel(kernel: Kernel, t: PlacedMasks, shape: readonly number[]): { model: AnsModel; gain: number } | null {
  let best: { model: AnsModel; gain: number } | null = null;
  const tried = new Set<number>();
  let width = t.elements;
  for (const size of shape) {
    width /= size;
    if (width < MIN_WIDTH || width > MAX_WIDTH || width === t.elements || tried.has(width)) continue;
    tried.add(width);
    const { rowCounts, columnCounts } = countEntries(kernel, t, width);
    const rows = spread(rowCounts, width, t.nnz);
    const columns = spread(columnCounts, rowCounts.length, t.nnz);
    const gain = rows.gain + columns.gain;
    if (gain <= (best?.gain ?? 0)) continue;
    best = { model: { width, rows: rows.strength, columns: columns.strength }, gain };
  }
  return best;
}

/** Views that are good until the kernel's next call. */
function countEntries(
  kernel: Kernel,
  { plus, minus, elements, end }: PlacedMasks,
  width: number,
): { rowCounts: Uint32Array; columnCounts: Uint32Array } {
  const rows = elements / width;
  const columnsAt = aligned(end + 4 * rows);
  kernel.reach(columnsAt + 4 * width);
  kernel.u8(end, columnsAt + 4 * width - end).fill(0);
  kernel.calls.count_rows_columns(plus, minus, maskWords(elements), width, end, columnsAt);
  return { rowCounts: kernel.u32(end, rows), columnCounts: kernel.u32(columnsAt, width) };
}
