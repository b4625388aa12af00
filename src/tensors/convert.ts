import { type Dtype, dtypeBytes, FLOAT_DTYPES, type FloatDtype, isFloat } from './dtype.ts';
import { CheckpointError } from './errors.ts';
import { narrowFloat8, widenFloat8 } from './float8.ts';

/**
 * Widens little-endian elements to float32, always into fresh memory. F64 is rounded to nearest even, the
 * others are exact.
 *
 * @throws CheckpointError NOT_FLOAT, WRONG_LENGTH
 */
export function widen(bytes: Uint8Array, dtype: Dtype): Float32Array {
  const out = new Float32Array(Math.floor(bytes.byteLength / dtypeBytes(dtype)));
  widenInto(bytes, dtype, out, 0);
  return out;
}

/** As `widen`, into `out` from element `offset` on. */
export function widenInto(bytes: Uint8Array, dtype: Dtype, out: Float32Array, offset: number): void {
  requireFloat(dtype);
  const size = dtypeBytes(dtype);
  const count = bytes.byteLength / size;
  if (!Number.isInteger(count) || offset + count > out.length) {
    throw new CheckpointError('WRONG_LENGTH', `${bytes.byteLength} bytes do not fill whole ${dtype} elements.`, {
      bytes: bytes.byteLength,
      dtype,
    });
  }
  // Tensors may start at any byte of a file: a view needs alignment, so what is not aligned is copied.
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  const { buffer, byteOffset } = aligned;
  switch (dtype) {
    case 'F32':
      out.set(new Float32Array(buffer, byteOffset, count), offset);
      return;
    case 'F64':
      out.set(new Float64Array(buffer, byteOffset, count), offset);
      return;
    case 'BF16':
      widenBf16(new Uint16Array(buffer, byteOffset, count), bitsOf(out, offset, count));
      return;
    case 'F8_E4M3':
    case 'F8_E5M2':
      widenFloat8(aligned, dtype, bitsOf(out, offset, count));
      return;
    default:
      widenF16(new Uint16Array(buffer, byteOffset, count), bitsOf(out, offset, count));
  }
}

/**
 * Rounds float32 values to nearest even in `dtype`, little-endian. Beyond the largest F16 or BF16 value lies infinity;
 * a NaN stays a (quiet) NaN with the same leading payload bits, so bytes do not depend on the machine. The F8 forms
 * saturate: beyond their largest value (448; 57,344) a finite value becomes that value, an infinity stays one in F8_E5M2
 * and is NaN in F8_E4M3, which has none. Whoever must not lose a value looks before (`narrowFinite` of src/merge).
 *
 * @throws CheckpointError NOT_FLOAT
 */
export function narrow(values: Float32Array, dtype: Dtype): Uint8Array {
  requireFloat(dtype);
  switch (dtype) {
    case 'F32':
      return bytesOf(values.slice());
    case 'F64':
      return bytesOf(Float64Array.from(values));
    case 'BF16':
      return bytesOf(narrowBf16(bitsOf(values, 0, values.length)));
    case 'F8_E4M3':
    case 'F8_E5M2':
      return narrowFloat8(bitsOf(values, 0, values.length), dtype);
    default:
      return bytesOf(narrowF16(bitsOf(values, 0, values.length)));
  }
}

function widenBf16(from: Uint16Array, to: Uint32Array): void {
  for (let i = 0; i < from.length; i++) to[i] = from[i]! << 16;
}

function narrowBf16(from: Uint32Array): Uint16Array {
  const to = new Uint16Array(from.length);
  for (let i = 0; i < from.length; i++) {
    const x = from[i]!;
    to[i] = (x & 0x7fffffff) > 0x7f800000 ? (x >>> 16) | 0x40 : (x + 0x7fff + ((x >>> 16) & 1)) >>> 16;
  }
  return to;
}

let f16Table: Uint32Array | undefined;

function widenF16(from: Uint16Array, to: Uint32Array): void {
  // A table beats arithmetic here and needs no Float16Array (Node 24); 256 KiB fit the second-level cache.
  f16Table ??= makeF16Table();
  const table = f16Table;
  for (let i = 0; i < from.length; i++) to[i] = table[from[i]!]!;
}

/** float32 bits of every float16. */
function makeF16Table(): Uint32Array {
  const table = new Uint32Array(0x10000);
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  for (let h = 0; h < 0x8000; h++) {
    const exponent = h >>> 10;
    const mantissa = h & 0x3ff;
    if (exponent === 0) value[0] = mantissa * 2 ** -24;
    else if (exponent === 31) bits[0] = 0x7f800000 | (mantissa << 13);
    else bits[0] = ((exponent + 112) << 23) | (mantissa << 13);
    table[h] = bits[0]!;
    table[h | 0x8000] = bits[0]! | 0x80000000;
  }
  return table;
}

function narrowF16(from: Uint32Array): Uint16Array {
  const to = new Uint16Array(from.length);
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  for (let i = 0; i < from.length; i++) {
    const x = from[i]!;
    const sign = (x >>> 16) & 0x8000;
    const a = x & 0x7fffffff;
    if (a >= 0x47800000) {
      // 2^16 and above: infinity, or a NaN.
      to[i] = sign | (a > 0x7f800000 ? 0x7e00 | ((a >>> 13) & 0x3ff) : 0x7c00);
    } else if (a >= 0x38800000) {
      // Normal: drop 13 bits, ties to even; a carry runs into the exponent, up to infinity.
      to[i] = sign | ((a - 0x38000000 + 0xfff + ((a >>> 13) & 1)) >>> 13);
    } else {
      // Subnormal: adding 0.5 puts the last float16 place at the last float32 place, so the sum rounds as needed.
      bits[0] = a;
      value[0] = value[0]! + 0.5;
      to[i] = sign | (bits[0]! - 0x3f000000);
    }
  }
  return to;
}

function requireFloat(dtype: Dtype): asserts dtype is FloatDtype {
  if (isFloat(dtype)) return;
  const known = [...FLOAT_DTYPES].join(', ');
  throw new CheckpointError('NOT_FLOAT', `${dtype} is not a floating point dtype; only ${known} convert.`, { dtype });
}

function bitsOf(values: Float32Array, offset: number, count: number): Uint32Array {
  return new Uint32Array(values.buffer, values.byteOffset + offset * 4, count);
}

function bytesOf(values: Float32Array | Float64Array | Uint16Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
