import { CodecError } from './errors.ts';
import { MAX_PRODUCT_SIDE, MAX_SCALE, MAX_UPDATE_RANK, MIN_SCALE } from './limits.ts';
import { checkMasks, isWireScale } from './ternary.ts';
import type { LowRankTensor, SignMasks, TensorTable, TernaryTensor } from './types.ts';

/**
 * Whether a tensor of rows x columns may travel as factors of this rank. The factors must not have more elements than
 * the tensor itself: beyond that they save nothing, and work and memory of a reader would not be bounded by the tensor.
 */
export function isLowRankShape(rows: number, columns: number, rank: number): boolean {
  const sides = [rows, columns].every((size) => Number.isInteger(size) && size >= 1 && size <= MAX_PRODUCT_SIDE);
  const ranks = Number.isInteger(rank) && rank >= 1 && rank <= MAX_UPDATE_RANK;
  return sides && ranks && rank * (rows + columns) <= rows * columns;
}

/** Low mantissa bits that must be 0, so that a product with any integer up to `rank` is exact: ceil(log2(rank + 1)). */
function spareBits(rank: number): number {
  return 32 - Math.clz32(rank);
}

/** True for what the scale of a low-rank tensor may be on the wire: scale · k is a float32 for all |k| ≤ rank. */
export function isLowRankScale(scale: number, rank: number): boolean {
  return isWireScale(scale) && rank * scale <= MAX_SCALE && roundScale(scale, rank) === scale;
}

/**
 * The scale for the wire of a low-rank tensor: the nearest one to `scale` (0 or more) that `isLowRankScale` allows, the
 * even one of two equally near; 0 where that is below the normal range, so decodes to nothing.
 *
 * @throws CodecError SCALE_OVERFLOW when rank · scale does not fit a float32
 */
export function lowRankScale(scale: number, rank: number): number {
  const rounded = roundScale(scale, rank);
  if (!(rank * rounded <= MAX_SCALE)) {
    throw new CodecError(
      'SCALE_OVERFLOW',
      `A scale of ${scale} at rank ${rank} does not fit a float32: lower the scale factor.`,
      { scale, rank },
    );
  }
  return rounded < MIN_SCALE ? 0 : rounded;
}

/** To 24 - spareBits significant bits. Adding and taking off a power of two rounds at its last bit, ties to even. */
function roundScale(scale: number, rank: number): number {
  if (!(scale > 0 && scale <= MAX_SCALE)) return scale;
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, scale);
  bits.setUint32(4, 0);
  bits.setUint32(0, bits.getUint32(0) & 0xfff00000);
  const power = bits.getFloat64(0); // the power of two at or below the scale
  // A float64 of about 2^(52 - 23 + spare) · power has its last bit where the scale's is to be.
  const carry = power * 2 ** (29 + spareBits(rank)) * 1.5;
  return scale + carry - carry;
}

/** A factor as the coders see it: a ternary tensor of its own elements. */
export function leftFactor(t: LowRankTensor): TernaryTensor {
  return factor(t, t.left, t.rows * t.rank);
}

export function rightFactor(t: LowRankTensor): TernaryTensor {
  return factor(t, t.right, t.rank * t.columns);
}

function factor({ index, scale }: LowRankTensor, { plus, minus, nnz }: SignMasks, elements: number): TernaryTensor {
  return { index, elements, scale, plus, minus, nnz };
}

/**
 * Checks a low-rank tensor against itself and the table.
 * @throws CodecError BAD_TENSOR
 */
export function checkLowRank(t: LowRankTensor, table: TensorTable): void {
  const bad = (why: string) => new CodecError('BAD_TENSOR', `Low-rank tensor ${t.index}: ${why}.`, { index: t.index });
  const { elements } = table[t.index]!;
  if (t.elements !== elements || t.rows * t.columns !== elements) {
    throw bad(`it has ${t.rows} x ${t.columns} elements, the table says ${elements}`);
  }
  if (!isLowRankShape(t.rows, t.columns, t.rank)) {
    throw bad(`${t.rows} x ${t.columns} cannot travel at rank ${t.rank}; give it as a ternary tensor`);
  }
  if (!isLowRankScale(t.scale, t.rank)) throw bad(`round its scale ${t.scale} with lowRankScale`);
  for (const [name, f] of Object.entries({ left: leftFactor(t), right: rightFactor(t) })) {
    const fault = checkMasks(f, f.elements);
    if (fault !== null) throw bad(`${name} factor: ${fault}`);
  }
}
