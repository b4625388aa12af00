import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  checkPayload,
  encodeTernarySync,
  isPayloadFault,
  MAX_SCALE,
  MAX_TABLE_TENSORS,
  MAX_TENSOR_ELEMENTS,
  MIN_SCALE,
  openPayload,
} from '../../../src/codec/index.ts';
import { MAX_WIDTH } from '../../../src/codec/limits.ts';
import { codeWith } from '../../../src/codec/section-choice.ts';
import { decodeAll, failure, fault, float, tableFor, temporaryDirectory, ternary, varint } from './support.ts';

/** The parts of a payload written by hand, each of which a test can replace by a lie. */
interface Section {
  index?: number | number[];
  nnz?: number | number[];
  coding?: number;
  m?: number | number[];
  /** Coding 1: the row width, and the byte of priors after it (none by default where the width is 0). */
  width?: number | number[];
  priors?: number;
  /** Coding 1: the code, in place of bits. */
  code?: readonly number[];
  scale?: number;
  length?: number | number[];
  bits?: string;
}
interface Header {
  magic?: string;
  version?: number;
  flags?: number;
  count?: number;
  scale?: number | null;
}

function pack(bits: string): number[] {
  const clean = bits.replaceAll(' ', '');
  return (clean.match(/.{1,8}/g) ?? []).map((byte) => Number.parseInt(byte.padEnd(8, '0'), 2));
}

function payload(header: Header, sections: Section[], tail: number[] = []): Uint8Array {
  const { magic = 'KMTV', version = 1, flags = 0, count = sections.length, scale = 0.5 } = header;
  const bytes = [...Buffer.from(magic, 'latin1'), version, flags];
  bytes.push(...new Uint8Array(Uint32Array.of(count).buffer));
  if (flags === 0 && scale !== null) bytes.push(...float(scale));
  for (const [i, s] of sections.entries()) {
    const code = s.code ?? pack(s.bits ?? '');
    bytes.push(...varint(s.index ?? i), ...varint(s.nnz ?? 1), s.coding ?? 0);
    if (s.coding === 1) bytes.push(...varint(s.width ?? 0), ...(s.priors === undefined ? [] : [s.priors]));
    else bytes.push(...varint(s.m ?? 1));
    if (flags === 1) bytes.push(...float(s.scale ?? 0.5));
    bytes.push(...varint(s.length ?? code.length), ...code);
  }
  return Uint8Array.from([...bytes, ...tail]);
}

const table = tableFor(40, 8, 300);
// Two entries of tensor 0: gap 3 (unary 000 1), plus; gap 0 (1), minus. Two more of tensor 2 with M = 3.
const first: Section = { index: 0, nnz: 2, m: 1, bits: '0001 0 1 1' };
const last: Section = { index: 2, nnz: 2, m: 3, bits: '01 10 1  1 0 0' };
const good = payload({}, [first, last]);

test('a payload written by hand decodes: positions, signs, both kinds of remainder', async () => {
  const [a, b] = await decodeAll(good, table);
  expect(a).toMatchObject({ index: 0, elements: 40, nnz: 2, scale: 0.5 });
  expect([[...a!.plus], [...a!.minus]]).toEqual([
    [1 << 3, 0],
    [1 << 4, 0],
  ]);
  // Gap 4 = quotient 1, remainder 1 (two bits, 10), minus; then gap 0 (remainder 0, one bit), plus.
  expect(b!.minus[0]).toBe(1 << 4);
  expect(b!.plus[0]).toBe(1 << 5);
});

describe('header', () => {
  test.each<[string, Header, string]>([
    ['magic', { magic: 'KMTC' }, 'BAD_MAGIC'],
    ['version 0', { version: 0 }, 'UNSUPPORTED_VERSION'],
    ['version 2', { version: 2 }, 'UNSUPPORTED_VERSION'],
    ['a reserved flag', { flags: 2 }, 'BAD_FLAGS'],
    ['a reserved flag beside a known one', { flags: 3 }, 'BAD_FLAGS'],
    ['one scale repeated per tensor', { flags: 1 }, 'BAD_FLAGS'],
    ['more tensors than the table', { count: 4 }, 'BAD_TENSOR_COUNT'],
    ['a huge count', { count: 0xffffffff }, 'BAD_TENSOR_COUNT'],
    ['a count one too high', { count: 3 }, 'TRUNCATED'],
    ['a count one too low', { count: 1 }, 'TRAILING_BYTES'],
    ['scale NaN', { scale: Number.NaN }, 'BAD_SCALE'],
    ['scale +Inf', { scale: Number.POSITIVE_INFINITY }, 'BAD_SCALE'],
    ['scale -Inf', { scale: Number.NEGATIVE_INFINITY }, 'BAD_SCALE'],
    ['scale 0', { scale: 0 }, 'BAD_SCALE'],
    ['scale -0', { scale: -0 }, 'BAD_SCALE'],
    ['a negative scale', { scale: -0.5 }, 'BAD_SCALE'],
    ['the largest denormal scale', { scale: 2 ** -126 - 2 ** -149 }, 'BAD_SCALE'],
  ])('%s', async (_, header, code) => {
    expect(await fault(payload(header, [first, last]), table)).toBe(code);
  });

  test('scales at both ends of the normal range are accepted', async () => {
    for (const scale of [MIN_SCALE, MAX_SCALE]) {
      expect((await decodeAll(payload({ scale }, [first]), table))[0]!.scale).toBe(scale);
    }
  });

  test('scales per tensor with one tensor, or with none', async () => {
    expect(await fault(payload({ flags: 1 }, [first]), table)).toBe('BAD_FLAGS');
    expect(await fault(payload({ flags: 1 }, []), table)).toBe('BAD_FLAGS');
  });

  test('a bad scale per tensor', async () => {
    for (const scale of [Number.NaN, Number.POSITIVE_INFINITY, 0, -1, 2 ** -130]) {
      const bytes = payload({ flags: 1 }, [first, { ...last, scale }]);
      expect(await fault(bytes, table)).toBe('BAD_SCALE');
    }
    await decodeAll(payload({ flags: 1 }, [first, { ...last, scale: 0.25 }]), table);
  });

  test('a scale in the zero payload, which has none', async () => {
    expect(await fault(payload({}, []), table)).toBe('TRAILING_BYTES');
    expect(await decodeAll(payload({ scale: null }, []), table)).toEqual([]);
  });

  test('bytes after the last section', async () => {
    expect(await fault(payload({}, [first, last], [0]), table)).toBe('TRAILING_BYTES');
  });
});

describe('section header', () => {
  test.each<[string, Partial<Section>, string]>([
    ['an index outside the table', { index: 3 }, 'INDEX_RANGE'],
    ['an index far outside', { index: 2 ** 40 }, 'INDEX_RANGE'],
    ['an index again', { index: 0 }, 'INDEX_ORDER'],
    ['a varint with a zero at its end', { index: [0x82, 0x00] }, 'BAD_VARINT'],
    ['a varint of nine bytes', { index: [255, 255, 255, 255, 255, 255, 255, 255, 1] }, 'BAD_VARINT'],
    ['a varint above 2^53 - 1', { nnz: [255, 255, 255, 255, 255, 255, 255, 127] }, 'BAD_VARINT'],
    ['nnz 0', { nnz: 0 }, 'BAD_COUNT'],
    ['nnz above the elements', { nnz: 301 }, 'BAD_COUNT'],
    ['nnz that cannot fit its bytes', { nnz: 300 }, 'BAD_COUNT'],
    ['nnz one too high', { nnz: 3 }, 'BAD_COUNT'],
    ['nnz one too low', { nnz: 1 }, 'BAD_PADDING'],
    ['coding 3', { coding: 3 }, 'UNSUPPORTED_CODING'],
    ['coding 255', { coding: 255 }, 'UNSUPPORTED_CODING'],
    ['Golomb parameter 0', { m: 0 }, 'BAD_GOLOMB_PARAMETER'],
    ['Golomb parameter above the elements', { m: 301 }, 'BAD_GOLOMB_PARAMETER'],
    ['length 0', { length: 0 }, 'BAD_SECTION_LENGTH'],
    ['length beyond the payload', { length: 2 }, 'TRUNCATED'],
    ['length above two bits per element', { length: 76 }, 'BAD_SECTION_LENGTH'],
    ['a huge length', { length: 2 ** 50 }, 'BAD_SECTION_LENGTH'],
  ])('%s', async (_, lie, code) => {
    expect(await fault(payload({}, [first, { ...last, ...lie }]), table)).toBe(code);
  });

  test('descending indices', async () => {
    expect(await fault(payload({}, [last, first]), table)).toBe('INDEX_ORDER');
  });

  test('a huge count over a tiny body is refused before anything of its size exists', async () => {
    const huge = tableFor(MAX_TENSOR_ELEMENTS);
    const before = process.memoryUsage();
    const lie = payload({}, [{ nnz: MAX_TENSOR_ELEMENTS, bits: '11' }]);
    expect((await failure(openPayload(lie, huge))).code).toBe('BAD_COUNT');
    const longLie = payload({}, [{ nnz: MAX_TENSOR_ELEMENTS, length: 2 ** 29, bits: '11' }]);
    expect((await failure(openPayload(longLie, huge))).code).toBe('TRUNCATED');
    // An honest count in a huge tensor: measuring needs no masks.
    const measure = await checkPayload(payload({}, [{ nnz: 2, bits: '1010' }]), huge);
    expect(measure).toMatchObject({ nnz: 2, elements: MAX_TENSOR_ELEMENTS });
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(4 * 1024 * 1024);
  });
});

describe('bits', () => {
  test.each<[string, Section, string]>([
    ['padding of one', { bits: '0001 0 1 1 1', nnz: 2 }, 'BAD_PADDING'],
    ['a whole byte too many', { bits: '0001 0 1 1 0 00000000', nnz: 2 }, 'BAD_SECTION_LENGTH'],
    ['bits that end before the last entry', { bits: '1000 0000', nnz: 3 }, 'BAD_SECTION_LENGTH'],
    ['a first position at the end', { bits: `${'0'.repeat(40)} 1 0`, nnz: 1 }, 'POSITION_RANGE'],
    ['a later position at the end', { bits: `${'0'.repeat(39)} 10 10`, nnz: 2 }, 'POSITION_RANGE'],
    ['a quotient past the end', { bits: '0000 1 00000 0', nnz: 1, m: 10 }, 'POSITION_RANGE'],
    ['a unary run without end', { bits: '0'.repeat(80), nnz: 1 }, 'BAD_SECTION_LENGTH'],
    ['a unary run to the end of the bits', { bits: '0'.repeat(32), nnz: 1 }, 'BAD_SECTION_LENGTH'],
    ['a remainder that is cut off', { bits: '0000 0001', nnz: 1, m: 4 }, 'BAD_SECTION_LENGTH'],
    ['a sign that is cut off', { bits: '0000 0001', nnz: 1, m: 1 }, 'BAD_SECTION_LENGTH'],
    ['a long run whose remainder is cut off', { bits: `${'0'.repeat(31)}1`, nnz: 1, m: 1 }, 'BAD_SECTION_LENGTH'],
  ])('%s', async (_, section, code) => {
    expect(await fault(payload({}, [section]), table)).toBe(code);
  });

  test('the last position of a tensor is accepted', async () => {
    const [t] = await decodeAll(payload({}, [{ bits: `${'0'.repeat(39)} 1 1`, nnz: 1 }]), table);
    expect(t!.minus[1]).toBe(1 << 7);
  });

  test('a fault in one section does not stop another from being read alone', async () => {
    const reader = await openPayload(payload({}, [{ ...first, bits: '0001 0 1 1 1' }, last]), table);
    expect(await reader.tensor(2)).toMatchObject({ nnz: 2 });
    expect((await failure(reader.tensor(0))).code).toBe('BAD_PADDING');
  });
});

describe('coding 1', () => {
  const bands = tableFor(64, 40);
  // The example of the format document: rows of 16, entries at 2, 9, 18, 34, 50 and 57.
  const banded: Section = {
    index: 0,
    nnz: 6,
    coding: 1,
    width: 16,
    priors: 0x21,
    code: [3, 171, 24, 114, 89, 199, 218],
  };
  const flat: Section = { index: 1, nnz: 2, coding: 1, width: 0, code: [...encodeFlat(40, { 3: 1, 39: -1 })] };

  test('written by hand decodes, beside the other coding', async () => {
    const decoded = await decodeAll(payload({}, [banded, flat]), bands);
    expect(decoded).toEqual([
      ternary(0, signs(64, { 2: 1, 9: -1, 18: 1, 34: -1, 50: 1, 57: 1 })),
      ternary(1, signs(40, { 3: 1, 39: -1 })),
    ]);
    const mixed = await decodeAll(payload({}, [banded, { ...first, index: 1 }]), bands);
    expect(mixed.map((t) => t.nnz)).toEqual([6, 2]);
  });

  test.each<[string, Partial<Section>, string]>([
    ['a width that does not divide the elements', { width: 17 }, 'BAD_MODEL'],
    ['a width below the least', { width: 8 }, 'BAD_MODEL'],
    ['a width above the elements', { width: 128 }, 'BAD_MODEL'],
    ['a huge width', { width: 2 ** 40 }, 'BAD_MODEL'],
    ['a width that is not minimal', { width: [0x90, 0x00] }, 'BAD_VARINT'],
    ['rows without priors', { priors: 0 }, 'BAD_MODEL'],
    ['other priors', { priors: 0xff }, 'BAD_SECTION_LENGTH'],
    ['other priors that use up the bytes', { priors: 0x12 }, 'BAD_COUNT'],
    ['nnz 0', { nnz: 0 }, 'BAD_COUNT'],
    ['nnz above the elements', { nnz: 65 }, 'BAD_COUNT'],
    ['nnz that cannot fit its bytes', { nnz: 33 }, 'BAD_COUNT'],
    ['length 0', { length: 0 }, 'BAD_SECTION_LENGTH'],
    ['length below the state', { length: 3 }, 'BAD_SECTION_LENGTH'],
    ['length above two bits per element', { length: 17 }, 'BAD_SECTION_LENGTH'],
    ['a huge length', { length: 2 ** 50 }, 'BAD_SECTION_LENGTH'],
    ['a state below the range', { code: [0, 127, 255, 255, 89, 199, 218] }, 'BAD_CODER_STATE'],
    ['a state above the range', { code: [128, 0, 0, 0, 89, 199, 218] }, 'BAD_CODER_STATE'],
    ['a byte too few', { code: [3, 171, 24, 114, 89, 199] }, 'BAD_SECTION_LENGTH'],
    ['a byte too many', { code: [3, 171, 24, 114, 89, 199, 218, 0] }, 'BAD_SECTION_LENGTH'],
    ['another byte', { code: [3, 171, 24, 114, 89, 201, 218] }, 'BAD_CODER_STATE'],
    ['more entries than said', { code: [49, 171, 24, 114, 89, 199, 218] }, 'BAD_COUNT'],
    ['fewer entries than said', { code: [4, 171, 24, 114, 89, 199, 218] }, 'BAD_COUNT'],
  ])('%s', async (_, lie, code) => {
    expect(await fault(payload({}, [{ ...banded, ...lie }, flat]), bands)).toBe(code);
  });

  test('a width above the limit', async () => {
    const wide = tableFor(4 * MAX_WIDTH);
    const section = { ...banded, width: 2 * MAX_WIDTH };
    expect(await fault(payload({}, [section]), wide)).toBe('BAD_MODEL');
  });

  test('without rows there are no priors, and the bytes do not fit', async () => {
    expect(await fault(payload({}, [banded, { ...flat, priors: 0x21 }]), bands)).toBe('BAD_SECTION_LENGTH');
  });

  test('a huge count, and few bytes for a huge tensor, take no memory and little time', async () => {
    const huge = tableFor(2 ** 28);
    const before = process.memoryUsage();
    const lie: Section = { nnz: 2 ** 28, coding: 1, width: 0, code: [0, 128, 0, 0] };
    expect((await failure(openPayload(payload({}, [lie]), huge))).code).toBe('BAD_COUNT');
    const started = performance.now();
    const empty: Section = { nnz: 1, coding: 1, width: MAX_WIDTH, priors: 0x11, code: [127, 255, 255, 255] };
    expect((await failure(checkPayload(payload({}, [empty]), huge))).code).toBe('BAD_SECTION_LENGTH');
    expect(performance.now() - started).toBeLessThan(5_000);
    const after = process.memoryUsage();
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(16 * 1024 * 1024);
  });

  test('cut at any byte, a payload is refused', async () => {
    const bytes = payload({}, [banded, flat]);
    for (let length = 0; length < bytes.length; length++) {
      expect((await failure(checkPayload(bytes.slice(0, length), bands))).code, `at ${length}`).toBe('TRUNCATED');
    }
  });

  test('an aborted signal stops it', async () => {
    const controller = new AbortController();
    controller.abort(new Error('enough'));
    await expect(checkPayload(payload({}, [banded]), bands, { signal: controller.signal })).rejects.toThrow('enough');
  });
});

function signs(length: number, entries: Record<number, number>): Int8Array {
  return Int8Array.from({ length }, (_, i) => entries[i] ?? 0);
}

function encodeFlat(length: number, entries: Record<number, number>): Uint8Array {
  return codeWith(ternary(0, signs(length, entries)), { golombM: 0, model: { width: 0, rows: 0, columns: 0 } });
}

test('cut at any byte, a payload is refused', async () => {
  const perTensor = payload({ flags: 1 }, [first, { ...last, scale: 0.25 }]);
  for (const bytes of [good, perTensor]) {
    for (let length = 0; length < bytes.length; length++) {
      const { code } = await failure(checkPayload(bytes.slice(0, length), table));
      expect(code, `at ${length}`).toBe('TRUNCATED');
    }
  }
});

test('a payload of another table is refused or decodes within the bounds of this one', async () => {
  const bytes = encodeTernarySync(tableFor(100), [
    ternary(
      0,
      Array.from({ length: 100 }, (_, i) => i % 2),
    ),
  ]);
  expect((await failure(checkPayload(bytes, tableFor(99)))).code).toBe('POSITION_RANGE');
  expect((await failure(checkPayload(bytes, tableFor(49)))).code).toBe('BAD_COUNT');
  expect((await failure(checkPayload(bytes, []))).code).toBe('BAD_TENSOR_COUNT');
});

test('a file that is not there, and a directory', async () => {
  const directory = await temporaryDirectory();
  const missing = await failure(openPayload(join(directory, 'none'), table));
  expect(missing.code).toBe('READ_FAILED');
  expect(isPayloadFault(missing)).toBe(false);
  expect((await failure(openPayload(directory, table))).code).toBe('READ_FAILED');
});

describe('tensor tables', () => {
  test('are accepted at the limits and refused beyond', async () => {
    const zero = encodeTernarySync([], []);
    await checkPayload(zero, tableFor(MAX_TENSOR_ELEMENTS));
    expect((await failure(checkPayload(zero, tableFor(MAX_TENSOR_ELEMENTS + 1)))).code).toBe('BAD_TABLE');
    const many = tableFor(...new Array<number>(MAX_TABLE_TENSORS).fill(1));
    await checkPayload(zero, many);
    expect((await failure(checkPayload(zero, [...many, many[0]!]))).code).toBe('BAD_TABLE');
  });

  test.each([
    ['elements that differ from the shape', { name: 'a', shape: [2, 3], elements: 5 }],
    ['a negative size', { name: 'a', shape: [-2, -3], elements: 6 }],
    ['a fractional size', { name: 'a', shape: [0.5, 4], elements: 2 }],
  ])('are refused with %s', async (_, entry) => {
    expect((await failure(checkPayload(good, [entry]))).code).toBe('BAD_TABLE');
  });
});
