import { describe, expect, test } from 'vitest';
import { narrow, widen } from '../../../src/tensors/index.ts';

const ALL = Uint8Array.from({ length: 256 }, (_, code) => code);
const word = (value: number) => new Uint32Array(Float32Array.of(value).buffer)[0]!;
const float = (bits: number) => new Float32Array(Uint32Array.of(bits).buffer)[0]!;

/** The positive values by counting up: the step doubles after every binade, the first two share theirs. */
function countUp(step: number, perBinade: number, codes: number): number[] {
  const values = [0];
  let size = step;
  for (let code = 1; code < codes; code++) {
    values.push(values[code - 1]! + size);
    if (code % perBinade === 0 && code > perBinade) size *= 2;
  }
  return values;
}

const FORMATS = [
  {
    dtype: 'F8_E4M3',
    finite: countUp(2 ** -9, 8, 0x7f),
    rest: [Number.NaN],
    // From the tables of the OCP specification.
    landmarks: { 1: 2 ** -9, 7: 0.875 * 2 ** -6, 8: 2 ** -6, 56: 1, 60: 1.5, 126: 448 },
  },
  {
    dtype: 'F8_E5M2',
    finite: countUp(2 ** -16, 4, 0x7c),
    rest: [Number.POSITIVE_INFINITY, Number.NaN, Number.NaN, Number.NaN],
    landmarks: { 1: 2 ** -16, 3: 0.75 * 2 ** -14, 4: 2 ** -14, 60: 1, 62: 1.5, 123: 57_344 },
  },
] as const;

describe.each(FORMATS)('$dtype', ({ dtype, finite, rest, landmarks }) => {
  const expected = [...finite, ...rest];
  const wide = widen(ALL, dtype);

  test('all 256 values widen exactly', () => {
    expect(expected.length).toBe(128);
    for (const [code, value] of Object.entries(landmarks)) expect(expected[Number(code)]).toBe(value);
    expected.forEach((value, code) => {
      if (!Object.is(wide[code], value)) expect.fail(`${code}: ${wide[code]} instead of ${value}`);
      if (!Object.is(wide[code | 0x80], -value)) expect.fail(`${code | 0x80}: ${wide[code | 0x80]}`);
    });
  });

  test('all 256 values survive the way there and back; NaN stays NaN with its sign', () => {
    const back = narrow(wide, dtype);
    ALL.forEach((code) => {
      const nan = Number.isNaN(expected[code & 0x7f]);
      const same = nan
        ? Number.isNaN(wide[back[code]!]) && (back[code]! & 0x80) === (code & 0x80)
        : back[code] === code;
      if (!same) expect.fail(`${code} became ${back[code]}`);
    });
  });

  test('around every value and every midpoint it rounds to nearest even', () => {
    for (let code = 0; code + 1 < finite.length; code++) {
      const middle = word((finite[code]! + finite[code + 1]!) / 2);
      const even = code % 2 === 0 ? code : code + 1;
      const bits = [word(finite[code]!), word(finite[code]!) + 1, middle - 1, middle, middle + 1];
      const wanted = [code, code, code, even, code + 1];
      const got = narrow(new Float32Array(Uint32Array.from(bits).buffer), dtype);
      expect([...got]).toEqual(wanted);
      const negative = narrow(new Float32Array(Uint32Array.from(bits, (b) => b + 0x80000000).buffer), dtype);
      expect([...negative]).toEqual(wanted.map((w) => w | 0x80));
    }
  });

  test('finite values beyond the largest saturate', () => {
    const largest = finite.length - 1;
    const next = finite[largest]! * 2 - finite[largest - 1]!;
    const middle = word((finite[largest]! + next) / 2);
    const values = Float32Array.of(float(middle - 1), float(middle), float(middle + 1), next, 1e6, 3.4e38);
    expect([...narrow(values, dtype)]).toEqual(Array.from(values, () => largest));
    expect([
      ...narrow(
        values.map((value) => -value),
        dtype,
      ),
    ]).toEqual(Array.from(values, () => largest | 0x80));
  });
});

test('the smallest float32 values become zeros with their sign', () => {
  const tiny = Float32Array.of(2 ** -149, -(2 ** -149), 2 ** -17, -(2 ** -17), 0, -0);
  for (const dtype of ['F8_E4M3', 'F8_E5M2'] as const) {
    expect([...narrow(tiny, dtype)]).toEqual([0, 0x80, 0, 0x80, 0, 0x80]);
  }
});

test('infinities stay in E5M2 and are NaN in E4M3, which has none', () => {
  const values = Float32Array.of(Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY);
  expect([...narrow(values, 'F8_E5M2')]).toEqual([0x7c, 0xfc]);
  expect([...narrow(values, 'F8_E4M3')]).toEqual([0x7f, 0xff]);
});

test.skipIf(typeof Float16Array === 'undefined')('E5M2 is the upper byte of float16', () => {
  const halves = new Float32Array(new Float16Array(Uint16Array.from(ALL, (code) => code << 8).buffer));
  const wide = widen(ALL, 'F8_E5M2');
  ALL.forEach((code) => {
    if (!Object.is(wide[code], halves[code])) expect.fail(`${code}`);
  });
});
