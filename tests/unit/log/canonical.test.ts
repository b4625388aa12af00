import * as dagCbor from '@ipld/dag-cbor';
import { describe, expect, it } from 'vitest';
import { type DocumentLimits, decodeCanonical, encodeCanonical } from '../../../src/log/canonical.ts';
import { idFromBytes, idOf, isLogId, parseId } from '../../../src/log/index.ts';
import { codeOf, testId } from './helpers.ts';

const limits: DocumentLimits = { what: 'test', maxBytes: 100, maxDepth: 3, maxItems: 10 };
const decode = (hex: string): unknown => decodeCanonical(new Uint8Array(Buffer.from(hex, 'hex')), limits);

describe('canonical bytes', () => {
  it('round-trips every kind of value, also from a Buffer and from the middle of a larger array', () => {
    const value = { a: [-1, 0.5, 'ü', null], b: testId(1) };
    const bytes = encodeCanonical(value, limits);
    expect(decodeCanonical(bytes, limits)).toEqual(value);
    expect(decodeCanonical(Buffer.from(bytes), limits)).toEqual(value);
    const larger = new Uint8Array(bytes.length + 7);
    larger.set(bytes, 3);
    expect(decodeCanonical(larger.subarray(3, 3 + bytes.length), limits)).toEqual(value);
    expect(encodeCanonical({ x: Buffer.from([1, 2]) }, limits)).toEqual(
      encodeCanonical({ x: Uint8Array.of(1, 2) }, limits),
    );
  });

  it.each([
    ['an integer with a longer head than needed', '1801'],
    ['an integer in eight bytes that fits in four', '1b00000000ffffffff'],
    ['a string length in two bytes that fits in one', '590001aa'],
    ['map keys out of order', 'a2616201616101'],
    ['a longer map key before a shorter one', 'a262616101616201'],
    ['a repeated map key', 'a2616101616102'],
    ['a float that is an integer', 'fb3ff0000000000000'],
    ['minus zero', 'fb8000000000000000'],
    ['a float in four bytes', 'fa3fc00000'],
    ['a float in two bytes', 'f93e00'],
    ['NaN', 'fb7ff8000000000000'],
    ['infinity', 'fb7ff0000000000000'],
    ['undefined', 'f7'],
    ['a simple value', 'e0'],
    ['another tag than 42', 'c100'],
    ['text that is not UTF-8', '61ff'],
    ['text that starts with a byte order mark', '63efbbbf'],
    ['a surrogate in UTF-8', '63eda080'],
    ['an integer key', 'a10101'],
    ['a content id without its zero byte', 'd82a4101'],
    ['a map that the library could take for a content id', 'a2612ff5656279746573f5'],
  ])('rejects %s', (_, hex) => {
    expect(codeOf(() => decode(hex))).toBe('NOT_CANONICAL');
  });

  it.each([
    ['nothing', ''],
    ['an indefinite list', '9f01ff'],
    ['an indefinite map', 'bf616101ff'],
    ['an indefinite byte string', '5f4101ff'],
    ['a reserved head', '1c'],
    ['a break alone', 'ff'],
    ['bytes after the document', '0101'],
    ['a cut head', '19'],
    ['a cut string', '4401'],
    ['a cut list', '8201'],
    ['a list of 2^64-1 items', '9bffffffffffffffff'],
    ['a string of 2^64-1 bytes', '5bffffffffffffffff'],
  ])('refuses %s before building anything', (_, hex) => {
    expect(codeOf(() => decode(hex))).toBe('MALFORMED_CBOR');
  });

  it('holds each limit exactly at its edge', () => {
    const text = (n: number): Uint8Array => dagCbor.encode('x'.repeat(n));
    expect(decodeCanonical(text(98), limits)).toHaveLength(98);
    expect(codeOf(() => decodeCanonical(text(99), limits))).toBe('TOO_LARGE');
    expect(codeOf(() => encodeCanonical('x'.repeat(99), limits))).toBe('TOO_LARGE');
    expect(decode('81818101')).toEqual([[[1]]]);
    expect(codeOf(() => decode('8181818101'))).toBe('TOO_DEEP');
    expect(decode(`89${'01'.repeat(9)}`)).toHaveLength(9);
    expect(codeOf(() => decode(`8a${'01'.repeat(10)}`))).toBe('TOO_MANY_ITEMS');
  });

  it('survives nesting that would exhaust the stack', () => {
    const deep = new Uint8Array(1_000_000).fill(0x81);
    const roomy = { what: 'test', maxBytes: 2_000_000, maxDepth: 16, maxItems: 2_000_000 };
    expect(codeOf(() => decodeCanonical(deep, roomy))).toBe('TOO_DEEP');
  });

  it('refuses to encode what has no canonical form', () => {
    for (const value of [undefined, Number.NaN, Number.POSITIVE_INFINITY, { a: undefined }]) {
      expect(codeOf(() => encodeCanonical(value, limits))).toBe('WRONG_TYPE');
    }
  });
});

describe('ids', () => {
  it('are CIDv1, dag-cbor, sha2-256 in 36 bytes and in base32', () => {
    const id = idOf(dagCbor.encode(1));
    expect(Buffer.from(id.bytes.slice(0, 4)).toString('hex')).toBe('01711220');
    expect(id.toString()).toMatch(/^bafyrei[a-z2-7]{52}$/);
    expect(parseId(id.toString()).equals(id)).toBe(true);
    expect(idFromBytes(id.bytes).equals(id)).toBe(true);
  });

  it('have one text form only', () => {
    const text = testId(1).toString();
    const last = text.at(-1)!;
    const alphabet = 'abcdefghijklmnopqrstuvwxyz234567';
    // The last character carries two spare bits: another one may decode to the same bytes.
    const spare = text.slice(0, -1) + alphabet[alphabet.indexOf(last) ^ 1];
    for (const bad of [
      '',
      text.toUpperCase(),
      `${text}a`,
      text.slice(1),
      spare,
      testId(1).toString().replace('b', 'z'),
    ]) {
      expect(codeOf(() => parseId(bad))).toBe('BAD_CID');
    }
  });

  it('refuse another codec, another hash and a longer form of the same numbers', () => {
    const bytes = testId(1).bytes;
    for (const [index, value] of [
      [0, 0],
      [1, 0x55],
      [2, 0x13],
      [3, 0x1f],
    ] as const) {
      const other = bytes.slice();
      other[index] = value;
      expect(codeOf(() => idFromBytes(other))).toBe('BAD_CID');
    }
    // sha2-256 written as the two-byte varint 0x92 0x00
    const longer = Uint8Array.of(0, 0x01, 0x71, 0x92, 0x00, 0x20, ...bytes.slice(4));
    const document = new Uint8Array([0xd8, 0x2a, 0x58, longer.length, ...longer]);
    let accepted: unknown;
    try {
      accepted = decodeCanonical(document, limits);
    } catch (error) {
      accepted = error;
    }
    expect(isLogId(accepted)).toBe(false);
    expect(isLogId({ '/': 'x', bytes: 'x' })).toBe(false);
  });
});
