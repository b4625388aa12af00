import { encodeAns } from './ans-encode.ts';
import { log256, MAX_WIDTH, MIN_WIDTH } from './ans-model.ts';
import { formatCoding } from './format.ts';
import { encodeSection, sectionBits, sectionParameter } from './section-bits.ts';
import type { AnsModel, SectionCoding, TernaryTensor } from './types.ts';

/** Rows and columns are modelled when they promise this share of the code: below it they only cost time. */
const MIN_GAIN = 1 / 256;

/** With this share, coding without them is not tried beside it: that takes time and would not be smaller. */
const SURE_GAIN = 1 / 64;

/**
 * Codes a tensor in the smallest of up to three ways: Golomb; coding 1 with the tensor's density alone, unless rows and
 * columns promise much; coding 1 with rows and columns, if they promise a gain. Of equal sizes the first one counts.
 * Depends on the content and the shape alone.
 */
export function codeSection(t: TernaryTensor, shape: readonly number[]): { coding: SectionCoding; code: Uint8Array } {
  const golombM = sectionParameter(t.elements, t.nnz);
  const golombBytes = Math.ceil(sectionBits(t, golombM) / 8);
  let best: { coding: SectionCoding; code: Uint8Array } | null = null;
  let smallest = formatCoding({ golombM }).length + golombBytes;
  const models: AnsModel[] = [];
  const byRows = rowModel(t, shape);
  if (byRows === null || byRows.gain < golombBytes * 8 * SURE_GAIN) models.push({ width: 0, rows: 0, columns: 0 });
  if (byRows !== null && byRows.gain >= golombBytes * 8 * MIN_GAIN) models.push(byRows.model);
  for (const model of models) {
    const code = encodeAns(t, model);
    const size = formatCoding({ golombM: 0, model }).length + code.length;
    if (size >= smallest) continue;
    best = { coding: { golombM: 0, model }, code };
    smallest = size;
  }
  return best ?? { coding: { golombM }, code: encodeSection(t, golombM) };
}

/**
 * The model of rows and columns that promises most, in bits, over every way to see the shape as a matrix (a
 * convolution's weight has several); null when none promises anything. Sums, products and quotients of float64 only,
 * and `log256`: the same choice on every machine.
 */
function rowModel(t: TernaryTensor, shape: readonly number[]): { model: AnsModel; gain: number } | null {
  let best: { model: AnsModel; gain: number } | null = null;
  const tried = new Set<number>();
  let width = t.elements;
  for (const size of shape) {
    width /= size;
    if (width < MIN_WIDTH || width > MAX_WIDTH || width === t.elements || tried.has(width)) continue;
    tried.add(width);
    const { rowCounts, columnCounts } = countEntries(t, width);
    const rows = spread(rowCounts, width, t.nnz);
    const columns = spread(columnCounts, rowCounts.length, t.nnz);
    const gain = rows.gain + columns.gain;
    if (gain <= (best?.gain ?? 0)) continue;
    best = { model: { width, rows: rows.strength, columns: columns.strength }, gain };
  }
  return best;
}

function countEntries(t: TernaryTensor, width: number): { rowCounts: Float64Array; columnCounts: Float64Array } {
  const rowCounts = new Float64Array(t.elements / width);
  const columnCounts = new Float64Array(width);
  let row = 0;
  let rowStart = 0;
  for (let w = 0; w < t.plus.length; w++) {
    let kept = t.plus[w]! | t.minus[w]!;
    while (kept !== 0) {
      const lowest = kept & -kept;
      kept ^= lowest;
      let column = w * 32 + 31 - Math.clz32(lowest) - rowStart;
      if (column >= width) {
        const rows = Math.floor(column / width);
        row += rows;
        rowStart += rows * width;
        column -= rows * width;
      }
      rowCounts[row]!++;
      columnCounts[column]!++;
    }
  }
  return { rowCounts, columnCounts };
}

/**
 * How far the counts of groups of `size` elements lie apart. Under a beta-binomial law their variance is
 * 1 + (size - 1) / (S + 1) times that of one common density, and S elements is the weight of the prior that suits it.
 * `gain` is the bits that knowing the groups' densities saves, less what learning them costs; 0 and no prior where
 * that is not positive.
 */
function spread(counts: Float64Array, size: number, nnz: number): { strength: number; gain: number } {
  const none = { strength: 0, gain: 0 };
  const groups = counts.length;
  const mean = nnz / groups;
  const binomial = mean * (1 - mean / size);
  if (groups < 2 || binomial <= 0) return none;
  let squares = 0;
  for (let i = 0; i < groups; i++) squares += (counts[i]! - mean) * (counts[i]! - mean);
  const excess = squares / (groups - 1) / binomial - 1;
  if (excess <= 0) return none;
  // The divergence of a density from the mean is excess / 2 nats per group, to learn it takes half a log2(1 + excess).
  const learning = log256(Math.floor(Math.min(2 ** 31, 256 * (1 + excess)))) / 256 - 8;
  const gain = (groups * (excess / Math.LN2 - learning)) / 2;
  if (gain <= 0) return none;
  let strength = 1;
  // The nearest power of 2: S below 2^n · sqrt(2).
  while (strength < 15 && (size - 1) / excess - 1 >= 2 ** strength * Math.SQRT2) strength++;
  return { strength, gain };
}
