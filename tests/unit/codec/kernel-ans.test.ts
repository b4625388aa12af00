import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type AnsModel, checkPayload, type TernaryTensor } from '../../../src/codec/index.ts';
import { CODE_PADDING, Kernel } from '../../../src/codec/kernel/kernel.ts';
import { MAX_WIDTH, MIN_WIDTH } from '../../../src/codec/limits.ts';
import { codeWith } from '../../../src/codec/section-choice.ts';
import { referenceDecode } from './reference-decoder.ts';
import { bandedSigns, decodeAll, fault, payloadOf, randomNumbers, signsOf, tableFor, ternary } from './support.ts';

const FLAT: AnsModel = { width: 0, rows: 0, columns: 0 };

/** Codes a tensor and decodes it again, by this decoder and, where asked, by the one written from the document. */
async function expectRoundTrip(t: TernaryTensor, model: AnsModel, independent: boolean): Promise<void> {
  const coding = { golombM: 0, model };
  const code = codeWith(t, coding);
  if (code.length > Math.ceil(t.elements / 4)) {
    // The format has no such code: a small tensor's state outweighs its entries, and Golomb is taken.
    expect(t.elements).toBeLessThan(1000);
    return;
  }
  const bytes = payloadOf(t, coding, code);
  const table = tableFor(t.elements);
  const [decoded] = await decodeAll(bytes, table);
  expect(decoded!.nnz).toBe(t.nnz);
  expect(Buffer.from(decoded!.plus.buffer).equals(Buffer.from(t.plus.buffer))).toBe(true);
  expect(Buffer.from(decoded!.minus.buffer).equals(Buffer.from(t.minus.buffer))).toBe(true);
  // Without masks it counts the same.
  expect((await checkPayload(bytes, table)).nnz).toBe(t.nnz);
  if (independent) {
    const [reference] = referenceDecode(bytes, table)!;
    expect(Buffer.from(reference!.signs.buffer).equals(Buffer.from(signsOf(t).buffer))).toBe(true);
  }
}

const SIGNS = {
  'all plus': () => 1,
  'all minus': () => -1,
  'either sign': (random: () => number) => (random() < 0.5 ? -1 : 1),
};

function signsOfDensity(elements: number, density: number, sign: (random: () => number) => number): Int8Array {
  const random = randomNumbers(elements + Math.round(1e6 * density));
  const signs = Int8Array.from({ length: elements }, () => (random() < density ? sign(random) : 0));
  if (signs.every((s) => s === 0)) signs[elements >> 1] = 1;
  return signs;
}

// The code is written over the symbols that it is made from: where these are few or their codes long, it is close to them.
describe.each(Object.entries(SIGNS))('entries with %s', (_, sign) => {
  test.each([0.00001, 0.0005, 0.02, 0.5, 0.98, 0.9995, 1])(
    'at density %d round trip under every kind of model',
    async (p) => {
      const models: [number, AnsModel][] = [
        [16 * 700, FLAT],
        [16 * 700, { width: MIN_WIDTH, rows: 1, columns: 1 }],
        [16 * 700, { width: MIN_WIDTH, rows: 15, columns: 0 }],
        [16 * 700, { width: 1400, rows: 0, columns: 4 }],
        [16 * 700, { width: 1400, rows: 3, columns: 15 }],
        [16 * 700, { width: 16 * 700, rows: 1, columns: 0 }],
      ];
      for (const [elements, model] of models) {
        await expectRoundTrip(ternary(0, signsOfDensity(elements, p, sign)), model, true);
      }
      await expectRoundTrip(
        ternary(0, signsOfDensity(2 * MAX_WIDTH, p, sign)),
        { width: MAX_WIDTH, rows: 2, columns: 2 },
        false,
      );
      await expectRoundTrip(ternary(0, signsOfDensity(65_536 * 3 + 1, p, sign)), FLAT, false);
    },
  );
});

test('widest rows are decoded by the decoder of the document too', async () => {
  const signs = bandedSigns(2 * MAX_WIDTH, MAX_WIDTH, 0.1, 12);
  await expectRoundTrip(ternary(0, signs), { width: MAX_WIDTH, rows: 3, columns: 1 }, true);
}, 60_000);

test.each([1, 15])('levels that reach their ends: full and empty columns and rows, prior 2^%d', async (strength) => {
  const width = 64;
  const rows = 300;
  const random = randomNumbers(strength);
  const signs = Int8Array.from({ length: width * rows }, (_, i) => {
    const row = Math.floor(i / width);
    const full = i % width < 8 || row % 10 === 0;
    const empty = i % width >= 32 && row % 10 !== 0;
    if (empty) return random() < 0.0002 ? 1 : 0;
    return full || random() < 0.1 ? (random() < 0.5 ? -1 : 1) : 0;
  });
  for (const [r, c] of [
    [strength, strength],
    [strength, 0],
    [0, strength],
  ] as const) {
    await expectRoundTrip(ternary(0, signs), { width, rows: r, columns: c }, true);
  }
});

test.each([
  ['first all entries, then none', (i: number, n: number) => i < n / 2],
  ['first none, then all', (i: number, n: number) => i >= n / 2],
  ['one run in the middle', (i: number, n: number) => i > 0.4 * n && i < 0.6 * n],
  ['only the last', (i: number, n: number) => i === n - 1],
  ['only the first', (i: number) => i === 0],
  ['runs of a word', (i: number) => (i >> 5) % 2 === 0],
] as const)('%s', async (_, kept) => {
  for (const elements of [16, 4096, 65_536, 65_536 + 16, 131_072]) {
    const t = ternary(
      0,
      Int8Array.from({ length: elements }, (_, i) => (kept(i, elements) ? (i % 3 === 0 ? -1 : 1) : 0)),
    );
    for (const model of [
      FLAT,
      { width: 16, rows: 4, columns: 4 },
      { width: elements === 16 ? 16 : 4096, rows: 0, columns: 2 },
    ]) {
      if (elements % Math.max(1, model.width) !== 0) continue;
      await expectRoundTrip(t, model, elements <= 4096);
    }
  }
});

test('any tensor under any model', async () => {
  const cases = fc.record({
    width: fc.constantFrom(16, 17, 31, 32, 33, 100, 129, 513),
    rowCount: fc.integer({ min: 1, max: 24 }),
    rows: fc.integer({ min: 0, max: 15 }),
    columns: fc.integer({ min: 0, max: 15 }),
    density: fc.constantFrom(0.0001, 0.001, 0.03, 0.3, 0.7, 0.97, 0.999, 1),
    banded: fc.boolean(),
    seed: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(cases, async ({ width, rowCount, rows, columns, density, banded, seed }) => {
      const elements = width * rowCount;
      const random = randomNumbers(seed);
      const signs = banded
        ? bandedSigns(elements, width, density, seed)
        : Int8Array.from({ length: elements }, () => (random() < density ? (random() < 0.5 ? -1 : 1) : 0));
      if (signs.every((s) => s === 0)) signs[seed % elements] = -1;
      const model = rows + columns === 0 ? FLAT : { width, rows, columns };
      await expectRoundTrip(ternary(0, signs), model, true);
    }),
    { numRuns: 300 },
  );
}, 60_000);

describe('code that ends too early', () => {
  /** Code that goes on for far longer than it is: one element in 2^13 is expected, and every one is an entry. */
  const starved = (length: number) => {
    const code = new Uint8Array(length);
    code.set([0, 0x80, 0, 0]);
    return code;
  };

  test.each([
    ['flat', 65_536 * 2, FLAT],
    ['in the widest rows', 2 * MAX_WIDTH, { width: MAX_WIDTH, rows: 0, columns: 1 }],
    ['in narrow rows', 16 * 4096, { width: 16, rows: 1, columns: 1 }],
  ] as const)('is refused, %s, wherever it ends', async (_, elements, model) => {
    const t = { ...ternary(0, Int8Array.of(1)), elements };
    for (const length of [4, 5, 6, 30]) {
      const bytes = payloadOf({ ...t, nnz: Math.min(2, 8 * length - 24) }, { golombM: 0, model }, starved(length));
      expect(await fault(bytes, tableFor(elements))).toBe('BAD_SECTION_LENGTH');
    }
  });

  test('is not read beyond its padding, even where memory ends there', () => {
    for (const [elements, model] of [
      [65_536 * 4, FLAT],
      [2 * MAX_WIDTH, { width: MAX_WIDTH, rows: 0, columns: 1 }],
      [2 * MAX_WIDTH, { width: MAX_WIDTH, rows: 15, columns: 0 }],
    ] as const) {
      for (const share of [0.00001, 0.5, 0.999]) {
        const kernel = new Kernel();
        const length = 301;
        const at = kernel.bytes - length - CODE_PADDING;
        const code = kernel.u8(at, length + CODE_PADDING);
        code.fill(0);
        for (let i = 2; i < length; i++) code[i] = (i * 97) & 0xff;
        code[1] = 0xff;
        kernel.calls.decode_to(0, 0);
        let verdict = kernel.beginAns(at, length, elements, Math.ceil(share * elements), model);
        while (verdict === 'more') verdict = kernel.runDecoder(true, 1000);
        expect(['BAD_SECTION_LENGTH', 'BAD_COUNT']).toContain(verdict);
      }
    }
  });

  test('any cut of a code is refused, and a byte more too', async () => {
    const t = ternary(0, bandedSigns(100 * 64, 64, 0.2, 4));
    for (const model of [FLAT, { width: 64, rows: 2, columns: 2 }]) {
      const coding = { golombM: 0, model };
      const code = codeWith(t, coding);
      for (let length = 4; length < code.length; length += 1 + (length >> 4)) {
        const bytes = payloadOf(t, coding, code.subarray(0, length));
        await expect(checkPayload(bytes, tableFor(t.elements))).rejects.toMatchObject({
          code: expect.stringMatching(/^(BAD_SECTION_LENGTH|BAD_COUNT)$/),
        });
      }
      const longer = Uint8Array.from([...code, 0]);
      expect(await fault(payloadOf(t, coding, longer), tableFor(t.elements))).toBe('BAD_SECTION_LENGTH');
    }
  });
});
