import { createHash } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type AnsModel,
  checkPayload,
  encodeTernarySync,
  entropyBoundBits,
  openPayload,
  type TernaryTensor,
  ternaryFromSigns,
} from '../../../src/codec/index.ts';
import { MAX_WIDTH, MIN_WIDTH } from '../../../src/codec/limits.ts';
import { codeSection, codeWith, sectionParameter } from '../../../src/codec/section-choice.ts';
import { log256 } from '../../../src/codec/spread.ts';
import {
  bandedSigns,
  codingOf,
  decodeAll,
  failure,
  payloadOf,
  randomNumbers,
  share,
  tableFor,
  tableOfShapes,
} from './support.ts';

const FLAT: AnsModel = { width: 0, rows: 0, columns: 0 };

/** A tensor whose kept positions and signs are uniform. */
function uniform(index: number, elements: number, density: number, random: () => number): TernaryTensor {
  const plus = new Uint32Array(Math.ceil(elements / 32));
  const minus = new Uint32Array(plus.length);
  let nnz = 0;
  for (let i = 0; i < elements; i++) {
    const u = random();
    if (u >= density) continue;
    (u < density / 2 ? plus : minus)[i >>> 5]! |= 1 << (i & 31);
    nnz++;
  }
  return { index, elements, scale: 0.5, plus, minus, nnz };
}

describe('size', () => {
  // 10 M parameters in 16 tensors take 1.0015, 1.0004, 1.0003, 1.0002 and 1.0001 times the bound.
  test.each([0.01, 0.05, 0.1, 0.2, 0.5])('uniform positions at density %d take at most 1.005 times the bound', (p) => {
    const shapes = [[1000, 600], [500, 512], [64, 16, 7, 7], [140_000]];
    const table = tableOfShapes(...shapes);
    const random = randomNumbers(1000 * p);
    const tensors = table.flatMap((t, i) => uniform(i, t.elements, p, random)).filter((t) => t.nnz > 0);
    const elements = table.reduce((n, t) => n + t.elements, 0);
    expect(elements).toBeGreaterThan(1_000_000);
    const nnz = tensors.reduce((n, t) => n + t.nnz, 0);
    const bytes = encodeTernarySync(table, tensors);
    expect(bytes.length).toBeLessThanOrEqual((1.005 * entropyBoundBits(nnz / elements, elements)) / 8);
  });

  test('rows and columns of different density are coded below the bound of one density, uniform ones are left alone', () => {
    const banded = ternaryFromSigns(0, bandedSigns(100_000, 400, 0.1, 5), 0.5)!;
    const { coding, code } = codeSection(banded, [250, 400]);
    expect(coding.model).toMatchObject({ width: 400 });
    expect(coding.model!.rows * coding.model!.columns).toBeGreaterThan(0);
    expect(code.length).toBeLessThan((0.9 * entropyBoundBits(banded.nnz / 100_000, 100_000)) / 8);
    // The same entries as one dimension have no rows to learn.
    expect(codeSection(banded, [100_000]).coding).toEqual({ golombM: 0, model: FLAT });
    const flat = uniform(0, 100_000, 0.1, randomNumbers(3));
    expect(codeSection(flat, [250, 400]).coding).toEqual({ golombM: 0, model: FLAT });
  });

  test('the code is the same on every machine', () => {
    const t = ternaryFromSigns(0, bandedSigns(128 * 384, 384, 0.2, 77), 0.5)!;
    const { coding, code } = codeSection(t, [128, 384]);
    expect(coding).toEqual({ golombM: 0, model: { width: 384, rows: 2, columns: 2 } });
    expect(createHash('sha256').update(code).digest('hex')).toBe(
      '9da7cf3e62d26a98a87c61ba9b5d515a23e733aac19c7f29d879b2d3f6a7500f',
    );
  });

  test('a convolution is seen as the matrix that tells most', () => {
    // Densities differ by the first two dimensions of four.
    const t = ternaryFromSigns(0, bandedSigns(40 * 32 * 9, 32 * 9, 0.15, 9), 0.5)!;
    expect(codeSection(t, [40, 32, 3, 3]).coding.model?.width).toBe(288);
  });

  test('a few entries stay with Golomb', () => {
    const t = ternaryFromSigns(0, Int8Array.of(0, 1, 0, 0, -1), 0.5)!;
    expect(codeSection(t, [5]).coding.golombM).toBeGreaterThan(0);
  });

  test('the code is never longer than that of Golomb', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 60 }), share, fc.nat(), (n, p, seed) => {
        const t = ternaryFromSigns(0, bandedSigns(n * 24, 24, p, seed), 0.5);
        fc.pre(t !== null);
        const golomb = codeWith(t!, { golombM: sectionParameter(t!.elements, t!.nnz) });
        expect(codeSection(t!, [n, 24]).code.length).toBeLessThanOrEqual(golomb.length);
      }),
      { numRuns: 100 },
    );
  });
});

describe('round trip', () => {
  const shape = fc.oneof(
    fc.constantFrom([], [0], [1], [1, 1], [7, 0, 3], [1, 40], [40, 1]),
    fc.tuple(fc.integer({ min: 1, max: 3000 })),
    fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 120 })),
    fc.tuple(fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 }), fc.integer({ min: 1, max: 20 })),
    fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 4, maxLength: 5 }),
  );

  test('decode(encode(x)) = x for shapes of any rank, densities 0 to 1, spread evenly and not', async () => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ shape, density: share, seed: fc.nat() }), {
          maxLength: 4,
        }),
        fc.boolean(),
        async (parts, banded) => {
          const table = tableOfShapes(...parts.map((part) => part.shape));
          const tensors = parts.flatMap(({ shape: dims, density, seed }, i) => {
            const { elements } = table[i]!;
            const width = banded ? Math.max(1, dims.at(-1) ?? 1) : Math.max(1, elements);
            return ternaryFromSigns(i, bandedSigns(elements, width, density, seed), 0.5) ?? [];
          });
          const bytes = encodeTernarySync(table, tensors);
          const decoded = await decodeAll(bytes, table);
          expect(decoded).toEqual(tensors);
          expect(encodeTernarySync(table, decoded)).toEqual(bytes);
          const reader = await openPayload(bytes, table);
          for (const section of reader.sections) seen.add(codingOf(section));
          expect((await checkPayload(bytes, table)).nnz).toBe(reader.nnz);
        },
      ),
      { numRuns: 200, examples: [[[{ shape: [40, 60], density: 0.2, seed: 3 }], true]] },
    );
    expect([...seen].sort()).toEqual(['flat', 'golomb', 'rows']);
  }, 60_000);

  test.each<[string, number, AnsModel, (i: number) => number]>([
    ['all entries', 4096, FLAT, () => 1],
    ['all entries, with rows', 4096, { width: 16, rows: 1, columns: 1 }, () => -1],
    ['one entry at the end of the last of several segments', 200_000, FLAT, (i) => (i === 199_999 ? 1 : 0)],
    ['one entry at the end of the last row', 40_000, { width: 200, rows: 15, columns: 15 }, (i) => +(i === 39_999)],
    ['gaps of exactly one symbol and more', 70_000, FLAT, (i) => +[255, 512, 769, 65_535, 65_536].includes(i)],
    ['rows of opposite density', 64_000, { width: 320, rows: 1, columns: 1 }, (i) => Math.floor(i / 320) % 2],
    ['columns that turn', 64_000, { width: 320, rows: 1, columns: 1 }, (i) => +(i % 320 < 160 === i < 32_000)],
    ['more rows than columns remember', 16 * 140_000, { width: 16, rows: 0, columns: 4 }, (i) => +(i % 48 === 5)],
    ['the widest rows', 4 * MAX_WIDTH, { width: MAX_WIDTH, rows: 3, columns: 3 }, (i) => (i % 9 === 0 ? -1 : 0)],
    ['the narrowest rows', 10 * MIN_WIDTH, { width: MIN_WIDTH, rows: 3, columns: 0 }, (i) => +(i % 3 === 0)],
  ])('%s', async (_, elements, model, sign) => {
    const t = ternaryFromSigns(
      0,
      Int8Array.from({ length: elements }, (__, i) => sign(i)),
      0.5,
    )!;
    const bytes = payloadOf(t, { golombM: 0, model }, codeWith(t, { golombM: 0, model }));
    expect(await decodeAll(bytes, tableFor(elements))).toEqual([t]);
    expect((await checkPayload(bytes, tableFor(elements))).nnz).toBe(t.nnz);
  });
});

describe('integrity', () => {
  const t = ternaryFromSigns(0, bandedSigns(60 * 50, 50, 0.2, 11), 0.5)!;
  const model = { width: 50, rows: 4, columns: 4 };
  const code = codeWith(t, { golombM: 0, model });
  const table = tableFor(3000);

  test('a changed bit anywhere in the code is noticed or gives other entries', async () => {
    const codes = new Set<string>();
    let noticed = 0;
    for (let bit = 0; bit < code.length * 8; bit++) {
      const changed = code.slice();
      changed[bit >>> 3]! ^= 1 << (bit & 7);
      const bytes = payloadOf(t, { golombM: 0, model }, changed);
      const result = await checkPayload(bytes, table).catch((error: { code: string }) => error);
      if ('code' in result) {
        noticed++;
        codes.add(result.code);
      } else {
        // What is left: a bit that was a sign, as in any code that spends one bit on it.
        const [other] = await decodeAll(bytes, table);
        expect(codeWith(other!, { golombM: 0, model })).toEqual(changed);
      }
    }
    expect(noticed).toBeGreaterThan(code.length * 6);
    expect([...codes].sort()).toEqual(['BAD_CODER_STATE', 'BAD_COUNT', 'BAD_SECTION_LENGTH']);
  });

  test('code that is cut, longer, or of another count is refused', async () => {
    const refuse = async (changed: Uint8Array, nnz = t.nnz) =>
      (await failure(checkPayload(payloadOf({ ...t, nnz }, { golombM: 0, model }, changed), table))).code;
    expect(await refuse(code.subarray(0, code.length - 1))).toBe('BAD_SECTION_LENGTH');
    expect(await refuse(Uint8Array.of(...code, 0))).toBe('BAD_SECTION_LENGTH');
    // The count is part of the model: another one decodes to other entries.
    expect(['BAD_COUNT', 'BAD_SECTION_LENGTH']).toContain(await refuse(code, t.nnz + 1));
  });
});

test('the logarithm is exact at powers of two and off by less than a tenth of an octave', () => {
  for (let v = 1; v < 2 ** 32; v = Math.ceil(v * 1.37)) {
    expect(Math.abs(log256(v) / 256 - Math.log2(v))).toBeLessThan(0.1);
  }
  for (let e = 0; e < 32; e++) expect(log256(2 ** e)).toBe(256 * e);
  expect(log256(2 ** 32 - 1)).toBe(256 * 32 - 1);
});
