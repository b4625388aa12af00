import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { selectValues } from '../../../src/codec/encode/select-values.ts';
import {
  encodeTaskVector,
  entropyBitsPerEntry,
  expand,
  expectedRiceGapBits,
  golombGapBits,
  golombParameter,
  riceGapBits,
  riceParameter,
  type ScaleMode,
  type TernaryTensor,
} from '../../../src/codec/index.ts';
import { withKernel } from '../../../src/codec/kernel/pool.ts';
import { keepCount } from '../../../src/codec/select.ts';
import { decodeAll, FIXTURES, MemorySource, readFixture, signsOf, temporaryDirectory } from './support.ts';

interface Sizes {
  d: number;
  nnz: number;
  n_pos: number;
  n_neg: number;
  density: number;
  bitmask_bits: number;
  rice_b: number;
  rice_position_bits: number;
  rice_total_bits: number;
  golomb_m: number;
  golomb_position_bits: number;
  golomb_total_bits: number;
  sign_bits: number;
  entropy_bits: number;
  entropy_bits_per_param: number;
  expected_rice_bits_per_nonzero: number;
}
interface Golden {
  groups: {
    group: string;
    d: number;
    sigma: number;
    sigma_per_tensor: Record<string, number>;
    scales: Record<string, number>;
    cases: {
      k: number;
      name: string;
      n_keep: number;
      least_squares_scale: number;
      global: Sizes;
      pertensor: Record<string, Sizes>;
      dequant: Record<string, { l2: number }>;
    }[];
  }[];
  theory: {
    k: number;
    golomb_m: number;
    rice_b: number;
    entropy_bits_per_param: number;
    expected_rice_bits_per_param: number;
  }[];
}

const golden: Golden = JSON.parse(readFileSync(new URL('golden/compeft.json', FIXTURES), 'utf8'));
const tensors = readFixture('golden/compeft.safetensors');

function inputs(group: string): MemorySource {
  const prefix = `in.${group}.`;
  return new MemorySource(
    [...tensors]
      .filter(([name]) => name.startsWith(prefix))
      .map(([name, { shape, values }]) => [name.slice(prefix.length), { shape, values: Float32Array.from(values) }]),
  );
}

function concat(parts: Iterable<ArrayLike<number>>): number[] {
  return [...parts].flatMap((part) => Array.from(part));
}

/** One selection over several tensors. */
function select(parts: readonly Float32Array[], k: number) {
  const values = Float32Array.from(concat(parts));
  const { masks, magnitude } = withKernel((kernel) => selectValues(kernel, values, k));
  const t: TernaryTensor = { ...masks, index: 0, elements: values.length, scale: 1 };
  return { signs: [...signsOf(t)], magnitude, nnz: masks.nnz };
}

function sizes(signs: ArrayLike<number>): Sizes {
  const d = signs.length;
  const all = Array.from(signs);
  const positions = all.flatMap((sign, i) => (sign === 0 ? [] : [i]));
  const nnz = positions.length;
  const p = nnz / d;
  const gaps = positions.map((position, i) => position - (i === 0 ? -1 : positions[i - 1]!) - 1);
  const m = golombParameter(p);
  const b = riceParameter(p);
  const golomb = gaps.reduce((sum, gap) => sum + golombGapBits(gap, m), 0);
  const rice = gaps.reduce((sum, gap) => sum + riceGapBits(gap, b), 0);
  return {
    d,
    nnz,
    n_pos: all.filter((sign) => sign > 0).length,
    n_neg: all.filter((sign) => sign < 0).length,
    density: p,
    bitmask_bits: 2 * d,
    rice_b: b,
    rice_position_bits: rice,
    rice_total_bits: rice + nnz,
    golomb_m: m,
    golomb_position_bits: golomb,
    golomb_total_bits: golomb + nnz,
    sign_bits: nnz,
    entropy_bits: entropyBitsPerEntry(p) * d,
    entropy_bits_per_param: entropyBitsPerEntry(p),
    expected_rice_bits_per_nonzero: expectedRiceGapBits(p),
  };
}

/** Integers exactly, reals to 1e-9. */
function expectSizes(actual: Sizes, expected: Sizes): void {
  expect(Object.keys(actual).sort()).toEqual(Object.keys(expected).sort());
  for (const [key, value] of Object.entries(expected)) {
    const found = actual[key as keyof Sizes];
    if (Number.isInteger(value) && !/density|entropy|expected/.test(key)) expect(found, key).toBe(value);
    else expect(Math.abs(found - value), key).toBeLessThanOrEqual(1e-9 * Math.abs(value));
  }
}

function close(actual: number, expected: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(1e-9 * Math.abs(expected));
}

describe.each(golden.groups)('golden group $group', ({ group, d, sigma, sigma_per_tensor, scales, cases }) => {
  const source = inputs(group);
  const names = source.table().map((t) => t.name);
  const read = () => Promise.all(names.map((name) => source.readFloat32(name)));

  test.each(cases)('$name: masks, counts and sizes of both selections', async (c) => {
    const parts = await read();
    expect(keepCount(c.k, d)).toBe(c.n_keep);

    const whole = select(parts, c.k);
    const mask = whole.signs;
    expect(mask).toEqual(concat([tensors.get(`global.${c.name}`)!.values]));
    expect(whole.nnz).toBe(c.global.nnz);
    expectSizes(sizes(mask), c.global);
    close(whole.magnitude, c.least_squares_scale);

    const each = parts.map((part) => select([part], c.k));
    expect(concat(each.map((s) => s.signs))).toEqual(concat([tensors.get(`pertensor.${c.name}`)!.values]));
    for (const [i, name] of names.entries()) {
      expect(each[i]!.nnz).toBe(c.pertensor[name]!.nnz);
      expectSizes(sizes(each[i]!.signs), c.pertensor[name]!);
    }
  });

  test.each(cases)('$name: encoded, the payload has these masks, scales and bit counts', async (c) => {
    const directory = await temporaryDirectory();
    const table = source.table();
    for (const mode of ['global', 'tensor'] satisfies ScaleMode[]) {
      for (const [factor, scale] of Object.entries(scales)) {
        const out = join(directory, 'payload');
        const input = {
          base: source.zeros(),
          finetune: source,
          table,
          density: c.k,
          scaleUnit: 'deviation' as const,
          scaleFactor: Number(factor),
          mode,
        };
        const report = await encodeTaskVector(input, out);
        const decoded = new Map((await decodeAll(out, table)).map((t) => [t.index, t]));
        const expectedMask = tensors.get(`${mode === 'global' ? 'global' : 'pertensor'}.${c.name}`)!.values;
        let at = 0;
        for (const [index, { name, elements }] of table.entries()) {
          const deviation = mode === 'global' ? sigma : sigma_per_tensor[name]!;
          const expected = expectedMask.subarray(at, at + elements);
          at += elements;
          // A deviation of 0 makes every entry 0, whatever the mask says: such a tensor is left out.
          const zero = deviation === 0 || expected.every((sign) => sign === 0);
          expect(decoded.has(index), name).toBe(!zero);
          if (zero) continue;
          const t = decoded.get(index)!;
          expect(signsOf(t)).toEqual(expected);
          close(report.tensors.find((entry) => entry.index === index)!.sigma ?? 0, deviation);
          expect(Math.abs(t.scale - Number(factor) * deviation)).toBeLessThanOrEqual(
            2 ** -24 * Number(factor) * deviation,
          );
        }
        if (mode === 'global') {
          close(report.sigma!, sigma);
          close(Number(factor) * report.sigma!, scale);
          expect(report.scales).toEqual(scale === 0 ? [] : [Math.fround(Number(factor) * report.sigma!)]);
          expect(report.nnz).toBe(sigma === 0 ? 0 : c.global.nnz);
          if (sigma !== 0) {
            close(report.leastSquaresScale, c.least_squares_scale);
            const dequantised = c.dequant[factor];
            if (dequantised)
              expect(
                norm(
                  table.map((t) => t.elements),
                  decoded,
                ),
              ).toBeCloseTo(dequantised.l2, 6);
          }
        }
      }
    }
  });

  test.each(cases)('$name: in units of the mean kept magnitude the masks are the same', async (c) => {
    const out = join(await temporaryDirectory(), 'payload');
    const table = source.table();
    const whole = Float32Array.from(concat(await read()));
    for (const mode of ['global', 'tensor'] satisfies ScaleMode[]) {
      const settings = { density: c.k, mode, scaleUnit: 'magnitude', scaleFactor: 1.5 } as const;
      const report = await encodeTaskVector({ base: source.zeros(), finetune: source, table, ...settings }, out);
      const decoded = new Map((await decodeAll(out, table)).map((t) => [t.index, t]));
      const expectedMask = tensors.get(`${mode === 'global' ? 'global' : 'pertensor'}.${c.name}`)!.values;
      let at = 0;
      for (const [index, { elements }] of table.entries()) {
        const expected = expectedMask.subarray(at, at + elements);
        const mean =
          mode === 'global' ? meanKept(whole, expectedMask) : meanKept(whole.subarray(at, at + elements), expected);
        at += elements;
        const t = decoded.get(index);
        expect(t === undefined).toBe(expected.every((sign) => sign === 0));
        if (t === undefined) continue;
        expect(signsOf(t)).toEqual(expected);
        expect(Math.abs(t.scale - 1.5 * mean)).toBeLessThanOrEqual(2 ** -23 * 1.5 * mean);
      }
      expect(report.sigma).toBeNull();
      if (mode === 'global') close(report.leastSquaresScale, c.least_squares_scale);
      else close(report.leastSquaresScale, report.nnz === 0 ? 0 : meanKept(whole, expectedMask));
    }
  });
});

/** Mean magnitude of the entries that a mask keeps, in float64. */
function meanKept(values: Float32Array, mask: ArrayLike<number>): number {
  const kept = values.filter((_, i) => mask[i] !== 0);
  return kept.reduce((sum, value) => sum + Math.abs(value), 0) / kept.length;
}

function norm(sizesOfTable: readonly number[], decoded: ReadonlyMap<number, TernaryTensor>): number {
  let squares = 0;
  for (const [index, elements] of sizesOfTable.entries()) {
    const values = new Float32Array(elements);
    const t = decoded.get(index);
    if (t) expand(t, values);
    for (const value of values) squares += value * value;
  }
  return Math.sqrt(squares);
}

test.each(golden.theory)('closed forms at density $k', (t) => {
  expect(golombParameter(t.k)).toBe(t.golomb_m);
  expect(riceParameter(t.k)).toBe(t.rice_b);
  close(entropyBitsPerEntry(t.k), t.entropy_bits_per_param);
  close((expectedRiceGapBits(t.k) + 1) * t.k, t.expected_rice_bits_per_param);
});
