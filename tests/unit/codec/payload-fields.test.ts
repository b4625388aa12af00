/** Lies in single fields of a payload and of a container, beside those of lies.test.ts and low-rank-lies.test.ts. */
import * as dagCbor from '@ipld/dag-cbor';
import { describe, expect, test } from 'vitest';
import { MAX_TABLE_TENSORS, openContainer } from '../../../src/codec/index.ts';
import { codeWith } from '../../../src/codec/section-choice.ts';
import { bandedSigns, failure, fault, readAll, tableFor, ternary } from './support.ts';

/** A payload of one scale, 0.5, and one section: everything after its index. */
function payload(...section: number[]): Uint8Array {
  return Uint8Array.from([...Buffer.from('KMTV'), 1, 0, 1, 0, 0, 0, 0, 0, 0, 63, 0, ...section]);
}

/** A number that fits one byte, in two: not minimal. */
const long = (value: number) => [value | 128, 0];
/** 2^53: one more than a number may be. */
const tooLarge = [128, 128, 128, 128, 128, 128, 128, 16];
/** Its first byte and no end within eight. */
const endless = new Array<number>(9).fill(128);

describe('every number of a section is minimal and in range', () => {
  // One entry at position 0 of a tensor of 64 elements: nnz, coding, M, length, code.
  const golomb = { nnz: [1], m: [1], length: [1] };
  const flat = { nnz: [1], width: [0], length: [5] };
  const code = [0b1000_0000];
  test.each(Object.keys(golomb) as (keyof typeof golomb)[])('of coding 0: %s', async (field) => {
    const of = ({ nnz, m, length }: typeof golomb) => payload(...nnz, 0, ...m, ...length, ...code);
    expect(await readAll(of(golomb), tableFor(64))).toHaveLength(1);
    for (const lie of [long(1), tooLarge, endless]) {
      expect(await fault(of({ ...golomb, [field]: lie }), tableFor(64))).toBe('BAD_VARINT');
    }
  });

  test.each(Object.keys(flat) as (keyof typeof flat)[])('of coding 1: %s', async (field) => {
    const of = ({ nnz, width, length }: typeof flat) => payload(...nnz, 1, ...width, ...length, 1, 2, 3, 4, 5);
    for (const lie of [long(5), tooLarge, endless]) {
      expect(await fault(of({ ...flat, [field]: lie }), tableFor(64))).toBe('BAD_VARINT');
    }
  });

  // 8 x 8 of rank 2: both factors have 16 elements, and one entry at position 0.
  const factors = { nnz: [1], rows: [8], rank: [2], m: [1], length: [1], rightNnz: [1], rightM: [1], rightLength: [1] };
  test.each(Object.keys(factors) as (keyof typeof factors)[])('of coding 2: %s', async (field) => {
    const of = (f: typeof factors) => {
      const left = [...f.nnz, 2, ...f.rows, ...f.rank, 0, ...f.m, ...f.length];
      return payload(...left, ...f.rightNnz, 0, ...f.rightM, ...f.rightLength, ...code, ...code);
    };
    expect(await readAll(of(factors), tableFor(64))).toHaveLength(1);
    for (const lie of [long(1), tooLarge, endless]) {
      expect(await fault(of({ ...factors, [field]: lie }), tableFor(64))).toBe('BAD_VARINT');
    }
  });
});

describe('coding 1 without rows', () => {
  const table = tableFor(400);
  const good = [
    ...codeWith(ternary(0, bandedSigns(400, 20, 0.2, 3)), { golombM: 0, model: { width: 0, rows: 0, columns: 0 } }),
  ];
  const { nnz } = ternary(0, bandedSigns(400, 20, 0.2, 3));
  const flat = (code: number[], count = nnz, length = code.length) => payload(count, 1, 0, length, ...code);

  test('decodes', async () => {
    expect(await readAll(flat(good), table)).toEqual([ternary(0, bandedSigns(400, 20, 0.2, 3))]);
  });

  test.each<[string, Uint8Array, string]>([
    ['a state below the range', flat([0, 127, 255, 255, ...good.slice(4)]), 'BAD_CODER_STATE'],
    ['a state above the range', flat([128, ...good.slice(1)]), 'BAD_CODER_STATE'],
    ['a length below the state', flat(good.slice(0, 3), 1), 'BAD_SECTION_LENGTH'],
    ['a length above two bits per element', flat(good, nnz, 101), 'BAD_SECTION_LENGTH'],
    ['a byte too few', flat(good.slice(0, -1)), 'BAD_SECTION_LENGTH'],
    ['a byte too many', flat([...good, 0]), 'BAD_SECTION_LENGTH'],
    ['nothing but zeros, for the entries that it says', flat([0, 128, 0, 0], 3), 'BAD_SECTION_LENGTH'],
    ['more entries than its bytes hold', flat(good.slice(0, 4), 9), 'BAD_COUNT'],
  ])('%s', async (_, bytes, code) => {
    expect(await fault(bytes, table)).toBe(code);
  });

  test('a bit of the code changed is refused, or gives other entries', async () => {
    const codes = new Set<string>();
    for (let bit = 0; bit < 8 * good.length; bit++) {
      const code = good.slice();
      code[bit >> 3]! ^= 1 << (bit & 7);
      const result = await readAll(flat(code), table).catch((error: { code: string }) => error.code);
      if (typeof result === 'string') codes.add(result);
      else expect(result).not.toEqual([ternary(0, bandedSigns(400, 20, 0.2, 3))]);
    }
    expect([...codes].sort()).toEqual(['BAD_CODER_STATE', 'BAD_COUNT', 'BAD_SECTION_LENGTH']);
  });
});

describe('coding 1 in a factor', () => {
  // 32 x 32 of rank 4: both factors have 128 elements, so up to 32 bytes of code.
  const table = tableFor(1024);
  const code = [
    ...codeWith(ternary(0, bandedSigns(128, 32, 0.2, 5)), { golombM: 0, model: { width: 32, rows: 2, columns: 1 } }),
  ];
  const { nnz } = ternary(0, bandedSigns(128, 32, 0.2, 5));
  interface Factor {
    coding?: number[];
    length?: number;
    code?: number[];
  }
  const both = (left: Factor, right: Factor) => {
    const head = (f: Factor) => [...(f.coding ?? [1, 32, 0x21]), f.length ?? (f.code ?? code).length];
    return payload(nnz, 2, 32, 4, ...head(left), nnz, ...head(right), ...(left.code ?? code), ...(right.code ?? code));
  };

  test('decodes', async () => {
    const [tensor] = await readAll(both({}, {}), table);
    const { plus, minus } = ternary(0, bandedSigns(128, 32, 0.2, 5));
    expect(tensor).toMatchObject({ rows: 32, columns: 32, rank: 4, left: { plus, minus }, right: { plus, minus } });
  });

  test.each<[string, Factor, string]>([
    ['priors 0', { coding: [1, 32, 0] }, 'BAD_MODEL'],
    ['a width of the tensor, not of the factor', { coding: [1, 128, 2, 0x21] }, 'BAD_MODEL'],
    ['a width that does not divide the factor', { coding: [1, 24, 0x21] }, 'BAD_MODEL'],
    ['a length below the state', { length: 3, code: [3, 171, 24] }, 'BAD_SECTION_LENGTH'],
    ['a length above two bits per element', { length: 33 }, 'BAD_SECTION_LENGTH'],
    ['a state below the range', { code: [0, 127, ...code.slice(2)] }, 'BAD_CODER_STATE'],
    ['a state above the range', { code: [128, ...code.slice(1)] }, 'BAD_CODER_STATE'],
    ['a byte too few', { code: code.slice(0, -1) }, 'BAD_SECTION_LENGTH'],
    ['a byte too many', { code: [...code, 0] }, 'BAD_SECTION_LENGTH'],
  ])('%s', async (_, lie, expected) => {
    expect([await fault(both(lie, {}), table), await fault(both({}, lie), table)]).toEqual([expected, expected]);
  });
});

describe('fields of a container', () => {
  const encoder = { mode: 'global', density: 0.2, scaleUnit: 'deviation', scaleFactor: 4 };
  const tensors = [{ name: 'a', shape: [2] }];
  const zero = [...Buffer.from('KMTV'), 1, 0, 0, 0, 0, 0];
  const container = (header: unknown, { magic = 'KMTC', more = 0 } = {}) => {
    const encoded = dagCbor.encode(header);
    const length = new Uint8Array(Uint32Array.of(encoded.length + more).buffer);
    return new Uint8Array(Buffer.concat([Buffer.from(magic), length, encoded, Uint8Array.from(zero)]));
  };
  const good = { version: 1, encoder, tensors };

  test('that are sound open', async () => {
    expect((await openContainer(container(good))).table).toEqual([{ name: 'a', shape: [2], elements: 2 }]);
  });

  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ name: String(i).padStart(5, '0'), shape: [] }));

  test('tensors up to the limit of a table are accepted, and no more', async () => {
    const most = await openContainer(container({ ...good, tensors: many(MAX_TABLE_TENSORS) }));
    expect(most.table).toHaveLength(MAX_TABLE_TENSORS);
    const error = await failure(openContainer(container({ ...good, tensors: many(MAX_TABLE_TENSORS + 1) })));
    expect(error.code).toBe('BAD_CONTAINER_HEADER');
  });

  test.each<[string, Uint8Array, string]>([
    ['the magic of a payload', container(good, { magic: 'KMTV' }), 'BAD_CONTAINER_MAGIC'],
    ['a length one below the header', container(good, { more: -1 }), 'BAD_CONTAINER_HEADER'],
    ['a length one above the header', container(good, { more: 1 }), 'BAD_CONTAINER_HEADER'],
    ['a length of 0', container(good, { more: -dagCbor.encode(good).length }), 'BAD_CONTAINER_HEADER'],
    ['version 0', container({ ...good, version: 0 }), 'UNSUPPORTED_CONTAINER_VERSION'],
    ['version 1.5', container({ ...good, version: 1.5 }), 'UNSUPPORTED_CONTAINER_VERSION'],
    ['version null', container({ ...good, version: null }), 'BAD_CONTAINER_HEADER'],
    ['null', container(null), 'BAD_CONTAINER_HEADER'],
    ['no encoder', container({ version: 1, tensors }), 'BAD_CONTAINER_HEADER'],
    ['an encoder that is a list', container({ ...good, encoder: [] }), 'BAD_CONTAINER_HEADER'],
    ...(['mode', 'density', 'scaleUnit', 'scaleFactor'] as const).flatMap((field) => {
      const { [field]: _, ...without } = encoder;
      const lie = (what: string, value: unknown): [string, Uint8Array, string] => [
        `${what} as ${field}`,
        container({ ...good, encoder: { ...encoder, [field]: value } }),
        'BAD_CONTAINER_HEADER',
      ];
      const missing: [string, Uint8Array, string] = [
        `no ${field}`,
        container({ ...good, encoder: without }),
        'BAD_CONTAINER_HEADER',
      ];
      return [missing, lie('null', null), lie('true', true), lie('a list', [1])];
    }),
    ['a density above 1', container({ ...good, encoder: { ...encoder, density: 1.5 } }), 'BAD_CONTAINER_HEADER'],
    ['a negative density', container({ ...good, encoder: { ...encoder, density: -0.5 } }), 'BAD_CONTAINER_HEADER'],
    [
      'a negative scale factor',
      container({ ...good, encoder: { ...encoder, scaleFactor: -1 } }),
      'BAD_CONTAINER_HEADER',
    ],
    ['no tensors', container({ version: 1, encoder }), 'BAD_CONTAINER_HEADER'],
    ['a tensor that is text', container({ ...good, tensors: ['a'] }), 'BAD_CONTAINER_HEADER'],
    ['a tensor without a shape', container({ ...good, tensors: [{ name: 'a' }] }), 'BAD_CONTAINER_HEADER'],
    [
      'a tensor with another key',
      container({ ...good, tensors: [{ name: 'a', shape: [], x: 1 }] }),
      'BAD_CONTAINER_HEADER',
    ],
    ['a shape that is a number', container({ ...good, tensors: [{ name: 'a', shape: 2 }] }), 'BAD_CONTAINER_HEADER'],
    ['a size in quotes', container({ ...good, tensors: [{ name: 'a', shape: ['2'] }] }), 'BAD_CONTAINER_HEADER'],
    [
      'sizes whose product is not exact',
      container({ ...good, tensors: [{ name: 'a', shape: [2 ** 52, 2 ** 52] }] }),
      'BAD_CONTAINER_HEADER',
    ],
    ['a size of 2^53', container({ ...good, tensors: [{ name: 'a', shape: [2 ** 53] }] }), 'BAD_CONTAINER_HEADER'],
  ])('%s', async (_, bytes, code) => {
    expect((await failure(openContainer(bytes))).code).toBe(code);
  });
});
