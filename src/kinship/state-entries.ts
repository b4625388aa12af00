import { ProductRows } from '../codec/low-rank-product.ts';
import type { Pacer } from '../codec/pacer.ts';
import type { LowRankTensor, UpdateTensor } from '../codec/types.ts';

/** Both limbs of an entry of the state: high · 2³² + low with 0 ≤ low < 2³². */
const LIMB = 2 ** 32;

/** Words of a mask summed in float64 limbs before they move into a BigInt: 2²⁰ low limbs below 2³² stay below 2⁵². */
const BLOCK_WORDS = 2 ** 15;

/** Entries of a product likewise: 2¹⁰ low limbs below 2³², each times an integer up to 2¹⁰, stay below 2⁵². */
const BLOCK_ENTRIES = 2 ** 10;

/** Adds `fixed` · K to a tensor's entries of the kinship state. */
export function addTo(state: Float64Array, tensor: UpdateTensor, fixed: number): void {
  if (tensor.form !== 'low-rank') {
    addMasked(state, tensor.plus, fixed);
    addMasked(state, tensor.minus, -fixed);
    return;
  }
  const product = new ProductRows(tensor);
  const { values } = product;
  for (let row = 0, at = 0; row < tensor.rows; row++) {
    product.load(row);
    for (let j = 0; j < values.length; j++, at++) {
      // At most 2³² + 2⁹ in size, so the product is exact.
      if (values[j] !== 0) state[at]! += values[j]! * fixed;
    }
  }
}

function addMasked(state: Float64Array, mask: Uint32Array, value: number): void {
  for (let word = 0; word < mask.length; word++) {
    for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) {
      const entry = word * 32 + 31 - Math.clz32(bits & -bits);
      state[entry] = state[entry]! + value;
    }
  }
}

/** Σ K · state over a tensor's entries, exactly. */
export async function dotWith(state: Float64Array, tensor: UpdateTensor, pacer: Pacer): Promise<bigint> {
  if (tensor.form === 'low-rank') return productSum(state, tensor, pacer);
  let sum = 0n;
  for (let from = 0; from < tensor.plus.length; from += BLOCK_WORDS) {
    const to = Math.min(from + BLOCK_WORDS, tensor.plus.length);
    sum += maskedSum(state, tensor.plus, from, to) - maskedSum(state, tensor.minus, from, to);
    await pacer.add(32 * (to - from));
  }
  return sum;
}

function maskedSum(state: Float64Array, mask: Uint32Array, from: number, to: number): bigint {
  let high = 0;
  let low = 0;
  for (let word = from; word < to; word++) {
    for (let bits = mask[word]!; bits !== 0; bits &= bits - 1) {
      const value = state[word * 32 + 31 - Math.clz32(bits & -bits)]!;
      const limb = Math.floor(value / LIMB);
      high += limb;
      low += value - limb * LIMB;
    }
  }
  return joined(high, low);
}

async function productSum(state: Float64Array, tensor: LowRankTensor, pacer: Pacer): Promise<bigint> {
  const product = new ProductRows(tensor);
  const { values } = product;
  let sum = 0n;
  for (let row = 0; row < tensor.rows; row++) {
    product.load(row);
    const start = row * tensor.columns;
    for (let from = 0; from < values.length; from += BLOCK_ENTRIES) {
      const to = Math.min(from + BLOCK_ENTRIES, values.length);
      let high = 0;
      let low = 0;
      for (let j = from; j < to; j++) {
        const k = values[j]!;
        if (k === 0) continue;
        const value = state[start + j]!;
        const limb = Math.floor(value / LIMB);
        high += k * limb;
        low += k * (value - limb * LIMB);
      }
      sum += joined(high, low);
    }
    await pacer.add(values.length);
  }
  return sum;
}

function joined(high: number, low: number): bigint {
  return BigInt(high) * BigInt(LIMB) + BigInt(low);
}
