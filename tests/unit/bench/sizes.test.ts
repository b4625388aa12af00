import { describe, expect, test } from 'vitest';
import { golombBytes, type Sizes, sizesRow, sumSizes } from '../../../scripts/bench/codec/sizes.ts';
import { golombGapBits, golombParameter } from '../../../src/codec/size.ts';
import { ternaryFromSigns } from '../../../src/codec/ternary.ts';

describe('sizes', () => {
  test('the Golomb column is the sum of the gaps and signs, in whole bytes', () => {
    const signs = Array.from({ length: 300 }, (_, i) => (i % 7 === 3 ? 1 : i % 31 === 0 ? -1 : 0));
    const { plus, minus, nnz } = ternaryFromSigns(0, signs, 1)!;
    const m = golombParameter(nnz / signs.length);
    let bits = 0;
    let gap = 0;
    for (const sign of signs) {
      if (sign === 0) gap++;
      else {
        bits += golombGapBits(gap, m) + 1;
        gap = 0;
      }
    }
    expect(golombBytes(plus, minus, nnz, signs.length)).toBe(Math.ceil(bits / 8));
  });

  test('a compressor that one count lacks is absent in the sum and in the row', () => {
    const one: Sizes = { elements: 80, nnz: 8, payload: 20, bound: 10, golomb: 12, zstd: 30, gzip: 40, fp16: 160 };
    const sum = sumSizes([one, { ...one, zstd: null }]);
    expect(sum).toEqual({
      elements: 160,
      nnz: 16,
      payload: 40,
      bound: 20,
      golomb: 24,
      zstd: null,
      gzip: 80,
      fp16: 320,
    });
    expect(sizesRow({ density: '10 %' }, sum)).toEqual({
      density: '10 %',
      'kept %': 10,
      'bound bytes': 20,
      'payload bytes': 40,
      'payload/bound': 2,
      'golomb/bound': 1.2,
      'zstd -19/bound': null,
      'gzip -9/bound': 4,
      'fp16/bound': 16,
      'fp16/payload': 8,
    });
  });
});
