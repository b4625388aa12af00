import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeTernarySync } from '../../../src/codec/index.ts';
import { referenceDecode } from './reference-decoder.ts';
import { decodeAll, signsOf, tableFor, ternary } from './support.ts';

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

test("the document's example is what it says", async () => {
  const text = readFileSync(new URL('../../../docs/payload-format.md', import.meta.url), 'utf8');
  const block = text.split('```hex\n')[1]!.split('```')[0]!;
  const hex = block.replaceAll(/ {2}.*$/gm, '').replaceAll(/\s/g, '');
  const bytes = new Uint8Array(Buffer.from(hex, 'hex'));
  const table = tableFor(40, 8, 300);
  const expected = [ternary(0, signs(40, { 3: 1, 4: -1 })), ternary(2, signs(300, { 4: -1, 5: 1 }))];
  expect(await decodeAll(bytes, table)).toEqual(expected);
  expect(referenceDecode(bytes, table)?.map((t) => t.signs)).toEqual(expected.map(signsOf));
});

function signs(length: number, entries: Record<number, number>): Int8Array {
  return Int8Array.from({ length }, (_, i) => entries[i] ?? 0);
}
