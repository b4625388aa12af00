import type { RunOptions } from '../../run-options.ts';
import { type LoraAdapter, type LoraFactor, type LoraFactors, multiply, readFactor } from '../../tensors/index.ts';
import type { Kernel } from '../kernel/kernel.ts';
import { isLowRankShape, lowRankScale } from '../low-rank.ts';
import { wireScale } from '../payload-encode.ts';
import { cutBucket, keepCount, LOWER_BUCKETS, locate, sampleDeviation, UPPER_BUCKETS } from '../select.ts';
import type { SignMasks, TensorTable, UpdateTensor } from '../types.ts';
import { addTo, notFinite } from './dense.ts';
import { countEqual, measure, refine } from './passes.ts';
import { productScale } from './product-scale.ts';
import { cutValues, selectValues, ValuesInput } from './select-values.ts';
import type { EncoderSettings } from './settings.ts';

/** A tensor that an adapter changes by two factors. */
export interface FactorPair {
  readonly index: number;
  readonly factors: LoraFactors;
}

/** What the passes need. */
export interface LowRankComponents {
  readonly table: TensorTable;
  readonly adapter: LoraAdapter;
  readonly pairs: readonly FactorPair[];
  readonly kernel: Kernel;
}

/** Two factors as ternary masks, and what a scale can be made of. */
interface SelectedFactors {
  readonly left: SignMasks;
  readonly right: SignMasks;
  /** Deviations that apply to the two factors. */
  readonly deviations: readonly [number, number];
}

/** A coded tensor of an adapter. */
export interface EncodedFactors {
  readonly tensor: UpdateTensor;
  /** Sum of the kept magnitudes, where it became a ternary tensor; else 0. */
  readonly magnitudes: number;
}

/** The tensors of the table that the adapter has as factors, in table order. */
export function factorPairsOf(adapter: Pick<LoraAdapter, 'lowRank'>, table: TensorTable): FactorPair[] {
  return table.flatMap(({ name }, index) => {
    const factors = adapter.lowRank.get(name);
    return factors === undefined ? [] : [{ index, factors }];
  });
}

/**
 * ComPEFT on the factors of an adapter (docs/algorithms.md A and B): each becomes ternary, and the update of a tensor is
 * scale · (left · right). In mode `global` all factors of the adapter are one vector, as in the reference; in mode
 * `tensor` each is selected by itself. With unit `deviation` the scale is scaling · (α·σ_left) · (α·σ_right), the
 * product of what the two factors decode to; with `magnitude` it is the factor times the scale of least square error of
 * the product, which is what the mean kept magnitude is for a ternary tensor. Tensors that come to nothing are left out.
 *
 * A tensor whose factors would not be smaller, or whose rank a payload cannot have (`isLowRankShape`), travels as a
 * ternary tensor of its own, in either mode selected by itself.
 *
 * @throws CodecError NOT_FINITE, SCALE_OVERFLOW; whatever reading throws
 */
export async function* encodeFactors(
  components: LowRankComponents,
  settings: EncoderSettings,
  options: RunOptions,
): AsyncGenerator<EncodedFactors> {
  const { table, adapter, pairs } = components;
  const select =
    settings.mode === 'global' ? await selectGlobally(components, settings, options) : selectEach(components, settings);
  for (const [done, { index, factors }] of pairs.entries()) {
    options.signal?.throwIfAborted();
    options.onProgress?.({ phase: 'encoding factors', done, total: pairs.length, unit: 'tensors' });
    if (!travelsAsFactors(factors)) {
      const encoded = await productTensor(components, index, settings, options);
      if (encoded !== null) yield encoded;
      continue;
    }
    const left = await readFactor(adapter, factors.left, options);
    const right = await readFactor(adapter, factors.right, options);
    const selected = select(index, left, right);
    if (selected.left.nnz === 0 || selected.right.nnz === 0) continue;
    const { rows, columns, rank, scaling } = factors;
    const unit =
      settings.scaleUnit === 'deviation'
        ? settings.scaleFactor * selected.deviations[0] * selected.deviations[1]
        : await productScale({ rows, columns, rank }, { left, right }, selected, options);
    const scale = lowRankScale(Math.abs(scaling) * settings.scaleFactor * unit, rank);
    if (scale === 0) continue;
    const { elements } = table[index]!;
    // A scaling below 0 turns the signs of one factor around.
    const signs =
      scaling < 0 ? { ...selected.left, plus: selected.left.minus, minus: selected.left.plus } : selected.left;
    const form = 'low-rank' as const;
    yield {
      tensor: { form, index, elements, scale, rows, columns, rank, left: signs, right: selected.right },
      magnitudes: 0,
    };
  }
}

/** Whether the factors are smaller than the tensor itself, and of a rank that a payload can have. */
function travelsAsFactors({ rows, columns, rank }: LoraFactors): boolean {
  return isLowRankShape(rows, columns, rank);
}

/** A tensor whose factors are multiplied first, selected by itself. */
async function productTensor(
  { adapter, table, kernel }: LowRankComponents,
  index: number,
  { density, scaleUnit, scaleFactor }: EncoderSettings,
  options: RunOptions,
): Promise<EncodedFactors | null> {
  const { name, elements } = table[index]!;
  const factors = adapter.lowRank.get(name)!;
  const left = await readFactor(adapter, factors.left, options);
  const right = await readFactor(adapter, factors.right, options);
  const { bad, masks, magnitude, deviation } = selectValues(
    kernel,
    await multiply(factors, left, right, options),
    density,
  );
  if (bad >= 0) notFinite(name, bad);
  const scale = wireScale(scaleFactor * (scaleUnit === 'deviation' ? deviation : magnitude), name);
  if (masks.nnz === 0 || scale === 0) return null;
  return { tensor: { index, elements, scale, ...masks }, magnitudes: magnitude * masks.nnz };
}

type Select = (index: number, left: Float32Array, right: Float32Array) => SelectedFactors;

function selectEach({ kernel, table }: LowRankComponents, { density }: EncoderSettings): Select {
  return (index, ...factors) => {
    const [left, right] = factors.map((values) => {
      const selected = selectValues(kernel, values, density);
      if (selected.bad >= 0) notFinite(table[index]!.name, selected.bad);
      return selected;
    }) as [ReturnType<typeof selectValues>, ReturnType<typeof selectValues>];
    return { left: left.masks, right: right.masks, deviations: [left.deviation, right.deviation] };
  };
}

/** Two passes over all factors, in the order left, right of each tensor in table order. */
async function selectGlobally(
  { kernel, table, adapter, pairs }: LowRankComponents,
  { density }: EncoderSettings,
  options: RunOptions,
): Promise<Select> {
  const each = async (phase: string, work: (values: Float32Array, index: number) => void) => {
    const own = pairs.filter(({ factors }) => travelsAsFactors(factors));
    for (const [done, { index, factors }] of own.entries()) {
      options.signal?.throwIfAborted();
      options.onProgress?.({ phase, done, total: own.length, unit: 'tensors' });
      work(await readFactor(adapter, factors.left, options), index);
      work(await readFactor(adapter, factors.right, options), index);
    }
  };
  const upper = new Float64Array(UPPER_BUCKETS);
  let elements = 0;
  let sum = 0;
  await each('measuring factors', (values, index) => {
    const measured = measure(kernel, new ValuesInput(kernel, values), true);
    if (measured.bad >= 0) notFinite(table[index]!.name, measured.bad);
    addTo(upper, measured.upper);
    sum += measured.sum;
    elements += values.length;
  });
  const keep = keepCount(density, elements);
  const place = locate(upper, keep);
  const lower = new Float64Array(LOWER_BUCKETS);
  let squares = 0;
  await each('selecting factors', (values) => {
    const refined = refine(kernel, new ValuesInput(kernel, values), place.bucket, sum / elements);
    addTo(lower, refined.lower);
    squares += refined.squares;
  });
  const cut = cutBucket(lower, place, keep);
  const deviation = sampleDeviation(squares, elements);
  let ties = cut.ties;
  const take = (values: Float32Array): SignMasks => {
    const input = new ValuesInput(kernel, values);
    const equal = cut.threshold === 0 ? 0 : countEqual(kernel, input, cut.threshold);
    const mine = Math.min(ties, equal);
    ties -= mine;
    return cutValues(kernel, input, values.length, { threshold: cut.threshold, ties: mine });
  };
  return (_, left, right) => ({ left: take(left), right: take(right), deviations: [deviation, deviation] });
}

/** Elements that an adapter's entries are chosen from. */
export function factorElements(pairs: readonly FactorPair[]): number {
  const size = ({ rows, columns }: Pick<LoraFactor, 'rows' | 'columns'>) => rows * columns;
  return pairs.reduce((total, { factors }) => {
    const coded = travelsAsFactors(factors) ? size(factors.left) + size(factors.right) : size(factors);
    return total + coded;
  }, 0);
}
