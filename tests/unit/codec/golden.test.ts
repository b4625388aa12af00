import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
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
import { keepCount, Ternariser, TopK } from '../../../src/codec/select.ts';
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

/** The mask of one selection over several tensors. */
function select(parts: Float32Array[], k: number): { signs: Int8Array[]; magnitudes: number; nnz: number } {
  const topK = new TopK(
    keepCount(
      k,
      parts.reduce((n, part) => n + part.length, 0),
    ),
  );
  for (const part of parts) topK.countUpper(part, 0, part.length);
  topK.locate();
  for (const part of parts) topK.countLower(part, 0, part.length);
  const threshold = topK.threshold();
  const ternariser = new Ternariser(threshold);
  let magnitudes = 0;
  const signs = parts.map((part, index) => {
    const taken = ternariser.take(index, part, 1);
    magnitudes += taken.magnitudes;
    return taken.tensor ? signsOf(taken.tensor) : new Int8Array(part.length);
  });
  return { signs, magnitudes, nnz: threshold.kept };
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
    const mask = concat(whole.signs);
    expect(mask).toEqual(concat([tensors.get(`global.${c.name}`)!.values]));
    expect(whole.nnz).toBe(c.global.nnz);
    expectSizes(sizes(mask), c.global);
    close(whole.nnz === 0 ? 0 : whole.magnitudes / whole.nnz, c.least_squares_scale);

    const each = parts.map((part) => select([part], c.k));
    expect(concat(each.flatMap((s) => s.signs))).toEqual(concat([tensors.get(`pertensor.${c.name}`)!.values]));
    for (const [i, name] of names.entries()) {
      expect(each[i]!.nnz).toBe(c.pertensor[name]!.nnz);
      expectSizes(sizes(each[i]!.signs[0]!), c.pertensor[name]!);
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
          close(report.tensors.find((entry) => entry.index === index)!.sigma, deviation);
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
});

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
