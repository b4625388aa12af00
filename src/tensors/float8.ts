/**
 * The two 8-bit float formats of the OCP specification "8-bit Floating Point (OFP8)", 1.0.
 *
 * - E4M3 (`e4m3fn`): bias 7, no infinities; the one NaN is 0x7f and 0xff, the largest value 448
 * - E5M2: bias 15, infinities and NaN as in float16, whose upper byte it is; the largest value 57,344
 *
 * A model with scales of its own beside such weights keeps them in other tensors: here a value is what its byte says.
 */

interface Format {
  readonly mantissaBits: number;
  readonly bias: number;
  /** Codes, without the sign, of the largest value, of infinity (of a NaN where there is none) and of a NaN. */
  readonly largest: number;
  readonly infinity: number;
  readonly nan: number;
  /** Made on first use. */
  table?: Uint32Array;
}

const FORMATS = {
  F8_E4M3: { mantissaBits: 3, bias: 7, largest: 0x7e, infinity: 0x7f, nan: 0x7f },
  F8_E5M2: { mantissaBits: 2, bias: 15, largest: 0x7b, infinity: 0x7c, nan: 0x7e },
} satisfies Record<string, Format>;

export type Float8Dtype = keyof typeof FORMATS;

/** Exact; float32 bits go to `to`. Every NaN becomes the quiet NaN of its sign. */
export function widenFloat8(from: Uint8Array, dtype: Float8Dtype, to: Uint32Array): void {
  const format: Format = FORMATS[dtype];
  format.table ??= makeTable(format);
  const { table } = format;
  for (let i = 0; i < from.length; i++) to[i] = table[from[i]!]!;
}

/** float32 bits of all 256 codes. */
function makeTable({ mantissaBits, bias, largest, infinity, nan }: Format): Uint32Array {
  const table = new Uint32Array(256);
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  for (let code = 0; code < 0x80; code++) {
    const exponent = code >>> mantissaBits;
    const mantissa = code - (exponent << mantissaBits);
    const hidden = exponent === 0 ? 0 : 2 ** mantissaBits;
    value[0] = (hidden + mantissa) * 2 ** (Math.max(exponent, 1) - bias - mantissaBits);
    if (code > largest) bits[0] = code === infinity && infinity !== nan ? 0x7f800000 : 0x7fc00000;
    table[code] = bits[0]!;
    table[code | 0x80] = bits[0]! | 0x80000000;
  }
  return table;
}

/**
 * Rounds float32 bits to nearest even. A finite value beyond the largest saturates to it, with its sign. What is not
 * finite stays so, since a fault must not turn into a number: NaN to NaN, an infinity to infinity (E5M2) or NaN (E4M3).
 */
export function narrowFloat8(from: Uint32Array, dtype: Float8Dtype): Uint8Array {
  const { mantissaBits, bias, largest, infinity, nan } = FORMATS[dtype];
  const dropped = 23 - mantissaBits;
  const half = 2 ** (dropped - 1) - 1;
  const rebias = (127 - bias) << 23;
  const smallestNormal = rebias + (1 << 23);
  const to = new Uint8Array(from.length);
  const value = new Float32Array(1);
  const bits = new Uint32Array(value.buffer);
  // Adding it puts the last place of the subnormals at the last place of the sum, which so rounds as needed.
  const magic = 2 ** (23 + 1 - bias - mantissaBits);
  value[0] = magic;
  const magicBits = bits[0]!;
  for (let i = 0; i < from.length; i++) {
    const x = from[i]!;
    const a = x & 0x7fffffff;
    let code: number;
    if (a >= 0x7f800000) code = a > 0x7f800000 ? nan : infinity;
    else if (a >= smallestNormal) {
      // Ties go to even; a carry runs into the exponent.
      code = Math.min((a - rebias + half + ((a >>> dropped) & 1)) >>> dropped, largest);
    } else {
      bits[0] = a;
      value[0] = value[0]! + magic;
      code = bits[0]! - magicBits;
    }
    to[i] = ((x >>> 24) & 0x80) | code;
  }
  return to;
}
