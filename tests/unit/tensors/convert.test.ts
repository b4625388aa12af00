import { describe, expect, test } from 'vitest';
import { isFloat, narrow, widen } from '../../../src/tensors/index.ts';
import { failure } from './files.ts';

const ALL16 = Uint16Array.from({ length: 0x10000 }, (_, i) => i);
const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
const u16 = (bytes: Uint8Array) => new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);
const bits = (values: Float32Array) => new Uint32Array(values.buffer, values.byteOffset, values.length);
const floats = (...words: number[]) => new Float32Array(Uint32Array.from(words).buffer);

/** The value of a float16 by its definition (IEEE 754-2008, 3.4). */
function f16Value(h: number): number {
  const sign = h & 0x8000 ? -1 : 1;
  const exponent = (h >> 10) & 31;
  const mantissa = h & 0x3ff;
  if (exponent === 31) return mantissa ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (exponent === 0 ? mantissa * 2 ** -24 : (1024 + mantissa) * 2 ** (exponent - 25));
}

/** Every float32 around every midpoint of neighbouring 16-bit values, where rounding is decided. */
function neighbourhood(values: Float32Array): Float32Array {
  const sorted = [...new Set(values.filter(Number.isFinite))].sort((a, b) => a - b);
  const out: number[] = [];
  const step = new Float32Array(1);
  const word = new Int32Array(step.buffer);
  for (let i = 1; i < sorted.length; i++) {
    step[0] = (sorted[i - 1]! + sorted[i]!) / 2;
    const middle = word[0]!;
    for (const delta of [-1, 0, 1]) {
      word[0] = middle + delta;
      out.push(step[0]!);
    }
  }
  return Float32Array.from(out);
}

/** Rounds to nearest, ties to even bits, by searching the two neighbours: slow and plain. */
function nearestBits(value: number, table: Float32Array, overflow: number): number {
  const magnitude = Math.abs(value);
  let low = 0;
  let high = overflow;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (table[middle]! <= magnitude) low = middle;
    else high = middle;
  }
  // The value that infinity stands for here is the next one the format would have.
  const above = high === overflow ? table[low]! + (table[low]! - table[low - 1]!) : table[high]!;
  const toLow = magnitude - table[low]!;
  const toHigh = above - magnitude;
  const nearest = toLow < toHigh || (toLow === toHigh && low % 2 === 0) ? low : high;
  return nearest | (value < 0 || Object.is(value, -0) ? 0x8000 : 0);
}

describe('float16', () => {
  const wide = widen(bytesOf(ALL16), 'F16');

  test('all 65,536 values widen exactly', () => {
    for (let h = 0; h < 0x10000; h++) if (!Object.is(wide[h], f16Value(h))) expect.fail(`0x${h.toString(16)}`);
  });

  test('all 65,536 values survive the way there and back; NaN stays NaN', () => {
    const back = u16(narrow(wide, 'F16'));
    for (let h = 0; h < 0x10000; h++) {
      const expected = Number.isNaN(f16Value(h)) ? h | 0x200 : h;
      if (back[h] !== expected) expect.fail(`0x${h.toString(16)}`);
    }
  });

  test('around every midpoint it rounds to nearest even', () => {
    const values = neighbourhood(wide);
    const got = u16(narrow(values, 'F16'));
    values.forEach((value, i) => {
      if (got[i] !== nearestBits(value, wide, 0x7c00)) expect.fail(`${value}`);
    });
    expect(values.length).toBeGreaterThan(190_000);
  });

  test('the edge of infinity: 65,520 goes there, the value below does not', () => {
    const below = floats(bits(Float32Array.of(65_520))[0]! - 1)[0]!;
    const values = Float32Array.of(65_504, below, 65_520, 65_536, 3e38, -65_520, Number.NEGATIVE_INFINITY);
    expect([...u16(narrow(values, 'F16'))]).toEqual([0x7bff, 0x7bff, 0x7c00, 0x7c00, 0x7c00, 0xfc00, 0xfc00]);
  });

  test('tiny values go to the nearest subnormal or a signed zero', () => {
    const half = 2 ** -25;
    const values = Float32Array.of(half, -half, half * 1.0001, 1.5 * 2 ** -24, 2 ** -149, -(2 ** -149), -0);
    expect([...u16(narrow(values, 'F16'))]).toEqual([0, 0x8000, 1, 2, 0, 0x8000, 0x8000]);
  });

  test.skipIf(typeof Float16Array === 'undefined')('agrees with the engine where it has float16', () => {
    const values = neighbourhood(wide);
    const native = new Uint16Array(new Float16Array(values).buffer);
    expect(Buffer.compare(narrow(values, 'F16'), bytesOf(native))).toBe(0);
    const nativeWide = new Float32Array(new Float16Array(ALL16.buffer));
    for (let h = 0; h < 0x10000; h++) if (!Object.is(nativeWide[h], wide[h])) expect.fail(`0x${h.toString(16)}`);
  });
});

describe('bfloat16', () => {
  const wide = widen(bytesOf(ALL16), 'BF16');

  test('all 65,536 values widen to their own bits', () => {
    const words = bits(wide);
    for (let h = 0; h < 0x10000; h++) if (words[h] !== h * 0x10000) expect.fail(`0x${h.toString(16)}`);
  });

  test('all 65,536 values survive the way there and back; NaN stays NaN', () => {
    const back = u16(narrow(wide, 'BF16'));
    for (let h = 0; h < 0x10000; h++) {
      const expected = (h & 0x7fff) > 0x7f80 ? h | 0x40 : h;
      if (back[h] !== expected) expect.fail(`0x${h.toString(16)}`);
    }
  });

  test('around every midpoint it rounds to nearest even', () => {
    const words: number[] = [];
    for (let h = 0; h < 0x7f80; h++) for (const low of [0x7fff, 0x8000, 0x8001]) words.push(h * 0x10000 + low);
    const got = u16(narrow(floats(...words), 'BF16'));
    const negative = u16(narrow(floats(...words.map((word) => word + 0x80000000)), 'BF16'));
    words.forEach((word, i) => {
      const h = word >>> 16;
      const low = word & 0xffff;
      const expected = low < 0x8000 || (low === 0x8000 && h % 2 === 0) ? h : h + 1;
      if (got[i] !== expected || negative[i] !== expected + 0x8000) expect.fail(`0x${word.toString(16)}`);
    });
  });

  test('a NaN whose leading bits are zero does not become infinity', () => {
    expect([...u16(narrow(floats(0x7f800001, 0xff800001), 'BF16'))]).toEqual([0x7fc0, 0xffc0]);
    expect([...u16(narrow(floats(0x7f800001, 0xffc00000), 'F16'))]).toEqual([0x7e00, 0xfe00]);
  });
});

describe('float32 and float64', () => {
  test('float32 passes bit by bit, NaN payloads included, and never shares memory', () => {
    const values = floats(0x7fa12345, 0x80000001, 0x3f800000);
    const bytes = narrow(values, 'F32');
    expect(Buffer.compare(bytes, bytesOf(values))).toBe(0);
    expect(bits(widen(bytes, 'F32'))).toEqual(bits(values));
    values.fill(0);
    expect(widen(bytes, 'F32')[2]).toBe(1);
  });

  test('float64 rounds to nearest even and widens back exactly', () => {
    const tie = 1 + 2 ** -24;
    const values = Float64Array.of(tie, tie + 2 ** -50, 1 + 3 * 2 ** -24, 1e300, -1e-300, 0.1);
    expect([...widen(bytesOf(values), 'F64')]).toEqual([
      1,
      1 + 2 ** -23,
      1 + 2 ** -22,
      Number.POSITIVE_INFINITY,
      -0,
      Math.fround(0.1),
    ]);
    const single = Float32Array.of(0.1, -0, 3e38, 2 ** -149);
    expect(widen(narrow(single, 'F64'), 'F64')).toEqual(single);
  });
});

describe('any float dtype', () => {
  test('bytes that are not aligned are read all the same', () => {
    for (const dtype of ['F8_E4M3', 'F8_E5M2', 'F16', 'BF16', 'F32', 'F64'] as const) {
      const values = Float32Array.of(1, -2.5, 0.125);
      const bytes = narrow(values, dtype);
      const shifted = new Uint8Array(bytes.byteLength + 1);
      shifted.set(bytes, 1);
      expect(widen(shifted.subarray(1), dtype)).toEqual(values);
    }
  });

  test('a part of an element, and dtypes without values, are refused', async () => {
    expect((await failure(() => widen(new Uint8Array(7), 'F32'))).code).toBe('WRONG_LENGTH');
    expect((await failure(() => widen(new Uint8Array(8), 'I64'))).code).toBe('NOT_FLOAT');
    expect((await failure(() => narrow(new Float32Array(1), 'U8'))).code).toBe('NOT_FLOAT');
    expect(isFloat('I8') || isFloat('U16') || isFloat('BOOL')).toBe(false);
  });
});
