import { describe, expect, test } from 'vitest';
import { MAX_SECTION_HEADER_BYTES } from '../../../src/codec/format.ts';
import {
  checkPayload,
  encodeTernarySync,
  MAX_PRODUCT_SIDE,
  MAX_TENSOR_ELEMENTS,
  MAX_UPDATE_RANK,
  openPayload,
  type TensorTable,
} from '../../../src/codec/index.ts';
import {
  DOCUMENT_LOW_RANK,
  failure,
  fault,
  float,
  lowRank,
  randomNumbers,
  readAll,
  tableFor,
  ternary,
  varint,
} from './support.ts';

/** The fields of a low-rank section, each of which a test can replace by a lie. */
interface Fields {
  nnz?: number | number[];
  rows?: number | number[];
  rank?: number | number[];
  scale?: number;
  leftCoding?: number[];
  leftLength?: number | number[];
  rightNnz?: number | number[];
  rightCoding?: number[];
  rightLength?: number | number[];
  left?: number[];
  right?: number[];
}

/** The section of the format document's example: K is 4 x 4 of rank 2, both factors in Golomb codes with M = 1. */
function section(fields: Fields = {}, perTensor = false, index = 0): number[] {
  const { left = [0xa6, 0x40], right = [0x9a, 0x30] } = fields;
  return [
    ...[index, ...varint(fields.nnz ?? 4), 2],
    ...varint(fields.rows ?? 4),
    ...varint(fields.rank ?? 2),
    ...(perTensor ? float(fields.scale ?? 0.5) : []),
    ...(fields.leftCoding ?? [0, 1]),
    ...varint(fields.leftLength ?? left.length),
    ...varint(fields.rightNnz ?? 4),
    ...(fields.rightCoding ?? [0, 1]),
    ...varint(fields.rightLength ?? right.length),
    ...left,
    ...right,
  ];
}

function payload(sections: number[][], scale: number | null = 0.5): Uint8Array {
  const head = [...Buffer.from('KMTV'), 1, scale === null ? 1 : 0, sections.length, 0, 0, 0];
  return Uint8Array.from([...head, ...(scale === null ? [] : float(scale)), ...sections.flat()]);
}

const table = tableFor(16);
const inexact = 0.5 + 2 ** -23;

test('the section written by hand decodes', async () => {
  expect(await readAll(payload([section()]), table)).toEqual([DOCUMENT_LOW_RANK]);
  expect(encodeTernarySync(table, [DOCUMENT_LOW_RANK])).toEqual(payload([section()]));
});

describe('each field', () => {
  test.each<[string, Fields, string]>([
    ['no entry in the left factor', { nnz: 0 }, 'BAD_COUNT'],
    ['more entries in the left factor than it has elements', { nnz: 9 }, 'BAD_COUNT'],
    ['more entries in the left factor than the tensor has elements', { nnz: 17 }, 'BAD_COUNT'],
    ['a count of the left factor one too high', { nnz: 5 }, 'BAD_SECTION_LENGTH'],
    ['a count of the left factor one too low', { nnz: 3 }, 'BAD_SECTION_LENGTH'],
    ['no rows', { rows: 0 }, 'BAD_FACTORS'],
    ['rows that do not divide the elements', { rows: 3 }, 'BAD_FACTORS'],
    ['more rows than elements', { rows: 32 }, 'BAD_FACTORS'],
    ['one row, so factors larger than the tensor', { rows: 1 }, 'BAD_FACTORS'],
    ['rows that are not minimal', { rows: [0x84, 0x00] }, 'BAD_VARINT'],
    ['rank 0', { rank: 0 }, 'BAD_FACTORS'],
    ['a rank above what the sides allow', { rank: 3 }, 'BAD_FACTORS'],
    ['a huge rank', { rank: 2 ** 50 }, 'BAD_FACTORS'],
    ['a rank that is not minimal', { rank: [0x82, 0x00] }, 'BAD_VARINT'],
    ['another rank', { rank: 1 }, 'BAD_SECTION_LENGTH'],
    ['coding 2 of the left factor', { leftCoding: [2, 1] }, 'UNSUPPORTED_CODING'],
    ['an unknown coding of the left factor', { leftCoding: [9] }, 'UNSUPPORTED_CODING'],
    ['coding 2 of the right factor', { rightCoding: [2, 1] }, 'UNSUPPORTED_CODING'],
    ['Golomb parameter 0 of the left factor', { leftCoding: [0, 0] }, 'BAD_GOLOMB_PARAMETER'],
    ['a Golomb parameter above the left factor', { leftCoding: [0, 9] }, 'BAD_GOLOMB_PARAMETER'],
    ['a Golomb parameter above the right factor', { rightCoding: [0, 9] }, 'BAD_GOLOMB_PARAMETER'],
    ['a width that does not fit the left factor', { leftCoding: [1, 16, 0x11] }, 'BAD_MODEL'],
    ['a width that does not fit the right factor', { rightCoding: [1, 16, 0x11] }, 'BAD_MODEL'],
    ['length 0 of the left factor', { leftLength: 0 }, 'BAD_SECTION_LENGTH'],
    ['a length above two bits per element of the left factor', { leftLength: 3 }, 'BAD_SECTION_LENGTH'],
    ['a length of the left factor that its entries do not fit', { nnz: 8, leftLength: 1 }, 'BAD_COUNT'],
    ['a length of the left factor that moves the border', { leftLength: 1, rightLength: 2 }, 'TRAILING_BYTES'],
    ['no entry in the right factor', { rightNnz: 0 }, 'BAD_COUNT'],
    ['more entries in the right factor than it has elements', { rightNnz: 9 }, 'BAD_COUNT'],
    ['a count of the right factor one too low', { rightNnz: 3 }, 'BAD_SECTION_LENGTH'],
    ['length 0 of the right factor', { rightLength: 0 }, 'BAD_SECTION_LENGTH'],
    ['a huge length of the right factor', { rightLength: 2 ** 50 }, 'BAD_SECTION_LENGTH'],
    ['a length of the right factor below its bytes', { rightLength: 1 }, 'TRAILING_BYTES'],
    ['a right factor whose entries do not fit', { rightNnz: 8, rightLength: 1 }, 'BAD_COUNT'],
    ['padding of one in the left code', { left: [0xa6, 0x41] }, 'BAD_PADDING'],
    ['padding of one in the right code', { right: [0x9a, 0x31] }, 'BAD_PADDING'],
    ['a position past the left factor', { left: [0x00, 0x40], nnz: 1 }, 'POSITION_RANGE'],
    ['a position past the right factor', { right: [0x00, 0x40], rightNnz: 1 }, 'POSITION_RANGE'],
  ])('%s', async (_, fields, code) => {
    expect(await fault(payload([section(fields)]), table)).toBe(code);
  });

  test('the faults of a section count in reading order', async () => {
    const all: Fields = { nnz: 9, rank: 3, leftCoding: [9], rightNnz: 0, left: [0xa6, 0x41] };
    const codes: string[] = [];
    for (const field of ['rank', 'nnz', 'leftCoding', 'rightNnz', 'left'] as const) {
      codes.push(await fault(payload([section(all)]), table));
      delete all[field];
    }
    expect(codes).toEqual(['BAD_FACTORS', 'BAD_COUNT', 'UNSUPPORTED_CODING', 'BAD_COUNT', 'BAD_PADDING']);
  });
});

describe('the scale', () => {
  test.each([
    ['with more bits than the rank leaves it', inexact],
    ['that is not normal', 2 ** -130],
    ['whose product with the rank is not finite', 2 ** 127],
  ])('%s is refused, as the section’s and as the payload’s', async (_, scale) => {
    expect(await fault(payload([section()], scale), table)).toBe('BAD_SCALE');
    const two = tableFor(16, 16);
    const own = payload([section({}, true), section({ scale }, true, 1)], null);
    expect(await fault(own, two)).toBe('BAD_SCALE');
  });

  test('with the last bit that the rank leaves it is accepted, and the next is not', async () => {
    const [good, bad] = [0.5 + 2 ** -22, 0.5 + 2 ** -23];
    expect((await readAll(payload([section()], good), table))[0]!.scale).toBe(good);
    expect(await fault(payload([section()], bad), table)).toBe('BAD_SCALE');
  });

  test('of a ternary tensor in the same payload need not be exact at a rank', async () => {
    const two = tableFor(16, 16);
    const tensors = [DOCUMENT_LOW_RANK, ternary(1, [1, ...Array(15).fill(0)], inexact)];
    expect(await readAll(encodeTernarySync(two, tensors), two)).toEqual(tensors);
  });
});

test('cut at any byte, a payload is refused', async () => {
  const two = tableFor(16, 16);
  const own = payload([section({}, true), section({ scale: 0.25 }, true, 1)], null);
  for (const [bytes, of] of [
    [payload([section()]), table],
    [own, two],
  ] as const) {
    for (let length = 0; length < bytes.length; length++) {
      expect((await failure(checkPayload(bytes.slice(0, length), of))).code, `at ${length}`).toBe('TRUNCATED');
    }
  }
});

describe('limits', () => {
  /** One entry in each factor, at position 0: a code of one byte, whatever the sizes. */
  const single = (rows: number, rank: number): Fields => ({
    ...{ nnz: 1, rightNnz: 1, rows, rank, left: [0x80], right: [0x80] },
  });
  const check = (elements: number, fields: Fields) => checkPayload(payload([section(fields)]), tableFor(elements));
  const codeOf = async (elements: number, fields: Fields) => (await failure(check(elements, fields))).code;

  test('the rank is accepted up to its limit', async () => {
    expect(await check(2 ** 22, single(2 ** 11, MAX_UPDATE_RANK))).toMatchObject({ nnz: 2, norm: 0.5 });
    expect(await codeOf(2 ** 24, single(2 ** 12, MAX_UPDATE_RANK + 1))).toBe('BAD_FACTORS');
  });

  test('rows and columns are accepted up to their limit', async () => {
    const side = MAX_PRODUCT_SIDE;
    expect(await check(2 * side, single(2, 1))).toMatchObject({ nnz: 2, norm: 0.5 });
    expect(await check(2 * side, single(side, 1))).toMatchObject({ nnz: 2, norm: 0.5 });
    expect(await codeOf(2 * side + 2, single(2, 1))).toBe('BAD_FACTORS');
    expect(await codeOf(2 * side + 2, single(side + 1, 1))).toBe('BAD_FACTORS');
  });

  test('huge claims over a tiny body take no memory', async () => {
    const rows = 46_341;
    const huge = tableFor(rows * 46_340);
    expect(huge[0]!.elements).toBeLessThanOrEqual(MAX_TENSOR_ELEMENTS);
    const before = process.memoryUsage().arrayBuffers;
    const rank = MAX_UPDATE_RANK;
    const claims: Fields = { ...single(rows, rank), nnz: rows * rank, leftLength: 2 ** 22 };
    expect((await failure(openPayload(payload([section(claims)]), huge))).code).toBe('BAD_COUNT');
    const longer: Fields = { ...single(rows, rank), rightLength: 2 ** 22 };
    expect((await failure(openPayload(payload([section(longer)]), huge))).code).toBe('TRUNCATED');
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(4 * 1024 * 1024);
  });

  test('the longest header fits what a reader takes of it', async () => {
    const longest = [8, 8, 1, 8, 8, 4, 1, 8, 1, 8, 8, 1, 8, 1, 8];
    expect(longest.reduce((sum, length) => sum + length, 0)).toBe(MAX_SECTION_HEADER_BYTES);
    // Many bytes of varints, in a real payload: a large tensor with rows and columns modelled in both factors.
    const t = lowRank(0, { rows: 3000, columns: 2000, rank: 200, density: 0.4, random: randomNumbers(6) });
    const big: TensorTable = tableFor(t.elements);
    expect(await readAll(encodeTernarySync(big, [t]), big)).toEqual([t]);
  });
});
