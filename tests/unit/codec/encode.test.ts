import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type EncodeInput, encodeTaskVector, type FloatSource, tableOf } from '../../../src/codec/index.ts';
import { decodeAll, failure, MemorySource, signsOf, sourceOf, temporaryDirectory } from './support.ts';

const settings = { density: 0.5, mode: 'global', scaleUnit: 'deviation', scaleFactor: 2 } as const;

function input(base: FloatSource, finetune: FloatSource, more: Partial<EncodeInput> = {}): EncodeInput {
  return { base, finetune, table: tableOf(base), ...settings, ...more };
}

/** The rule of docs/algorithms.md B.1 by sorting. */
function keepBySorting(tau: Float32Array, density: number): Int8Array {
  const order = [...tau.keys()].sort((a, b) => Math.abs(tau[b]!) - Math.abs(tau[a]!) || a - b);
  const signs = new Int8Array(tau.length);
  for (const i of order.slice(0, Math.max(1, Math.floor(density * tau.length)))) signs[i] = Math.sign(tau[i]!);
  return signs;
}

// Few distinct magnitudes, so that ties are the rule, beside values that differ in their lowest bits only.
const value = fc.oneof(
  fc.constantFrom(0, -0, 1, -1, 2, -2, 0.5),
  fc.constantFrom(1, 2, 3, 70_000).map((ulps) => Math.fround(1 + ulps * 2 ** -23)),
  fc.float({ min: -4, max: 4, noNaN: true }),
);
const tensors = fc.array(fc.array(value, { maxLength: 40 }), { minLength: 1, maxLength: 5 });

describe('what is kept', () => {
  test('global: the largest of the whole vector, ties to the lower index, never a zero', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    await fc.assert(
      fc.asyncProperty(tensors, fc.double({ min: 0.01, max: 1, noNaN: true }), async (parts, density) => {
        const finetune = sourceOf(Object.fromEntries(parts.map((part, i) => [`t${i}`, part])));
        const table = finetune.table();
        const flat = Float32Array.from(parts.flat());
        const report = await encodeTaskVector(input(finetune.zeros(), finetune, { density }), out);
        const decoded = await decodeAll(out, table);
        if (report.scales.length === 0) {
          expect(new Set(flat).size).toBeLessThanOrEqual(2); // 0 and -0, or one value
          expect(decoded).toEqual([]);
          return;
        }
        const expected = keepBySorting(flat, density);
        const actual = new Int8Array(flat.length);
        let at = 0;
        for (const [index, { elements }] of table.entries()) {
          const t = decoded.find((entry) => entry.index === index);
          if (t) actual.set(signsOf(t), at);
          at += elements;
        }
        expect(actual).toEqual(expected);
        expect(report.nnz).toBe(expected.filter((sign) => sign !== 0).length);
      }),
      { numRuns: 150 },
    );
  });

  test('per tensor: the same rule and the own deviation of each', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    await fc.assert(
      fc.asyncProperty(tensors, fc.double({ min: 0.01, max: 1, noNaN: true }), async (parts, density) => {
        const finetune = sourceOf(Object.fromEntries(parts.map((part, i) => [`t${i}`, part])));
        const report = await encodeTaskVector(input(finetune.zeros(), finetune, { density, mode: 'tensor' }), out);
        const decoded = await decodeAll(out, finetune.table());
        for (const [index, part] of parts.entries()) {
          const t = decoded.find((entry) => entry.index === index);
          const values = Float32Array.from(part);
          if (t) expect(signsOf(t)).toEqual(keepBySorting(values, density));
          else expect(new Set(values).size).toBeLessThanOrEqual(2);
        }
        expect(report.scales).toEqual(decoded.map((t) => t.scale));
      }),
      { numRuns: 100 },
    );
  });

  test('the task vector is one float32 subtraction of float32 values', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    // In float64 the first difference is the larger; in float32 both are 2^-1, and the tie goes to the lower index.
    const base = sourceOf({ a: [2 ** -26, 0, 0, 0] });
    const finetune = sourceOf({ a: [0.5, 0.5 + 2 ** -25, 0, 0] });
    const report = await encodeTaskVector(input(base, finetune, { density: 0.25 }), out);
    expect(report.nnz).toBe(1);
    expect([...signsOf((await decodeAll(out, finetune.table()))[0]!)]).toEqual([1, 0, 0, 0]);
  });

  test('an entry that is zero is not kept where the share would take it, nor what lies behind the last entry', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    const finetune = sourceOf({ a: [0, 1, -0, -2, 0], b: [0, 0], c: [3, 0, 0] });
    for (const mode of ['global', 'tensor'] as const) {
      for (const scaleUnit of ['deviation', 'magnitude'] as const) {
        const report = await encodeTaskVector(input(finetune.zeros(), finetune, { mode, scaleUnit, density: 1 }), out);
        expect(report.nnz).toBe(3);
        const decoded = await decodeAll(out, finetune.table());
        expect(decoded.map((t) => [t.index, ...signsOf(t)])).toEqual([
          [0, 0, 1, 0, -1, 0],
          [2, 1, 0, 0],
        ]);
      }
    }
  });

  test('ties that are cut are kept in flat order across tensors', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    const finetune = sourceOf({ a: [1, 0, -1], b: [1, 1], c: [0, -1, 5, 1] });
    const report = await encodeTaskVector(input(finetune.zeros(), finetune, { density: 5 / 9 }), out);
    expect(report.nnz).toBe(5);
    const decoded = await decodeAll(out, finetune.table());
    expect(decoded.map((t) => [...signsOf(t)])).toEqual([
      [1, 0, -1],
      [1, 1],
      [0, 0, 1, 0],
    ]);
  });
});

describe('the scale', () => {
  const finetune = sourceOf({ a: [3, -1, 0, 0], b: [0.5, 0.25, -0.5, 0] });

  test('in units of the mean kept magnitude, one of the vector', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    const options = { density: 0.5, scaleUnit: 'magnitude', scaleFactor: 1.5 } as const;
    const report = await encodeTaskVector(input(finetune.zeros(), finetune, options), out);
    expect(report).toMatchObject({ sigma: null, leastSquaresScale: 1.25, scales: [1.875], nnz: 4 });
    expect((await decodeAll(out, finetune.table())).map((t) => t.scale)).toEqual([1.875, 1.875]);
  });

  test('in units of the mean kept magnitude, one per tensor', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    const options = { density: 0.5, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 2 } as const;
    const report = await encodeTaskVector(input(finetune.zeros(), finetune, options), out);
    expect(report).toMatchObject({ sigma: null, leastSquaresScale: 1.25, scales: [4, 1], nnz: 4 });
    expect(report.tensors).toEqual([
      { index: 0, nnz: 2, sigma: null, scale: 4 },
      { index: 1, nnz: 2, sigma: null, scale: 1 },
    ]);
  });

  test('in deviations of the unpruned vector, one per tensor', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    const sigma = Math.sqrt(9 / 3);
    const values = sourceOf({ a: [1.5, -1.5, 1.5, -1.5], b: [0, 0, 0, 0] });
    const report = await encodeTaskVector(input(values.zeros(), values, { mode: 'tensor' }), out);
    expect(report.tensors).toEqual([{ index: 0, nnz: 2, sigma, scale: Math.fround(2 * sigma) }]);
    expect(report.sigma).toBeNull();
  });
});

describe('vectors without a scale', () => {
  test.each([
    ['no difference', [0, 0, 0], [0, 0, 0]],
    ['the same difference everywhere', [1, 2, 3], [2, 3, 4]],
    ['differences too small for a normal float32', [0, 0, 0], [2e-40, -1e-40, 0]],
    ['no entry at all', [], []],
  ])('%s gives the zero payload', async (_, base, finetune) => {
    const out = join(await temporaryDirectory(), 'payload');
    const report = await encodeTaskVector(input(sourceOf({ a: base }), sourceOf({ a: finetune })), out);
    expect(report).toMatchObject({ bytes: 10, nnz: 0, scales: [], tensors: [], leastSquaresScale: 0, density: 0 });
    expect((await readFile(out)).length).toBe(10);
  });

  test('a scale beyond float32 is an error', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    const finetune = sourceOf({ a: [3e38, -3e38, 0] });
    const error = await failure(encodeTaskVector(input(finetune.zeros(), finetune), out));
    expect(error.code).toBe('SCALE_OVERFLOW');
    const perTensor = await failure(encodeTaskVector(input(finetune.zeros(), finetune, { mode: 'tensor' }), out));
    expect(perTensor.fields).toMatchObject({ tensor: 'a' });
  });
});

describe('input that is refused', () => {
  test.each([
    ['NaN in the fine-tune', [1, 2], [1, Number.NaN], 1],
    ['an infinity in the fine-tune', [1, 2], [Number.NEGATIVE_INFINITY, 2], 0],
    ['NaN in the base', [Number.NaN, 2], [1, 2], 0],
    ['infinities that cancel', [1, Number.POSITIVE_INFINITY], [1, Number.POSITIVE_INFINITY], 1],
    ['a difference beyond float32', [1, -3e38], [1, 3e38], 1],
  ])('%s: the error names the tensor, the target stays as it was', async (_, base, finetune, position) => {
    const directory = await temporaryDirectory();
    const out = join(directory, 'payload');
    await writeFile(out, 'before');
    for (const mode of ['global', 'tensor'] as const) {
      const a = sourceOf({ a: [0, 0], 'layer.weight': base });
      const b = sourceOf({ a: [0, 1], 'layer.weight': finetune });
      const error = await failure(encodeTaskVector(input(a, b, { mode }), out));
      expect(error.code).toBe('NOT_FINITE');
      expect(error.fields).toEqual({ tensor: 'layer.weight', position });
      expect(error.message).toContain('layer.weight');
    }
    expect(await readdir(directory)).toEqual(['payload']);
    expect(await readFile(out, 'utf8')).toBe('before');
  });

  test('every difference of names, shapes and dtypes is listed at once, before anything is read', async () => {
    const directory = await temporaryDirectory();
    const shape = (...dims: number[]) => ({ shape: dims, values: new Float32Array(dims.reduce((a, b) => a * b, 1)) });
    const base = new MemorySource([
      ['a', shape(2, 3)],
      ['b', shape(4)],
      ['c', shape(2)],
      ['d', shape(2)],
      ['ids', { ...shape(3), dtype: 'I64' }],
    ]);
    const finetune = new MemorySource([
      ['a', shape(3, 2)],
      ['c', shape(2)],
      ['d', { ...shape(2), dtype: 'I32' }],
      ['e', shape(1)],
      ['other.ids', { ...shape(1), dtype: 'I64' }],
    ]);
    const error = await failure(encodeTaskVector(input(base, finetune), join(directory, 'payload')));
    expect(error.code).toBe('TENSOR_MISMATCH');
    expect(error.fields.differences).toEqual([
      { checkpoint: 'fine-tune', problem: 'reshaped', tensor: 'a', expected: [2, 3], found: [3, 2] },
      { checkpoint: 'fine-tune', problem: 'missing', tensor: 'b', expected: [4] },
      { checkpoint: 'fine-tune', problem: 'not a float tensor', tensor: 'd', dtype: 'I32' },
      { checkpoint: 'fine-tune', problem: 'extra', tensor: 'e', found: [1] },
    ]);
    for (const name of ['"a"', '"b"', '"d"', '"e"', '[2,3]', '[3,2]']) expect(error.message).toContain(name);
    expect([base.reads, finetune.reads, await readdir(directory)]).toEqual([0, 0, []]);
  });

  test('a base that is not the table is named as such', async () => {
    const base = sourceOf({ a: [1], x: [1] });
    const finetune = sourceOf({ a: [1], b: [1] });
    const table = finetune.table();
    const out = join(await temporaryDirectory(), 'payload');
    const error = await failure(encodeTaskVector(input(base, finetune, { table }), out));
    expect(error.fields.differences).toEqual([
      { checkpoint: 'base', problem: 'missing', tensor: 'b', expected: [1] },
      { checkpoint: 'base', problem: 'extra', tensor: 'x', found: [1] },
    ]);
  });

  test.each<[string, Partial<EncodeInput>]>([
    ['density 0', { density: 0 }],
    ['density above 1', { density: 1.0001 }],
    ['density NaN', { density: Number.NaN }],
    ['scale factor 0', { scaleFactor: 0 }],
    ['a negative scale factor', { scaleFactor: -1 }],
    ['an infinite scale factor', { scaleFactor: Number.POSITIVE_INFINITY }],
    ['no thread', { threads: 0 }],
    ['a part of a thread', { threads: 1.5 }],
    ['an unknown mode', { mode: 'other' as 'global' }],
    ['an unknown scale unit', { scaleUnit: 'other' as 'deviation' }],
  ])('%s', async (_, more) => {
    const source = sourceOf({ a: [1, 2] });
    const out = join(await temporaryDirectory(), 'payload');
    expect((await failure(encodeTaskVector(input(source.zeros(), source, more), out))).code).toBe('BAD_PARAMETER');
  });

  test('a table whose names do not ascend by code point', async () => {
    const out = join(await temporaryDirectory(), 'payload');
    const source = sourceOf({ '\u{1f600}': [1], '\uffee': [2], a: [3] });
    expect(source.table().map((t) => t.name)).toEqual(['a', '\uffee', '\u{1f600}']);
    await encodeTaskVector(input(source.zeros(), source), out);
    const table = [...source.table()].reverse();
    expect((await failure(encodeTaskVector(input(source.zeros(), source, { table }), out))).code).toBe('BAD_TABLE');
  });
});
