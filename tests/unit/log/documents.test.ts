import * as dagCbor from '@ipld/dag-cbor';
import { describe, expect, it, test } from 'vitest';
import {
  BLOCK_BYTES,
  blockSize,
  type CheckpointDocument,
  checkpointId,
  decodeCheckpoint,
  decodeManifest,
  decodeRecipe,
  decodeSignedHead,
  encodeCheckpoint,
  encodeManifest,
  encodeRecipe,
  encodeSignedHead,
  frontierOf,
  type Head,
  idOf,
  idText,
  MAX_CHECKPOINT_BYTES,
  MAX_CHECKPOINT_FILES,
  MAX_CONTENT_BYTES,
  MAX_FRONTIER,
  MAX_HEAD_BYTES,
  MAX_RECIPE_BYTES,
  MAX_RECIPE_UPDATES,
  manifestOf,
  parseId,
  type Recipe,
  recipeId,
  sha256,
  signBytes,
  signHead,
} from '../../../src/log/index.ts';
import { codeOf, digest, sorted, testId, testKey } from './helpers.ts';

describe('manifest', () => {
  const content = (size: number): Uint8Array => Uint8Array.from({ length: size }, (_, i) => (i * 31) & 255);

  it('names the same content the same, however it is cut into chunks', async () => {
    const bytes = content(2 * BLOCK_BYTES + 3);
    const whole = await manifestOf(bytes);
    expect(whole.manifest.size).toBe(bytes.length);
    expect(whole.manifest.blocks).toEqual([
      sha256(bytes.subarray(0, BLOCK_BYTES)),
      sha256(bytes.subarray(BLOCK_BYTES, 2 * BLOCK_BYTES)),
      sha256(bytes.subarray(2 * BLOCK_BYTES)),
    ]);
    expect([0, 1, 2].map((i) => blockSize(whole.manifest, i))).toEqual([BLOCK_BYTES, BLOCK_BYTES, 3]);
    for (const step of [100_003, BLOCK_BYTES, BLOCK_BYTES + 1]) {
      const chunks: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += step) chunks.push(bytes.subarray(at, at + step));
      expect((await manifestOf(chunks)).id.equals(whole.id)).toBe(true);
    }
    expect(decodeManifest(whole.bytes)).toEqual(whole.manifest);
    expect(whole.id.equals(idOf(whole.bytes))).toBe(true);
  });

  it.each([
    [0, 0],
    [1, 1],
    [BLOCK_BYTES, 1],
    [BLOCK_BYTES + 1, 2],
  ])('of %i bytes has %i blocks', async (size, blocks) => {
    expect((await manifestOf(content(size))).manifest.blocks).toHaveLength(blocks);
  });

  it('refuses a count that does not follow from the size, another block size, and content above the limit', () => {
    const blocks = [digest(1), digest(2)];
    const decode = (changes: Record<string, unknown>, max?: number): string =>
      codeOf(() =>
        decodeManifest(dagCbor.encode({ size: BLOCK_BYTES + 1, blockSize: BLOCK_BYTES, blocks, ...changes }), max),
      );
    expect(decode({})).toBe('NO_ERROR');
    expect(decode({ size: BLOCK_BYTES })).toBe('MANIFEST_MISMATCH');
    expect(decode({ size: 2 * BLOCK_BYTES + 1 })).toBe('MANIFEST_MISMATCH');
    expect(decode({ size: 0 })).toBe('MANIFEST_MISMATCH');
    expect(decode({ size: 0, blocks: [] })).toBe('NO_ERROR');
    expect(decode({ blockSize: 1024 })).toBe('OUT_OF_RANGE');
    expect(decode({ blocks: [digest(1), new Uint8Array(31)] })).toBe('OUT_OF_RANGE');
    expect(decode({ name: 'x' })).toBe('UNKNOWN_FIELD');
    expect(decode({}, BLOCK_BYTES + 1)).toBe('NO_ERROR');
    expect(decode({}, BLOCK_BYTES)).not.toBe('NO_ERROR');
    expect(decode({ size: BLOCK_BYTES + 2 }, BLOCK_BYTES + 1)).toBe('OUT_OF_RANGE');
    expect(codeOf(() => encodeManifest({ size: MAX_CONTENT_BYTES + 1, blocks: [] }))).toBe('OUT_OF_RANGE');
    expect(codeOf(() => encodeManifest({ size: 1, blocks: [] }))).toBe('MANIFEST_MISMATCH');
  });

  it('stops at the caller’s signal', async () => {
    await expect(manifestOf(content(10), { signal: AbortSignal.abort(new Error('stop')) })).rejects.toThrow('stop');
  });
});

describe('recipe', () => {
  const recipe: Recipe = {
    version: 1,
    charter: testId(0),
    algorithm: 'opcm/1',
    updates: [testId(2), testId(1)],
    merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
  };

  it('round-trips, and its id depends on the order of the updates', () => {
    const bytes = encodeRecipe(recipe);
    expect(decodeRecipe(bytes)).toEqual(recipe);
    expect(recipeId(recipe).equals(idOf(bytes))).toBe(true);
    expect(recipeId({ ...recipe, updates: [testId(1), testId(2)] }).equals(recipeId(recipe))).toBe(false);
    expect(decodeRecipe(encodeRecipe({ ...recipe, updates: [] })).updates).toEqual([]);
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['a repeated update', { updates: [testId(1), testId(2), testId(1)] }, 'NOT_SORTED'],
    ['another algorithm', { algorithm: 'opcm/2' }, 'ALGORITHM_UNKNOWN'],
    ['another version', { version: 0 }, 'VERSION_UNKNOWN'],
    ['an unknown field', { seal: null }, 'UNKNOWN_FIELD'],
    ['a merge rule with more fields', { merge: { ...recipe.merge, order: 1 } }, 'UNKNOWN_FIELD'],
    ['a text for an id', { updates: [testId(1).toString()] }, 'BAD_CID'],
  ])('refuses %s', (_, changes, code) => {
    expect(codeOf(() => decodeRecipe(dagCbor.encode({ ...recipe, ...changes })))).toBe(code);
  });

  it('refuses more updates and more bytes than its limits', () => {
    const decode = (count: number): string =>
      codeOf(() => decodeRecipe(dagCbor.encode({ ...recipe, updates: new Array(count).fill(null) })));
    // Nulls are no ids: at the limit the list is read, above it only counted.
    expect(decode(MAX_RECIPE_UPDATES)).toBe('BAD_CID');
    expect(decode(MAX_RECIPE_UPDATES + 1)).toBe('OUT_OF_RANGE');
    expect(codeOf(() => decodeRecipe(new Uint8Array(MAX_RECIPE_BYTES + 1)))).toBe('TOO_LARGE');
  });
});

describe('head', () => {
  const node = testKey(5);
  const head: Head = {
    version: 1,
    node: node.publicKey,
    charter: testId(0),
    recipe: testId(1),
    frontier: sorted([testId(2), testId(3)]),
    truncated: false,
    accepted: 3,
    held: 4,
    checkpoint: testId(4),
    sealed: null,
    counter: 7,
  };
  const wire = (
    changes: Record<string, unknown>,
    key = node,
    domain: 'kinmerge/head/1' | 'kinmerge/record/1' = 'kinmerge/head/1',
  ) => {
    const body = dagCbor.encode({ ...head, ...changes });
    return dagCbor.encode({ body, signature: signBytes(key, domain, body) });
  };
  const decode = (...args: Parameters<typeof wire>): string => codeOf(() => decodeSignedHead(wire(...args)));

  it('round-trips with and without a checkpoint', () => {
    for (const checkpoint of [testId(4), null]) {
      const signed = signHead({ ...head, checkpoint }, node);
      expect(decodeSignedHead(encodeSignedHead(signed))).toEqual(signed);
    }
  });

  it('cuts a long frontier to its smallest ids and says so, within its size limit', () => {
    const ids = Array.from({ length: MAX_FRONTIER + 1 }, (_, i) => testId(i));
    const cut = frontierOf(ids);
    expect(cut.truncated).toBe(true);
    expect(cut.frontier).toEqual(sorted(ids).slice(0, MAX_FRONTIER));
    expect(frontierOf(ids.slice(1)).truncated).toBe(false);
    const signed = signHead({ ...head, ...cut, held: 2 ** 50, counter: Number.MAX_SAFE_INTEGER }, node);
    expect(signed.body.length).toBeLessThanOrEqual(MAX_HEAD_BYTES);
    expect(decodeSignedHead(encodeSignedHead(signed)).head.frontier).toHaveLength(MAX_FRONTIER);
    expect(decode({ frontier: sorted(ids), held: 100 })).toBe('OUT_OF_RANGE');
  });

  it.each<[string, Record<string, unknown>, string]>([
    ['an unsorted frontier', { frontier: [...head.frontier].reverse() }, 'NOT_SORTED'],
    ['more heads than records', { held: 1, accepted: 0 }, 'OUT_OF_RANGE'],
    ['more accepted than held', { accepted: 5 }, 'OUT_OF_RANGE'],
    ['no frontier over records', { frontier: [] }, 'OUT_OF_RANGE'],
    ['a short frontier that claims to be cut', { truncated: true }, 'OUT_OF_RANGE'],
    ['a negative counter', { counter: -1 }, 'OUT_OF_RANGE'],
    ['another version', { version: 2 }, 'VERSION_UNKNOWN'],
    ['an unknown field', { time: 1 }, 'UNKNOWN_FIELD'],
  ])('refuses %s', (_, changes, code) => {
    expect(decode(changes)).toBe(code);
  });

  it('refuses another key’s signature and one made for a record', () => {
    expect(decode({}, testKey(6))).toBe('BAD_SIGNATURE');
    expect(decode({}, node, 'kinmerge/record/1')).toBe('BAD_SIGNATURE');
    expect(codeOf(() => signHead(head, testKey(6)))).toBe('BAD_KEY');
  });

  it('refuses flipped bits in every byte', () => {
    const bytes = encodeSignedHead(signHead(head, node));
    for (let bit = 0; bit < bytes.length * 8; bit += 3) {
      const flipped = bytes.slice();
      flipped[bit >>> 3]! ^= 1 << (bit & 7);
      expect(codeOf(() => decodeSignedHead(flipped))).not.toBe('NO_ERROR');
    }
  });
});

describe('checkpoint document', () => {
  const file = (name: string, size = 1) => ({ name, size, manifest: testId(size) });
  const document: CheckpointDocument = {
    version: 1,
    recipe: testId(0),
    files: [file('config.json'), file('empty.txt', 0), file('model.safetensors', 2 ** 33)],
  };

  it('round-trips', () => {
    const bytes = encodeCheckpoint(document);
    expect(decodeCheckpoint(bytes)).toEqual(document);
    expect(checkpointId(document).equals(idOf(bytes))).toBe(true);
  });

  it.each<[string, unknown[], string]>([
    ['no files', [], 'OUT_OF_RANGE'],
    ['a path', [file('../config.json')], 'BAD_NAME'],
    ['an absolute path', [file('/etc/passwd')], 'BAD_NAME'],
    ['a repeated name', [file('a'), file('a')], 'NOT_SORTED'],
    ['names that differ by case', [file('A'), file('a')], 'NOT_SORTED'],
    ['names out of order', [file('b'), file('a')], 'NOT_SORTED'],
    ['a file with more fields', [{ ...file('a'), mode: 1 }], 'UNKNOWN_FIELD'],
    ['a size that is too large', [file('a', MAX_CONTENT_BYTES + 1)], 'OUT_OF_RANGE'],
  ])('refuses %s', (_, files, code) => {
    expect(codeOf(() => decodeCheckpoint(dagCbor.encode({ ...document, files })))).toBe(code);
    if (code !== 'UNKNOWN_FIELD') {
      expect(codeOf(() => encodeCheckpoint({ ...document, files: files as CheckpointDocument['files'] }))).toBe(code);
    }
  });

  it('takes as many files as its limit says, with the longest names, and no more', () => {
    const files = Array.from({ length: MAX_CHECKPOINT_FILES + 1 }, (_, i) =>
      file(`${String(i).padStart(4, '0')}${'n'.repeat(251)}`, 2 ** 37),
    );
    const bytes = encodeCheckpoint({ ...document, files: files.slice(1) });
    expect(bytes.length).toBeLessThanOrEqual(MAX_CHECKPOINT_BYTES);
    expect(decodeCheckpoint(bytes).files).toHaveLength(MAX_CHECKPOINT_FILES);
    expect(codeOf(() => encodeCheckpoint({ ...document, files }))).toBe('OUT_OF_RANGE');
  });
});

test('the text of an id is what the library says', () => {
  for (let i = 0; i < 200; i++) {
    const id = idOf(Uint8Array.of(i));
    expect(idText(id)).toBe(id.toString());
    expect(parseId(idText(id)).equals(id)).toBe(true);
  }
});
