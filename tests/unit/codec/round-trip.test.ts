import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  checkPayload,
  encodeTernary,
  encodeTernarySync,
  expand,
  golombGapBits,
  golombParameter,
  MAX_SCALE,
  MIN_SCALE,
  openPayload,
  popcount,
  type TensorTable,
  type TernaryTensor,
} from '../../../src/codec/index.ts';
import { codeWith, sectionParameter } from '../../../src/codec/section-choice.ts';
import { decodeAll, failure, payloadOf, share, signsOf, tableFor, temporaryDirectory, ternary } from './support.ts';

/** Tables with tensors of many lengths and densities, dense and sparse, clustered and spread. */
const signs = fc
  .record({
    length: fc.integer({ min: 0, max: 700 }),
    density: share,
    seed: fc.nat(),
  })
  .map(({ length, density, seed }) => {
    let state = seed;
    return Int8Array.from({ length }, () => {
      state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
      const u = state / 2 ** 32;
      return u < density / 2 ? 1 : u < density ? -1 : 0;
    });
  });
const wireScale = fc
  .float({ min: MIN_SCALE, max: MAX_SCALE, noNaN: true })
  .filter((scale) => scale >= MIN_SCALE && scale <= MAX_SCALE);
const vectors = fc.record({
  parts: fc.array(signs, { maxLength: 8 }),
  scales: fc.array(wireScale, { minLength: 8, maxLength: 8 }),
  perTensor: fc.boolean(),
});

function build(v: { parts: Int8Array[]; scales: number[]; perTensor: boolean }): [TensorTable, TernaryTensor[]] {
  const tensors = v.parts.flatMap((part, i) =>
    part.some((sign) => sign !== 0) ? [ternary(i, part, v.scales[v.perTensor ? i : 0]!)] : [],
  );
  return [tableFor(...v.parts.map((part) => part.length)), tensors];
}

describe('payload round trip', () => {
  test('decode(encode(x)) = x, from bytes and from a file, and encode(decode(b)) = b', async () => {
    const path = join(await temporaryDirectory(), 'payload');
    await fc.assert(
      fc.asyncProperty(vectors, async (v) => {
        const [table, tensors] = build(v);
        const bytes = encodeTernarySync(table, tensors);
        const decoded = await decodeAll(bytes, table);
        expect(decoded).toEqual(tensors);
        expect(await encodeTernary(table, decoded)).toEqual(bytes);
        await writeFile(path, bytes);
        expect(await decodeAll(path, table)).toEqual(tensors);
      }),
      { numRuns: 150 },
    );
  });

  test('the measure of a full pass equals the one taken from the signs', async () => {
    await fc.assert(
      fc.asyncProperty(vectors, async (v) => {
        const [table, tensors] = build(v);
        const bytes = encodeTernarySync(table, tensors);
        const measure = await checkPayload(bytes, table);
        let squares = 0;
        let sum = 0;
        for (const t of tensors) {
          squares += t.scale * t.scale * t.nnz;
          sum += t.scale * (popcount(t.plus) - popcount(t.minus));
        }
        expect(measure).toEqual({
          bytes: bytes.length,
          tensors: tensors.map((t) => ({
            index: t.index,
            scale: t.scale,
            entries: t.nnz,
            sum: popcount(t.plus) - popcount(t.minus),
            squares: t.nnz,
            peak: 1,
          })),
          elements: table.reduce((n, t) => n + t.elements, 0),
          nnz: tensors.reduce((n, t) => n + t.nnz, 0),
          norm: Math.sqrt(squares),
          sum,
        });
      }),
      { numRuns: 100 },
    );
  });

  test('any tensor can be read alone; one without entries is null', async () => {
    const parts = [Int8Array.of(0, 1, -1), Int8Array.of(0, 0), Int8Array.of(-1), Int8Array.of()];
    const table = tableFor(3, 2, 1, 0);
    const tensors = [ternary(0, parts[0]!), ternary(2, parts[2]!)];
    const reader = await openPayload(encodeTernarySync(table, tensors), table);
    expect(await reader.tensor(2)).toEqual(tensors[1]);
    expect(await reader.tensor(0)).toEqual(tensors[0]);
    expect(await reader.tensor(1)).toBeNull();
    expect(await reader.tensor(3)).toBeNull();
    expect(reader.sections.map((s) => [s.index, s.nnz])).toEqual([
      [0, 2],
      [2, 1],
    ]);
    expect(reader.nnz).toBe(3);
    expect(reader.mode).toBe('global');
    await reader.close();
    await reader.close();
  });

  test('runs far longer than a word, and the largest parameters, come back', async () => {
    const n = 3_000_000;
    const table = tableFor(n);
    for (const positions of [[n - 1], [0], [0, n - 1], [5, 6, 7, 2_900_000], [31, 32, 63, 64, 1_000_000]]) {
      const values = new Int8Array(n);
      for (const [i, position] of positions.entries()) values[position] = i % 2 === 0 ? -1 : 1;
      const tensor = ternary(0, values);
      const bytes = encodeTernarySync(table, [tensor]);
      expect(bytes.length).toBeLessThan(50);
      expect(await decodeAll(bytes, table)).toEqual([tensor]);
    }
    // A dense head makes M = 1, so the last gap is a unary run of a million bits.
    const values = new Int8Array(n).fill(1, 0, 2_000_000);
    values[n - 1] = -1;
    const tensor = ternary(0, values);
    const bytes = encodeTernarySync(table, [tensor]);
    expect(await decodeAll(bytes, table)).toEqual([tensor]);
    expect(sectionParameter(n, tensor.nnz)).toBe(1);
    const long = payloadOf(tensor, { golombM: 1 }, codeWith(tensor, { golombM: 1 }));
    expect(await decodeAll(long, table)).toEqual([tensor]);
    expect(bytes.length).toBeLessThan(long.length);
  });

  test('the zero payload is ten bytes and has one form', async () => {
    const table = tableFor(5, 7);
    const bytes = encodeTernarySync(table, []);
    expect(bytes.length).toBe(10);
    expect(await decodeAll(bytes, table)).toEqual([]);
    expect(await checkPayload(bytes, table)).toEqual({ bytes: 10, tensors: [], elements: 12, nnz: 0, norm: 0, sum: 0 });
  });

  test('scales that agree go to the header, others to their tensors', async () => {
    const table = tableFor(2, 2);
    const same = encodeTernarySync(table, [ternary(0, [1, 0], 0.5), ternary(1, [0, -1], 0.5)]);
    const different = encodeTernarySync(table, [ternary(0, [1, 0], 0.5), ternary(1, [0, -1], 0.25)]);
    expect(different.length).toBe(same.length + 4);
    expect((await openPayload(same, table)).mode).toBe('global');
    expect((await openPayload(different, table)).mode).toBe('tensor');
  });

  test('an aborted signal stops a decode between tensors', async () => {
    const table = tableFor(4, 4);
    const bytes = encodeTernarySync(table, [ternary(0, [1, 0, 0, 1]), ternary(1, [0, -1, 0, 0])]);
    const reader = await openPayload(bytes, table);
    const controller = new AbortController();
    const seen: number[] = [];
    const run = async () => {
      for await (const t of reader.tensors({ signal: controller.signal })) {
        seen.push(t.index);
        controller.abort(new Error('enough'));
      }
    };
    await expect(run()).rejects.toThrow('enough');
    expect(seen).toEqual([0]);
    await expect(checkPayload(bytes, table, { signal: controller.signal })).rejects.toThrow('enough');
  });
});

describe('sizes', () => {
  test('no code is longer than the two masks it stands for, whatever the positions', () => {
    // Bits are at most (elements - nnz) / M unary zeros, and terminator, longer remainder and sign per entry.
    for (let elements = 1; elements <= 1200; elements++) {
      for (let nnz = 1; nnz <= elements; nnz++) {
        const m = sectionParameter(elements, nnz);
        const width = m === 1 ? 0 : 32 - Math.clz32(m - 1);
        const most = Math.floor((elements - nnz) / m) + nnz * (2 + width);
        if (Math.ceil(most / 8) > Math.ceil(elements / 4)) expect.fail(`${nnz} of ${elements}: ${most} bits`);
      }
    }
  });

  test('the bits of Golomb codes are those of the formulas', async () => {
    await fc.assert(
      fc.asyncProperty(signs, async (part) => {
        fc.pre(part.some((sign) => sign !== 0));
        const table = tableFor(part.length);
        const t = ternary(0, part);
        const golombM = sectionParameter(t.elements, t.nnz);
        expect(golombM).toBe(golombParameter(t.nnz / part.length));
        const code = codeWith(t, { golombM });
        expect(await decodeAll(payloadOf(t, { golombM }, code), table)).toEqual([t]);
        // The encoder takes what is smaller.
        const { byteLength } = (await openPayload(encodeTernarySync(table, [t]), table)).sections[0]!;
        expect(byteLength).toBeLessThanOrEqual(code.length);
        let bits = 0;
        let next = 0;
        for (const [i, sign] of part.entries()) {
          if (sign === 0) continue;
          bits += golombGapBits(i - next, golombM) + 1;
          next = i + 1;
        }
        expect(code.length).toBe(Math.ceil(bits / 8));
      }),
      { numRuns: 100 },
    );
  });
});

describe('ternary tensors', () => {
  test('expand writes scale, -scale and 0, and nothing past the tensor', () => {
    const scale = Math.fround(0.1);
    const values = Int8Array.from({ length: 70 }, (_, i) => [1, 0, -1][i % 3]!);
    const out = new Float32Array(72).fill(9);
    expand(ternary(0, values, scale), out);
    expect([...out]).toEqual([...[...values].map((sign) => (sign === 0 ? 0 : sign * scale)), 9, 9]);
    expect(signsOf(ternary(0, values, scale))).toEqual(values);
    expect(() => expand(ternary(0, values, scale), new Float32Array(69))).toThrow('69');
  });

  const good = ternary(0, [1, -1, 0]);
  test.each([
    ['an index outside the table', { ...good, index: 2 }],
    ['a fractional index', { ...good, index: 0.5 }],
    ['other elements than the table', { ...good, elements: 4 }],
    ['a wrong count', { ...good, nnz: 1 }],
    ['no entry', { ...good, nnz: 0, plus: new Uint32Array(1), minus: new Uint32Array(1) }],
    ['masks that overlap', { ...good, minus: Uint32Array.of(3), nnz: 3 }],
    ['bits past the end', { ...good, plus: Uint32Array.of(9), nnz: 3 }],
    ['short masks', { ...good, plus: new Uint32Array(0) }],
    ['scale 0', { ...good, scale: 0 }],
    ['a scale that is not float32', { ...good, scale: 0.1 }],
  ])('the encoder refuses %s', async (_, tensor) => {
    const table = tableFor(3, 3);
    expect((await failure(encodeTernary(table, [tensor]))).code).toBe('BAD_TENSOR');
  });

  test('the encoder refuses tensors out of order', async () => {
    const table = tableFor(3, 3);
    const pair = [ternary(1, [1, 0, 0]), ternary(0, [1, 0, 0])];
    expect((await failure(encodeTernary(table, pair))).code).toBe('BAD_TENSOR');
    expect((await failure(encodeTernary(table, [pair[0]!, pair[0]!]))).code).toBe('BAD_TENSOR');
  });
});
