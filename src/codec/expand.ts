import { CodecError } from './errors.ts';
import { expandProduct } from './kernel/product.ts';
import type { UpdateTensor } from './types.ts';

/**
 * Writes the decoded entries, row-major: scale, -scale or 0 of a ternary tensor, scale · K of a low-rank one; each a
 * float32 without rounding (docs/payload-format.md). `out` holds at least `t.elements` values; those beyond are left
 * alone.
 * @throws CodecError BAD_TENSOR if `out` is too short
 */
export function expand(t: UpdateTensor, out: Float32Array): void {
  if (out.length < t.elements) {
    throw new CodecError('BAD_TENSOR', `The output holds ${out.length} values; the tensor has ${t.elements}.`, {
      index: t.index,
    });
  }
  if (t.form === 'low-rank') {
    expandProduct(t, out);
    return;
  }
  out.fill(0, 0, t.elements);
  fillMask(t.plus, Math.fround(t.scale), out);
  fillMask(t.minus, Math.fround(-t.scale), out);
}

function fillMask(mask: Uint32Array, value: number, out: Float32Array): void {
  for (let w = 0; w < mask.length; w++) {
    let bits = mask[w]!;
    while (bits !== 0) {
      const lowest = bits & -bits;
      out[(w << 5) + 31 - Math.clz32(lowest)] = value;
      bits ^= lowest;
    }
  }
}
