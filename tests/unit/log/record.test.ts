import * as dagCbor from '@ipld/dag-cbor';
import { describe, expect, it } from 'vitest';
import {
  decodeRecord,
  decodeSigned,
  encodeRecord,
  encodeSigned,
  idOf,
  MAX_LICENSE_BYTES,
  MAX_NOTE_BYTES,
  MAX_PARENTS,
  MAX_RECORD_BYTES,
  MAX_SEQ,
  MAX_SIGNED_RECORD_BYTES,
  MAX_TITLE_BYTES,
  signBytes,
  signRecord,
  type UpdateRecord,
} from '../../../src/log/index.ts';
import { codeOf, recordOf, sorted, testId, testKey } from './helpers.ts';

const author = testKey(1);
const parents = sorted(Array.from({ length: MAX_PARENTS }, (_, i) => testId(i)));
const full = recordOf(author, {
  seq: MAX_SEQ,
  prev: parents[7]!,
  parents,
  title: 't'.repeat(MAX_TITLE_BYTES),
  license: 'l'.repeat(MAX_LICENSE_BYTES),
  note: 'n'.repeat(MAX_NOTE_BYTES),
});
const wire = (body: unknown, key = author, domain: 'kinmerge/record/1' | 'kinmerge/head/1' = 'kinmerge/record/1') => {
  const bytes = body instanceof Uint8Array ? body : dagCbor.encode(body);
  return dagCbor.encode({ body: bytes, signature: signBytes(key, domain, bytes) });
};
const decodeWith = (changes: Record<string, unknown>): string =>
  codeOf(() => decodeSigned(wire({ ...recordOf(author), ...changes })));

describe('record', () => {
  it('round-trips, and its id is that of the unsigned body', () => {
    for (const record of [recordOf(author), full]) {
      const signed = signRecord(record, author);
      const bytes = encodeSigned(signed);
      const back = decodeSigned(bytes);
      expect(back).toEqual(signed);
      expect(back.record).toEqual(record);
      expect(back.id.equals(idOf(encodeRecord(record)))).toBe(true);
      expect(encodeSigned(back)).toEqual(bytes);
    }
  });

  it('fits its limit with every field at its largest, and text above ASCII counts in bytes', () => {
    expect(encodeRecord(full).length).toBeLessThanOrEqual(MAX_RECORD_BYTES);
    expect(encodeSigned(signRecord(full, author)).length).toBeLessThanOrEqual(MAX_SIGNED_RECORD_BYTES);
    expect(codeOf(() => encodeRecord({ ...full, title: `${'t'.repeat(MAX_TITLE_BYTES - 1)}ü` }))).toBe('BAD_TEXT');
  });

  it.each<[string, Partial<UpdateRecord>, string]>([
    ['title', { title: 't'.repeat(MAX_TITLE_BYTES + 1) }, 'BAD_TEXT'],
    ['license', { license: 'l'.repeat(MAX_LICENSE_BYTES + 1) }, 'BAD_TEXT'],
    ['note', { note: 'n'.repeat(MAX_NOTE_BYTES + 1) }, 'BAD_TEXT'],
    ['a lone surrogate', { title: 'a\ud800' }, 'BAD_TEXT'],
    ['an escape sequence', { note: '\u001b[2J' }, 'BAD_TEXT'],
    ['a line feed in a title', { title: 'a\nb' }, 'BAD_TEXT'],
    ['a C1 control', { note: '\u009b' }, 'BAD_TEXT'],
    ['a byte order mark', { note: '\ufeffabc' }, 'BAD_TEXT'],
    ['17 parents', { parents: sorted([...parents, testId(99)]), prev: testId(99), seq: 1 }, 'OUT_OF_RANGE'],
    ['unsorted parents', { parents: [...parents].reverse() }, 'NOT_SORTED'],
    ['a repeated parent', { parents: [parents[0]!, parents[0]!] }, 'NOT_SORTED'],
    ['seq 0 with prev', { prev: parents[0]!, parents }, 'CHAIN_FIELDS'],
    ['seq 1 without prev', { seq: 1 }, 'CHAIN_FIELDS'],
    ['prev outside the parents', { seq: 1, prev: testId(99), parents }, 'CHAIN_FIELDS'],
    ['seq above its range', { seq: MAX_SEQ + 1, prev: parents[0]!, parents }, 'OUT_OF_RANGE'],
    ['a negative seq', { seq: -1 }, 'OUT_OF_RANGE'],
    ['a seq that is no integer', { seq: 0.5 }, 'WRONG_TYPE'],
    ['an author of 31 bytes', { author: author.publicKey.slice(1) }, 'OUT_OF_RANGE'],
  ])('refuses %s when written', (_, changes, code) => {
    expect(codeOf(() => encodeRecord(recordOf(author, changes)))).toBe(code);
  });

  it('allows line feeds and tabs in a note, and 16 parents', () => {
    expect(decodeSigned(wire(recordOf(author, { note: 'a\n\tb' }))).record.note).toBe('a\n\tb');
    expect(decodeSigned(wire(full)).record.parents).toHaveLength(MAX_PARENTS);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['another version', { version: 2, extra: 1 }, 'VERSION_UNKNOWN'],
    ['another kind', { kind: 'vote', target: testId(4) }, 'RECORD_KIND_UNKNOWN'],
    ['an unknown field', { norm: 1 }, 'UNKNOWN_FIELD'],
    ['an unknown field named like a method', { toString: 1 }, 'UNKNOWN_FIELD'],
    ['a text for a number', { seq: '0' }, 'WRONG_TYPE'],
    ['a map for a list', { parents: {} }, 'WRONG_TYPE'],
    ['a list for a map key', { title: [] }, 'WRONG_TYPE'],
    ['bytes for an id', { payload: testId(1).bytes }, 'BAD_CID'],
    ['a map for an id', { payload: { '/': 'x' } }, 'BAD_CID'],
    ['null for an id', { payload: null }, 'BAD_CID'],
    ['an author of 33 bytes', { author: new Uint8Array(33) }, 'OUT_OF_RANGE'],
    ['an author of small order', { author: new Uint8Array(32) }, 'BAD_KEY'],
    ['a number beyond 2^53', { seq: 2n ** 60n }, 'WRONG_TYPE'],
    ['unsorted parents', { parents: [...parents].reverse() }, 'NOT_SORTED'],
    ['17 parents', { parents: sorted([...parents, testId(99)]) }, 'OUT_OF_RANGE'],
    ['prev outside the parents', { seq: 1, prev: testId(99), parents }, 'CHAIN_FIELDS'],
    ['a control character', { title: '\u0007' }, 'BAD_TEXT'],
  ])('refuses %s when read', (_, changes, code) => {
    expect(decodeWith(changes)).toBe(code);
  });

  it('refuses a missing field', () => {
    const { note: _, ...rest } = recordOf(author);
    expect(codeOf(() => decodeSigned(wire(rest)))).toBe('MISSING_FIELD');
  });

  it('refuses a body and an envelope above their limits before anything else', () => {
    const large = dagCbor.encode({ body: new Uint8Array(MAX_RECORD_BYTES + 1), signature: new Uint8Array(64) });
    expect(codeOf(() => decodeSigned(large))).toBe('OUT_OF_RANGE');
    expect(codeOf(() => decodeRecord(new Uint8Array(MAX_RECORD_BYTES + 1)))).toBe('TOO_LARGE');
    expect(codeOf(() => decodeSigned(new Uint8Array(MAX_SIGNED_RECORD_BYTES + 1)))).toBe('TOO_LARGE');
  });

  it('refuses a signature by another key, for another domain, and of another length', () => {
    expect(codeOf(() => decodeSigned(wire(recordOf(author), testKey(2))))).toBe('BAD_SIGNATURE');
    expect(codeOf(() => decodeSigned(wire(recordOf(author), author, 'kinmerge/head/1')))).toBe('BAD_SIGNATURE');
    const body = encodeRecord(recordOf(author));
    const short = dagCbor.encode({ body, signature: new Uint8Array(63) });
    expect(codeOf(() => decodeSigned(short))).toBe('OUT_OF_RANGE');
    expect(codeOf(() => signRecord(recordOf(author), testKey(2)))).toBe('BAD_KEY');
  });

  it('refuses every flipped bit', () => {
    const bytes = encodeSigned(signRecord(recordOf(author, { note: 'ä note' }), author));
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const flipped = bytes.slice();
      flipped[bit >>> 3]! ^= 1 << (bit & 7);
      expect(codeOf(() => decodeSigned(flipped))).not.toBe('NO_ERROR');
    }
  });
});

describe('a record encoded differently but signed correctly', () => {
  const body = encodeRecord(recordOf(author));
  const hex = Buffer.from(body).toString('hex');
  /** Replaces one spot of the body, which must occur exactly once. */
  const edit = (from: string, to: string): Uint8Array => {
    expect(hex.split(from)).toHaveLength(2);
    return new Uint8Array(Buffer.from(hex.replace(from, to), 'hex'));
  };
  const key = (text: string): string => Buffer.from(text).toString('hex');

  it.each([
    ['a longer integer', () => edit(`63${key('seq')}00`, `63${key('seq')}1800`)],
    ['a float for an integer', () => edit(`63${key('seq')}00`, `63${key('seq')}fb0000000000000000`)],
    ['a longer string head', () => edit(`64${key('note')}60`, `64${key('note')}7800`)],
    [
      'a repeated key',
      () =>
        new Uint8Array(
          Buffer.from(hex.replace(/^ab/, 'ac').replace(`63${key('seq')}00`, `63${key('seq')}00`.repeat(2)), 'hex'),
        ),
    ],
    [
      'keys in another order',
      () =>
        edit(
          `63${key('seq')}0064${key('kind')}66${key('update')}`,
          `64${key('kind')}66${key('update')}63${key('seq')}00`,
        ),
    ],
  ])('is refused: %s', (_, change) => {
    expect(codeOf(() => decodeSigned(wire(change())))).toBe('NOT_CANONICAL');
  });

  it.each([
    ['an indefinite map', () => new Uint8Array(Buffer.from(`bf${hex.slice(2)}ff`, 'hex'))],
    ['an indefinite list', () => edit(`67${key('parents')}80`, `67${key('parents')}9fff`)],
    ['trailing bytes', () => new Uint8Array(Buffer.from(`${hex}00`, 'hex'))],
  ])('is refused: %s', (_, change) => {
    expect(codeOf(() => decodeSigned(wire(change())))).toBe('MALFORMED_CBOR');
  });
});
