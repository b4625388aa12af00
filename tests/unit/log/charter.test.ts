import * as dagCbor from '@ipld/dag-cbor';
import { describe, expect, it } from 'vitest';
import {
  type CharterEncoder,
  type CharterInput,
  charterId,
  charterLinear,
  charterTable,
  createCharter,
  decodeCharter,
  encodeCharter,
  isMember,
  MAX_CHARTER_BYTES,
  MAX_CHARTER_TENSORS,
  MAX_COMMUNITY_NAME_BYTES,
  MAX_FLOAT_ELEMENTS,
  MAX_OTHER_ELEMENTS,
  MAX_SCALE_FACTOR,
  MAX_SEALERS,
  MAX_SIDE_FILES,
  MAX_TENSOR_DIMENSIONS,
  MAX_TENSOR_NAME_BYTES,
  parseCommunityId,
} from '../../../src/log/index.ts';
import { charterInput, codeOf, digest, testCharter, testKey } from './helpers.ts';

const tensor = (changes: Record<string, unknown> = {}) => ({
  name: 'w',
  dtype: 'F32',
  shape: [2, 3],
  linear: false,
  sha256: digest(1),
  ...changes,
});
const base = (tensors: unknown, sideFiles: unknown = []): Partial<CharterInput> => ({
  base: { sumSquares: 1, tensors, sideFiles } as CharterInput['base'],
});
const admission = (changes: Record<string, unknown>): Partial<CharterInput> => ({
  admission: { ...charterInput().admission, ...changes } as CharterInput['admission'],
});
const encoder = (changes: Partial<CharterEncoder>): Partial<CharterInput> => ({
  codec: { encoder: { ...charterInput().codec.encoder, ...changes } },
});
const create = (changes: Partial<CharterInput>): string => codeOf(() => createCharter(charterInput(changes)));
const members = [testKey(3), testKey(1), testKey(2)].map((key) => key.publicKey);

describe('charter', () => {
  it('round-trips, and lists given in any order make the same community', () => {
    const input = charterInput({ membership: members, sealers: { keys: members, threshold: 2 } });
    const charter = createCharter(input);
    const bytes = encodeCharter(charter);
    expect(decodeCharter(bytes)).toEqual(charter);
    expect(encodeCharter(decodeCharter(bytes))).toEqual(bytes);
    const shuffled = createCharter({
      ...input,
      membership: [...members].reverse(),
      base: { ...input.base, tensors: [...input.base.tensors].reverse() },
    });
    expect(encodeCharter(shuffled)).toEqual(bytes);
    expect(charter.base.tensors.map(({ name }) => name)).toEqual(['head.bias', 'head.weight', 'steps']);
  });

  it('has its id as the name of the community, in text and back', () => {
    const { bytes, id } = testCharter();
    expect(parseCommunityId(id.toString()).equals(charterId(bytes))).toBe(true);
    for (const bad of ['', 'vision8', id.toString().toUpperCase()]) {
      expect(codeOf(() => parseCommunityId(bad))).toBe('BAD_COMMUNITY_ID');
    }
  });

  it('gives every field a part in the id', () => {
    const ids = new Set(
      [
        {},
        { name: 'other' },
        { owner: testKey(9).publicKey },
        { membership: members },
        { budgets: { updates: 1, bytes: 2 ** 40 } },
        admission({ minReference: 4 }),
        { sealers: { keys: members, threshold: 1 } },
        { codec: { ...charterInput().codec, payloadVersions: [1, 2] } },
        encoder({ density: 0.1 }),
        encoder({ mode: 'global' }),
        encoder({ scaleUnit: 'deviation' }),
        encoder({ scaleFactor: MAX_SCALE_FACTOR }),
        { merge: { method: 'opcm', variant: 'lite', alpha: 0.5, scale: 1 } } as const,
        base([tensor()]),
        base([tensor({ linear: true })]),
        base([tensor()], [{ name: 'a', size: 0, sha256: digest(2) }]),
      ].map((changes) => testCharter(changes).id.toString()),
    );
    expect(ids.size).toBe(16);
  });

  it('numbers only float tensors, in code-point order of their names', () => {
    const { charter } = testCharter(
      base([
        tensor({ name: '\u{10000}', dtype: 'F64', shape: [] }),
        tensor({ name: '\ue000', dtype: 'BF16' }),
        tensor({ name: 'b', dtype: 'I64' }),
        tensor({ name: 'a', dtype: 'F16', linear: true }),
        tensor({ name: 'B', dtype: 'U8' }),
      ]),
    );
    expect(charterTable(charter)).toEqual([
      { name: 'a', shape: [2, 3], elements: 6 },
      { name: '\ue000', shape: [2, 3], elements: 6 },
      { name: '\u{10000}', shape: [], elements: 1 },
    ]);
    expect(charterLinear(charter)).toEqual(['a']);
  });

  it('knows its members', () => {
    const { charter } = testCharter({ membership: members });
    for (const member of members) expect(isMember(charter, member)).toBe(true);
    for (const n of [0, 4, 5, 6]) expect(isMember(charter, testKey(n).publicKey)).toBe(false);
    expect(isMember(testCharter().charter, testKey(9).publicKey)).toBe(true);
  });

  it.each<[string, Partial<CharterInput>, string]>([
    ['no name', { name: '' }, 'BAD_TEXT'],
    ['a name that is too long', { name: 'n'.repeat(MAX_COMMUNITY_NAME_BYTES + 1) }, 'BAD_TEXT'],
    ['an owner of small order', { owner: new Uint8Array(32) }, 'BAD_KEY'],
    ['an empty member list', { membership: [] }, 'OUT_OF_RANGE'],
    ['another word than open', { membership: 'closed' as 'open' }, 'WRONG_TYPE'],
    ['a repeated member', { membership: [members[0]!, members[0]!] }, 'NOT_SORTED'],
    ['a threshold without keys', { sealers: { keys: [], threshold: 1 } }, 'CHARTER_INVALID'],
    ['keys without a threshold', { sealers: { keys: members, threshold: 0 } }, 'CHARTER_INVALID'],
    ['a threshold above the keys', { sealers: { keys: members, threshold: 4 } }, 'CHARTER_INVALID'],
    ['a budget of no updates', { budgets: { updates: 0, bytes: 1 } }, 'OUT_OF_RANGE'],
    ['a budget of no bytes', { budgets: { updates: 1, bytes: 0 } }, 'OUT_OF_RANGE'],
    ['a fractional budget', { budgets: { updates: 1.5, bytes: 1 } }, 'WRONG_TYPE'],
    ['no payload version', { codec: { ...charterInput().codec, payloadVersions: [] } }, 'OUT_OF_RANGE'],
    ['payload versions that descend', { codec: { ...charterInput().codec, payloadVersions: [2, 1] } }, 'NOT_SORTED'],
    ['an encoder that keeps nothing', encoder({ density: 0 }), 'OUT_OF_RANGE'],
    ['an encoder that keeps more than is admitted', encoder({ density: 0.51 }), 'CHARTER_INVALID'],
    ['an encoder without a scale', encoder({ scaleFactor: 0 }), 'OUT_OF_RANGE'],
    ['an encoder with a scale beyond all use', encoder({ scaleFactor: MAX_SCALE_FACTOR + 1 }), 'OUT_OF_RANGE'],
    ['an encoder of an unknown mode', encoder({ mode: 'row' as 'global' }), 'CHARTER_INVALID'],
    ['an encoder of an unknown unit', encoder({ scaleUnit: 'metre' as 'deviation' }), 'CHARTER_INVALID'],
    ['opposite above duplicate', admission({ opposite: 0.96 }), 'CHARTER_INVALID'],
    ['a kinship band that descends', admission({ kinship: [0.9, -0.1] }), 'CHARTER_INVALID'],
    ['an empty kinship band', admission({ kinship: [0.1, 0.1] }), 'CHARTER_INVALID'],
    ['a cosine above one', admission({ duplicate: 1.01 }), 'OUT_OF_RANGE'],
    ['a norm band that leaves out one', admission({ normRatio: [1.1, 3] }), 'OUT_OF_RANGE'],
    ['no reference at all', admission({ minReference: 0 }), 'OUT_OF_RANGE'],
    ['a density above one', admission({ maxDensity: 1.5 }), 'OUT_OF_RANGE'],
    ['a norm of zero', admission({ maxNorm: 0 }), 'OUT_OF_RANGE'],
    ['a scale beyond float32', admission({ maxScale: 1e39 }), 'OUT_OF_RANGE'],
    ['an unbounded payload', admission({ maxPayloadBytes: Number.MAX_SAFE_INTEGER }), 'OUT_OF_RANGE'],
    ['another merge method', { merge: { ...charterInput().merge, method: 'ties' as 'opcm' } }, 'ALGORITHM_UNKNOWN'],
    ['another variant', { merge: { ...charterInput().merge, variant: 'max' as 'ref' } }, 'ALGORITHM_UNKNOWN'],
    ['alpha above one', { merge: { ...charterInput().merge, alpha: 1.01 } }, 'OUT_OF_RANGE'],
    ['a scale of zero', { merge: { ...charterInput().merge, scale: 0 } }, 'OUT_OF_RANGE'],
    ['a base of zeros', { base: { ...charterInput().base, sumSquares: 0 } }, 'OUT_OF_RANGE'],
    ['no tensors', base([]), 'OUT_OF_RANGE'],
    ['no float tensor', base([tensor({ dtype: 'I32' })]), 'CHARTER_INVALID'],
    ['an unknown dtype', base([tensor({ dtype: 'F4' })]), 'CHARTER_INVALID'],
    ['a repeated tensor', base([tensor(), tensor()]), 'NOT_SORTED'],
    ['a tensor without name', base([tensor({ name: '' })]), 'BAD_TEXT'],
    ['a long tensor name', base([tensor({ name: 'n'.repeat(MAX_TENSOR_NAME_BYTES + 1) })]), 'BAD_TEXT'],
    ['a negative dimension', base([tensor({ shape: [-1] })]), 'OUT_OF_RANGE'],
    ['nine dimensions', base([tensor({ shape: Array(MAX_TENSOR_DIMENSIONS + 1).fill(1) })]), 'OUT_OF_RANGE'],
    ['too many elements', base([tensor({ shape: [MAX_FLOAT_ELEMENTS + 1] })]), 'OUT_OF_RANGE'],
    ['a product that overflows', base([tensor({ dtype: 'U8', shape: Array(8).fill(2 ** 37) })]), 'OUT_OF_RANGE'],
    ['a linear vector', base([tensor({ linear: true, shape: [6] })]), 'CHARTER_INVALID'],
    ['a linear integer matrix', base([tensor(), tensor({ name: 'x', linear: true, dtype: 'I8' })]), 'CHARTER_INVALID'],
    ['a digest of 31 bytes', base([tensor({ sha256: new Uint8Array(31) })]), 'OUT_OF_RANGE'],
    ...['../x', 'a/b', 'a\\b', '.', '..', '.hidden', '-x', 'x.', 'nul.txt', 'a b', 'ü'].map(
      (name) =>
        [`the side file ${name}`, base([tensor()], [{ name, size: 1, sha256: digest(1) }]), 'BAD_NAME'] as const,
    ),
    [
      'weights as a side file',
      base([tensor()], [{ name: 'model.safetensors', size: 1, sha256: digest(1) }]),
      'BAD_NAME',
    ],
    [
      'side files that differ by case',
      base(
        [tensor()],
        ['a', 'A'].map((name) => ({ name, size: 1, sha256: digest(1) })),
      ),
      'NOT_SORTED',
    ],
  ] as [string, Partial<CharterInput>, string][])('refuses %s', (_, changes, code) => {
    expect(create(changes)).toBe(code);
  });

  it('holds its limits at their edge', () => {
    expect(create({ name: 'n'.repeat(MAX_COMMUNITY_NAME_BYTES) })).toBe('NO_ERROR');
    expect(create(base([tensor({ shape: [MAX_FLOAT_ELEMENTS] })]))).toBe('NO_ERROR');
    expect(create(base([tensor(), tensor({ name: 'x', dtype: 'U8', shape: [MAX_OTHER_ELEMENTS] })]))).toBe('NO_ERROR');
    expect(create(base([tensor({ shape: Array(MAX_TENSOR_DIMENSIONS).fill(1) })]))).toBe('NO_ERROR');
    expect(create(base([tensor({ name: 'n'.repeat(MAX_TENSOR_NAME_BYTES) })]))).toBe('NO_ERROR');
    const files = (n: number) => Array.from({ length: n }, (_, i) => ({ name: `f${i}`, size: 1, sha256: digest(1) }));
    expect(create(base([tensor()], files(MAX_SIDE_FILES)))).toBe('NO_ERROR');
    expect(create(base([tensor()], files(MAX_SIDE_FILES + 1)))).toBe('OUT_OF_RANGE');
    const keys = Array.from({ length: MAX_SEALERS + 1 }, (_, i) => testKey(i).publicKey);
    expect(create({ sealers: { keys: keys.slice(1), threshold: MAX_SEALERS } })).toBe('NO_ERROR');
    expect(create({ sealers: { keys, threshold: 1 } })).toBe('OUT_OF_RANGE');
  });

  it('takes as many tensors as its limit says, and no more', () => {
    const sha256 = digest(1);
    const many = Array.from({ length: MAX_CHARTER_TENSORS }, (_, i) => tensor({ name: `layers.${i}.weight`, sha256 }));
    expect(createCharter(charterInput(base(many))).base.tensors).toHaveLength(MAX_CHARTER_TENSORS);
    const value = dagCbor.decode<Record<string, object>>(testCharter().bytes);
    const decode = (count: number): string =>
      codeOf(() =>
        decodeCharter(dagCbor.encode({ ...value, base: { ...value.base, tensors: new Array(count).fill(null) } })),
      );
    // Nulls are no tensors: at the limit the list is read, above it only counted.
    expect(decode(MAX_CHARTER_TENSORS)).toBe('WRONG_TYPE');
    expect(decode(MAX_CHARTER_TENSORS + 1)).toBe('OUT_OF_RANGE');
  });

  it('refuses what a newer program may know by its version, and unknown fields everywhere', () => {
    const value = dagCbor.decode<Record<string, Record<string, unknown>>>(testCharter().bytes);
    const change = (edit: (copy: Record<string, Record<string, unknown>>) => void): string => {
      const copy = structuredClone(value);
      edit(copy);
      return codeOf(() => decodeCharter(dagCbor.encode(copy)));
    };
    expect(change(() => {})).toBe('NO_ERROR');
    expect(
      change((copy) => {
        Object.assign(copy, { version: 2, more: 1 });
      }),
    ).toBe('VERSION_UNKNOWN');
    for (const part of ['sealers', 'budgets', 'admission', 'codec', 'merge', 'base']) {
      expect(change((copy) => Object.assign(copy[part]!, { more: 1 }))).toBe('UNKNOWN_FIELD');
      expect(change((copy) => delete copy[part]![Object.keys(copy[part]!)[0]!])).toBe('MISSING_FIELD');
    }
    expect(codeOf(() => decodeCharter(new Uint8Array(MAX_CHARTER_BYTES + 1)))).toBe('TOO_LARGE');
    expect(
      change((copy) => {
        (copy.base!.tensors as unknown[]).reverse();
      }),
    ).toBe('NOT_SORTED');
  });
});
