import type { RunOptions } from '../../run-options.ts';
import { CheckpointError, quote } from '../../tensors/index.ts';
import { CodecError } from '../errors.ts';
import { inOrder } from '../in-order.ts';
import { wireScale } from '../payload-encode.ts';
import type { CodedSection } from '../section-choice.ts';
import { cutBucket, keepCount, LOWER_BUCKETS, locate, sampleDeviation, UPPER_BUCKETS } from '../select.ts';
import type { TensorTable } from '../types.ts';
import type { DensePair } from './pairs.ts';
import type { EncoderSettings } from './settings.ts';
import type { EncodeThreads } from './threads.ts';

/** One coded tensor. */
export interface DenseSection {
  readonly index: number;
  readonly nnz: number;
  /** Deviation that applies to it; null where none was asked for. */
  readonly sigma: number | null;
  readonly scale: number;
  /** Sum of the kept magnitudes of this tensor; null where only the vector's is known. */
  readonly magnitudes: number | null;
  readonly section: CodedSection;
}

/** What the passes need. */
export interface DenseComponents {
  readonly table: TensorTable;
  readonly pairs: readonly DensePair[];
  readonly threads: EncodeThreads;
}

/** Each tensor by itself: selected, scaled and coded in one job. */
export async function* encodeTensors(
  { table, pairs, threads }: DenseComponents,
  { density, scaleUnit, scaleFactor }: EncoderSettings,
  options: RunOptions,
): AsyncGenerator<DenseSection> {
  const deviation = scaleUnit === 'deviation';
  const progress = new PairProgress('encoding', pairs, options);
  const jobs = pairs.map(({ index, pair }) => async () => ({
    index,
    ...(await threads.run({ kind: 'whole', pair, shape: table[index]!.shape, density, deviation })),
  }));
  for await (const { index, bad, nnz, section, magnitudes, sigma } of inOrder(jobs, threads.window)) {
    const { name } = table[index]!;
    if (bad >= 0) notFinite(name, bad);
    progress.add(index);
    if (section === null) continue;
    const scale = wireScale(scaleFactor * (sigma ?? magnitudes / nnz), name);
    if (scale > 0) yield { index, nnz, sigma, scale, magnitudes, section };
  }
}

/** What holds for the whole vector in mode `global`. */
export interface GlobalRule {
  readonly threshold: number;
  readonly ties: number;
  readonly kept: number;
  /** Entries equal to the threshold, kept or not. */
  readonly equal: number;
  readonly sigma: number | null;
  readonly scale: number;
  /** Sum of all kept magnitudes. */
  readonly magnitudes: number;
}

/** The one selection and scale of the whole vector: two passes over it, or three where ties are cut (`encodeGlobal`). */
export async function globalRule(
  { table, pairs, threads }: DenseComponents,
  { density, scaleUnit, scaleFactor }: EncoderSettings,
  elements: number,
  options: RunOptions,
): Promise<GlobalRule> {
  const deviation = scaleUnit === 'deviation';
  const upper = new Float64Array(UPPER_BUCKETS);
  let sum = 0;
  const measuring = new PairProgress('measuring', pairs, options);
  const measures = pairs.map(({ index, pair }) => async () => ({
    index,
    ...(await threads.run({ kind: 'measure', pair, sums: deviation })),
  }));
  let counted = 0;
  for await (const measured of inOrder(measures, threads.window)) {
    if (measured.bad >= 0) notFinite(table[measured.index]!.name, measured.bad);
    addTo(upper, measured.upper);
    sum += measured.sum;
    counted += table[measured.index]!.elements;
    measuring.add(measured.index);
  }
  // Tensors that are not compared are zeros.
  upper[0]! += elements - counted;

  const keep = keepCount(density, elements);
  const place = locate(upper, keep);
  const mean = elements === 0 ? 0 : sum / elements;
  const lower = new Float64Array(LOWER_BUCKETS);
  let magnitudes = 0;
  let squares = (elements - counted) * mean * mean;
  const selecting = new PairProgress('selecting', pairs, options);
  const refines = pairs.map(({ index, pair }) => async () => ({
    index,
    ...(await threads.run({ kind: 'refine', pair, bucket: place.bucket, mean: deviation ? mean : null })),
  }));
  for await (const refined of inOrder(refines, threads.window)) {
    addTo(lower, refined.lower);
    magnitudes += refined.magnitudes;
    squares += refined.squares;
    selecting.add(refined.index);
  }
  const cut = cutBucket(lower, place, keep);
  magnitudes += cut.magnitudes;
  const sigma = deviation ? sampleDeviation(squares, elements) : null;
  const unit = sigma ?? (cut.kept === 0 ? 0 : magnitudes / cut.kept);
  return { ...cut, sigma, scale: wireScale(scaleFactor * unit, null), magnitudes };
}

/**
 * The tensors under one rule. Ties are kept in flat order until the allowance is used up. Where all are kept, the
 * allowance of the vector does for each tensor: it is 0 where the threshold is 0, and zeros are never kept.
 */
export async function* encodeGlobal(
  { table, pairs, threads }: DenseComponents,
  rule: GlobalRule,
  options: RunOptions,
): AsyncGenerator<DenseSection> {
  if (rule.kept === 0 || rule.scale === 0) return;
  const ties = await tieAllowances({ table, pairs, threads }, rule, options);
  const progress = new PairProgress('encoding', pairs, options);
  const jobs = pairs.map(({ index, pair }, place) => async () => ({
    index,
    ...(await threads.run({
      kind: 'code',
      pair,
      shape: table[index]!.shape,
      cut: { threshold: rule.threshold, ties: ties?.[place] ?? Math.min(rule.ties, pair.elements) },
    })),
  }));
  let kept = 0;
  for await (const { index, nnz, section } of inOrder(jobs, threads.window)) {
    progress.add(index);
    kept += nnz;
    if (section === null) continue;
    const { sigma, scale } = rule;
    yield { index, nnz, sigma, scale, magnitudes: null, section };
  }
  if (kept !== rule.kept) {
    const text = 'A checkpoint changed while it was read. Encode again when it is complete.';
    throw new CheckpointError('FILE_CHANGED', text, { expected: rule.kept, kept });
  }
}

/** How many entries equal to the threshold each tensor keeps; null where all are kept. */
async function tieAllowances(
  { pairs, threads }: DenseComponents,
  { threshold, ties, equal }: GlobalRule,
  options: RunOptions,
): Promise<number[] | null> {
  if (ties === equal) return null;
  const progress = new PairProgress('counting ties', pairs, options);
  const jobs = pairs.map(({ index, pair }) => async () => ({
    index,
    equal: await threads.run({ kind: 'ties', pair, threshold }),
  }));
  const allowed: number[] = [];
  let left = ties;
  for await (const counted of inOrder(jobs, threads.window)) {
    const mine = Math.min(left, counted.equal);
    left -= mine;
    allowed.push(mine);
    progress.add(counted.index);
  }
  return allowed;
}

/** Reports a pass in stored bytes, which are what takes the time. */
class PairProgress {
  readonly #phase: string;
  readonly #bytes = new Map<number, number>();
  readonly #total: number;
  readonly #options: RunOptions;
  #done = 0;

  constructor(phase: string, pairs: readonly DensePair[], options: RunOptions) {
    this.#phase = phase;
    this.#options = options;
    for (const { index, pair } of pairs) this.#bytes.set(index, pair.tune.byteLength + (pair.base?.byteLength ?? 0));
    this.#total = [...this.#bytes.values()].reduce((a, b) => a + b, 0);
    this.#report();
  }

  add(index: number): void {
    this.#options.signal?.throwIfAborted();
    this.#done += this.#bytes.get(index)!;
    this.#report();
  }

  #report(): void {
    this.#options.onProgress?.({ phase: this.#phase, done: this.#done, total: this.#total, unit: 'bytes' });
  }
}

export function addTo(sums: Float64Array, counts: Uint32Array): void {
  for (let i = 0; i < counts.length; i++) sums[i]! += counts[i]!;
}

/** @throws CodecError NOT_FINITE */
export function notFinite(tensor: string, position: number): never {
  throw new CodecError(
    'NOT_FINITE',
    `The task vector has a NaN or an infinity in tensor ${quote(tensor)} at entry ${position}. Repair the fine-tune first.`,
    { tensor, position },
  );
}
