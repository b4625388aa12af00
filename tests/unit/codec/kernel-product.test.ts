import { describe, expect, test } from 'vitest';
import { expand, type LowRankTensor, maskWords, ternaryFromSigns } from '../../../src/codec/index.ts';
import { measureProduct, productDot } from '../../../src/codec/kernel/product.ts';
import { ProductRows } from '../../../src/codec/low-rank-product.ts';
import { Pacer } from '../../../src/codec/pacer.ts';
import { lowRank, randomNumbers } from './support.ts';

/** All rows of the product, by the plain sums of src/codec/low-rank-product.ts. */
function productOf(t: LowRankTensor): Int16Array {
  const product = new ProductRows(t);
  const all = new Int16Array(t.elements);
  for (let row = 0; row < t.rows; row++) {
    product.load(row);
    all.set(product.values, row * t.columns);
  }
  return all;
}

const pacer = () => new Pacer(2 ** 20, undefined);

// The right factor lies in memory by blocks of columns, 512 KiB of 16-bit integers at a time.
describe.each([
  ['one entry wide', { rows: 40, columns: 41, rank: 1 }],
  ['of columns that are no multiple of 8', { rows: 33, columns: 77, rank: 9 }],
  ['of one block of columns exactly', { rows: 50, columns: 6_552, rank: 40 }],
  ['of one column more than a block', { rows: 50, columns: 6_553, rank: 40 }],
  ['of several blocks', { rows: 90, columns: 16_001, rank: 60 }],
  ['of the largest rank', { rows: 2_050, columns: 2_052, rank: 1_024 }],
  ['of rows longer than what is expanded at once', { rows: 3, columns: 300_001, rank: 1 }],
])('the product of factors %s', (_, { rows, columns, rank }) => {
  const random = randomNumbers(rows);
  const t = lowRank(0, { rows, columns, rank, density: rank === 1_024 ? 0.02 : 0.4, random });
  const k = productOf(t);

  test('is measured exactly', async () => {
    let [sum, squares, peak] = [0, 0, 0];
    for (const value of k) {
      sum += value;
      squares += value * value;
      peak = Math.max(peak, Math.abs(value));
    }
    expect(await measureProduct(t, pacer())).toEqual({ sum, squares, peak });
  });

  test('is expanded exactly', () => {
    const out = new Float32Array(t.elements).fill(7);
    expand(t, out);
    expect(Buffer.compare(Buffer.from(out.buffer), Buffer.from(Float32Array.from(k, (v) => v * t.scale).buffer))).toBe(
      0,
    );
  });

  test('meets signs exactly', async () => {
    const signs = Int8Array.from({ length: t.elements }, () => Math.floor(3 * random()) - 1);
    const other = ternaryFromSigns(0, signs, 1)!;
    let expected = 0;
    for (let i = 0; i < k.length; i++) expected += k[i]! * signs[i]!;
    expect(await productDot(t, other, pacer())).toBe(expected);
  });
});

test('full factors of the largest rank stay exact: every entry is the rank', async () => {
  const [rows, columns, rank] = [2_048, 2_048, 1_024];
  const full = (bits: number) => {
    const plus = new Uint32Array(maskWords(bits)).fill(0xffffffff);
    return { plus, minus: new Uint32Array(plus.length), nnz: bits };
  };
  const [left, right] = [full(rows * rank), full(rank * columns)];
  const elements = rows * columns;
  const t: LowRankTensor = { form: 'low-rank', index: 0, elements, scale: 0.5, rows, columns, rank, left, right };
  expect(await measureProduct(t, pacer())).toEqual({ sum: elements * rank, squares: elements * rank ** 2, peak: rank });
});
