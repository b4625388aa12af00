import * as dagCbor from '@ipld/dag-cbor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  decodeCharter,
  decodeCheckpoint,
  decodeManifest,
  decodeRecipe,
  decodeRecord,
  decodeSigned,
  decodeSignedHead,
  encodeCheckpoint,
  encodeManifest,
  encodeRecipe,
  encodeRecord,
  encodeSigned,
  encodeSignedHead,
  keyFromPem,
  keyFromText,
  keyToPem,
  keyToText,
  LogError,
  parseCommunityId,
  signHead,
  signRecord,
} from '../../src/log/index.ts';
import { charterInput, digest, recordOf, sorted, testCharter, testId, testKey } from '../unit/log/helpers.ts';

const key = testKey(1);
const ids = sorted([testId(1), testId(2)]);
const record = recordOf(key, { seq: 3, prev: ids[0]!, parents: ids, note: 'ä note\nof two lines' });
const head = {
  version: 1 as const,
  node: key.publicKey,
  charter: testId(0),
  recipe: testId(1),
  frontier: ids,
  truncated: false,
  accepted: 1,
  held: 2,
  checkpoint: null,
  sealed: null,
  counter: 9,
};

/** Each decoder with one good document. */
const decoders: [string, (bytes: Uint8Array) => unknown, Uint8Array][] = [
  ['charter', decodeCharter, testCharter({ membership: [key.publicKey] }).bytes],
  ['record', decodeRecord, encodeRecord(record)],
  ['signed record', decodeSigned, encodeSigned(signRecord(record, key))],
  ['manifest', decodeManifest, encodeManifest({ size: 2 ** 20 + 1, blocks: [digest(1), digest(2)] })],
  [
    'recipe',
    decodeRecipe,
    encodeRecipe({
      version: 1,
      charter: testId(0),
      algorithm: 'opcm/1',
      updates: ids,
      merge: charterInput().merge,
    }),
  ],
  ['signed head', decodeSignedHead, encodeSignedHead(signHead(head, key))],
  [
    'checkpoint',
    decodeCheckpoint,
    encodeCheckpoint({ version: 1, recipe: testId(0), files: [{ name: 'config.json', size: 3, manifest: testId(1) }] }),
  ],
];

/** Accepts, or throws LogError: anything else fails the test. */
function onlyLogErrors(decode: () => unknown): boolean {
  try {
    decode();
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(LogError);
    return false;
  }
}

/** One hostile change of a document's bytes. */
const mutation = fc.oneof(
  fc.record({ kind: fc.constant('set' as const), at: fc.nat(), value: fc.nat(255) }),
  fc.record({ kind: fc.constant('cut' as const), at: fc.nat() }),
  fc.record({ kind: fc.constant('insert' as const), at: fc.nat(), bytes: fc.uint8Array({ maxLength: 9 }) }),
  fc.record({ kind: fc.constant('remove' as const), at: fc.nat(), count: fc.integer({ min: 1, max: 9 }) }),
);

function mutate(bytes: Uint8Array, change: typeof mutation extends fc.Arbitrary<infer T> ? T : never): Uint8Array {
  const at = change.at % bytes.length;
  const left = bytes.subarray(0, at);
  switch (change.kind) {
    case 'set':
      return Uint8Array.from([...left, change.value, ...bytes.subarray(at + 1)]);
    case 'cut':
      return left.slice();
    case 'insert':
      return Uint8Array.from([...left, ...change.bytes, ...bytes.subarray(at)]);
    case 'remove':
      return Uint8Array.from([...left, ...bytes.subarray(at + change.count)]);
  }
}

/** Any value of the data model, so that documents of every shape reach the field checks. */
const anyValue = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.integer(),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.string({ unit: 'binary' }),
    fc.boolean(),
    fc.constant(null),
    fc.uint8Array({ maxLength: 40 }),
    fc.nat(9).map((n) => testId(n)),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.constantFrom('version', 'kind', 'size', 'body', 'files', '__proto__', '/', 'then'), tie('value')),
  ),
})).value;

describe.each(decoders)('the %s decoder', (_, decode, good) => {
  it('accepts its document', () => {
    expect(onlyLogErrors(() => decode(good))).toBe(true);
  });

  it('throws only LogError on changed bytes, and what it accepts is canonical', () => {
    fc.assert(
      fc.property(fc.array(mutation, { minLength: 1, maxLength: 4 }), (changes) => {
        const bytes = changes.reduce((now, change) => (now.length === 0 ? now : mutate(now, change)), good);
        if (onlyLogErrors(() => decode(bytes))) {
          expect(Buffer.from(dagCbor.encode(dagCbor.decode(bytes))).equals(bytes)).toBe(true);
        }
      }),
      { numRuns: 400 },
    );
  });

  it('throws only LogError on random bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        onlyLogErrors(() => decode(bytes));
      }),
      { numRuns: 300 },
    );
  });

  it('throws only LogError when any one field holds any other value', () => {
    const value = dagCbor.decode<Record<string, unknown>>(good);
    fc.assert(
      fc.property(fc.constantFrom(...Object.keys(value)), anyValue, (field, other) => {
        const bytes = dagCbor.encode({ ...value, [field]: other });
        onlyLogErrors(() => decode(bytes));
      }),
      { numRuns: 400 },
    );
  });
});

describe('the text decoders', () => {
  it.each<[string, (text: string) => unknown, string]>([
    ['key', keyFromText, keyToText(key.publicKey)],
    ['PEM', keyFromPem, keyToPem(key)],
    ['community id', parseCommunityId, testId(1).toString()],
  ])('throw only LogError: %s', (_, decode, good) => {
    expect(onlyLogErrors(() => decode(good))).toBe(true);
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.nat(good.length), fc.nat(3), (text, at, cut) => {
        onlyLogErrors(() => decode(text));
        onlyLogErrors(() => decode(good.slice(0, at) + text + good.slice(at + cut)));
      }),
      { numRuns: 200 },
    );
  });
});
