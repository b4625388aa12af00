import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeTernarySync, isLowRankShape, ternaryFromSigns } from '../../../src/codec/index.ts';
import { codeWith } from '../../../src/codec/section-choice.ts';
import { referenceDecode } from './reference-decoder.ts';
import {
  bandedSigns,
  DOCUMENT_LOW_RANK,
  integersOf,
  lowRank,
  payloadOf,
  randomNumbers,
  readAll,
  share,
  signsOf,
  tableFor,
  ternary,
} from './support.ts';

test('a decoder written from the document reads what the encoder writes', () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.constantFrom(0, 0, 0, 0, 1, -1), { maxLength: 200 }), { maxLength: 5 }),
      fc.boolean(),
      (parts, perTensor) => {
        const table = tableFor(...parts.map((part) => part.length));
        const tensors = parts.flatMap((part, i) =>
          part.some((sign) => sign !== 0) ? [ternary(i, part, perTensor ? 2 ** i : 1)] : [],
        );
        expect(referenceDecode(encodeTernarySync(table, tensors), table)).toEqual(
          tensors.map((t) => ({ index: t.index, scale: t.scale, signs: signsOf(t) })),
        );
      },
    ),
    { numRuns: 200 },
  );
});

test('the two decoders agree on low-rank tensors beside ternary ones', () => {
  const factors = fc.record({
    rows: fc.integer({ min: 2, max: 24 }),
    columns: fc.integer({ min: 2, max: 40 }),
    rank: fc.integer({ min: 1, max: 6 }),
    density: share,
    random: fc.nat().map(randomNumbers),
  });
  fc.assert(
    fc.property(fc.array(factors, { minLength: 1, maxLength: 4 }), fc.boolean(), (parts, perTensor) => {
      const table = tableFor(...parts.map(({ rows, columns }) => rows * columns));
      const tensors = parts.map((part, i) => {
        const scale = perTensor ? 2 ** i : 1;
        if (isLowRankShape(part.rows, part.columns, part.rank)) return lowRank(i, { ...part, scale });
        return ternary(i, new Int8Array(part.rows * part.columns).fill(1), scale);
      });
      const decoded = referenceDecode(encodeTernarySync(table, tensors), table);
      expect(decoded?.map(({ signs, ...rest }) => ({ ...rest, integers: [...signs] }))).toEqual(
        tensors.map((t) => ({ index: t.index, scale: t.scale, integers: [...integersOf(t)] })),
      );
    }),
    { numRuns: 150 },
  );
});

test("the document's example is what it says", async () => {
  const text = readFileSync(new URL('../../../docs/payload-format.md', import.meta.url), 'utf8');
  const examples = text
    .split('```hex\n')
    .slice(1)
    .map((part) =>
      part
        .split('```')[0]!
        .replaceAll(/ {2}.*$/gm, '')
        .replaceAll(/\s/g, ''),
    );
  const contents = [
    {
      table: tableFor(40, 8, 300),
      expected: [ternary(0, signs(40, { 3: 1, 4: -1 })), ternary(2, signs(300, { 4: -1, 5: 1 }))],
    },
    { table: tableFor(64), expected: [ternary(0, signs(64, { 2: 1, 9: -1, 18: 1, 34: -1, 50: 1, 57: 1 }))] },
    { table: tableFor(16), expected: [DOCUMENT_LOW_RANK] },
  ];
  expect(examples.length).toBe(contents.length);
  for (const [i, { table, expected }] of contents.entries()) {
    const bytes = new Uint8Array(Buffer.from(examples[i]!, 'hex'));
    expect(await readAll(bytes, table)).toEqual(expected);
    expect(referenceDecode(bytes, table)?.map((t) => [...t.signs])).toEqual(expected.map((t) => [...integersOf(t)]));
  }
});

test('the two decoders agree on coding 1 with any rows, columns and priors', () => {
  fc.assert(
    fc.property(
      fc.constantFrom([0, 3000], [16, 60], [21, 40], [96, 30], [700, 9], [2000, 3]),
      fc.integer({ min: 1, max: 255 }),
      share,
      fc.nat(),
      ([width, rows], priors, density, seed) => {
        const model =
          width === 0 ? { width, rows: 0, columns: 0 } : { width: width!, rows: priors >> 4, columns: priors & 15 };
        const elements = (width || 1) * rows!;
        const t = ternaryFromSigns(0, bandedSigns(elements, width || elements, density, seed), 0.5);
        fc.pre(t !== null);
        const code = codeWith(t!, { golombM: 0, model });
        fc.pre(code.length <= Math.ceil(elements / 4)); // what a payload admits
        const bytes = payloadOf(t!, { golombM: 0, model }, code);
        const decoded = referenceDecode(bytes, tableFor(elements));
        expect(decoded?.map((r) => String(r.signs))).toEqual([String(signsOf(t!))]);
      },
    ),
    { numRuns: 100 },
  );
}, 60_000);

test('the two decoders agree on more rows than columns remember', () => {
  // The columns trade places after more rows than that.
  const t = ternaryFromSigns(
    0,
    Int8Array.from({ length: 16 * 90_000 }, (_, i) => +(i % 48 === (i < 16 * 75_000 ? 5 : 6))),
    0.5,
  )!;
  const model = { width: 16, rows: 2, columns: 3 };
  const bytes = payloadOf(t, { golombM: 0, model }, codeWith(t, { golombM: 0, model }));
  const [decoded] = referenceDecode(bytes, tableFor(t.elements))!;
  expect(Buffer.compare(Buffer.from(decoded!.signs.buffer), Buffer.from(signsOf(t).buffer))).toBe(0);
});

function signs(length: number, entries: Record<number, number>): Int8Array {
  return Int8Array.from({ length }, (_, i) => entries[i] ?? 0);
}
