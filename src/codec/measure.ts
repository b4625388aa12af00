import { measureProduct } from './kernel/product.ts';
import type { Pacer } from './pacer.ts';
import { popcount } from './ternary.ts';
import type { LowRankTensor, TensorMeasure, UpdateTensor } from './types.ts';

/** The measure of one decoded tensor, the same as in the `PayloadMeasure` of its payload. */
export async function measureTensor(t: UpdateTensor, pacer: Pacer): Promise<TensorMeasure> {
  if (t.form === 'low-rank') return measureLowRank(t, pacer);
  return ternaryMeasure(t, popcount(t.plus) + popcount(t.minus), popcount(t.minus));
}

/** The measure of a ternary tensor with so many entries, `negatives` of them negative. */
export function ternaryMeasure(
  { index, scale }: { readonly index: number; readonly scale: number },
  entries: number,
  negatives: number,
): TensorMeasure {
  return { index, scale, entries, sum: entries - 2 * negatives, squares: entries, peak: 1 };
}

/** The measure of a low-rank tensor: what the integers of its product come to. */
export async function measureLowRank(t: LowRankTensor, pacer: Pacer): Promise<TensorMeasure> {
  const { index, scale, left, right } = t;
  return { index, scale, entries: left.nnz + right.nnz, ...(await measureProduct(t, pacer)) };
}
