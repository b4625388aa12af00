import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { encodeTernarySync, ternaryFromSigns } from '../../../src/codec/index.ts';
import { DEFAULT_POLICY } from '../../../src/kinship/index.ts';
import {
  charterId,
  createCharter,
  encodeCharter,
  encodeCheckpoint,
  encodeRecipe,
  encodeSigned,
  encodeSignedHead,
  generateKey,
  keyToText,
  manifestOf,
  recipeId,
  type SignedUpdate,
  signHead,
  signRecord,
} from '../../../src/log/index.ts';
import { createSafetensors } from '../../../src/tensors/index.ts';
import { runInProcess } from './support.ts';

const ELEMENTS = 12;
const key = generateKey();
const merge = { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 } as const;
const charter = createCharter({
  name: 'a test',
  owner: key.publicKey,
  membership: 'open',
  budgets: { updates: 10, bytes: 1000 },
  admission: { ...DEFAULT_POLICY, maxNorm: 1, maxScale: 1, maxDensity: 0.5, maxPayloadBytes: 1000 },
  codec: { encoder: { density: 0.2, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 2 } },
  merge,
  base: {
    sumSquares: 1,
    tensors: [{ name: 'w', dtype: 'F32', shape: [3, 4], linear: true, sha256: new Uint8Array(32) }],
    sideFiles: [],
  },
});
const charterBytes = encodeCharter(charter);
const community = charterId(charterBytes);

let dir: string;
let payload: Uint8Array;
let record: SignedUpdate;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'kinmerge-inspect-'));
  const signs = Array.from({ length: ELEMENTS }, (_, i) => (i % 4 === 0 ? 1 : 0));
  payload = encodeTernarySync([{ name: 'w', shape: [3, 4], elements: ELEMENTS }], [ternaryFromSigns(0, signs, 0.25)!]);
  record = signRecord(
    {
      version: 1,
      kind: 'update',
      author: key.publicKey,
      charter: community,
      seq: 0,
      prev: null,
      parents: [],
      payload: (await manifestOf(payload)).id,
      title: 'a title',
      license: 'Apache-2.0',
      note: '',
    },
    key,
  );
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function inspect(name: string, bytes: Uint8Array, ...more: string[]) {
  const path = join(dir, name);
  await writeFile(path, bytes);
  const { code, stdout } = await runInProcess(['inspect', path, '--json', ...more]);
  return { code, document: JSON.parse(stdout) };
}

describe('by their content, whatever their names', () => {
  test('a charter', async () => {
    const { code, document } = await inspect('a', charterBytes);
    expect(code).toBe(0);
    expect(document).toMatchObject({
      kind: 'charter',
      id: `${community}`,
      name: 'a test',
      owner: keyToText(key.publicKey),
      membership: 'open',
      encoder: { density: 0.2, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 2 },
      merge,
      tensors: [{ name: 'w', dtype: 'F32', linear: true, shape: [3, 4] }],
    });
  });

  test('a signed record', async () => {
    const { document } = await inspect('b', encodeSigned(record));
    expect(document).toMatchObject({
      kind: 'record',
      id: `${record.id}`,
      signature: 'valid',
      author: keyToText(key.publicKey),
      community: `${community}`,
      title: 'a title',
      prev: null,
    });
  });

  test('a record with a wrong signature is refused', async () => {
    const signature = record.signature.slice();
    signature[3]! ^= 1;
    const { code, document } = await inspect('c', encodeSigned({ ...record, signature }));
    expect({ code, reason: document.error.code }).toEqual({ code: 3, reason: 'BAD_SIGNATURE' });
  });

  test('a recipe, a head and a checkpoint document', async () => {
    const recipe = { version: 1, charter: community, algorithm: 'opcm/1', updates: [record.id], merge } as const;
    const id = recipeId(recipe);
    expect((await inspect('d', encodeRecipe(recipe))).document).toMatchObject({
      kind: 'recipe',
      id: `${id}`,
      updates: [`${record.id}`],
    });
    const head = signHead(
      {
        version: 1,
        node: key.publicKey,
        charter: community,
        recipe: id,
        frontier: [record.id],
        truncated: false,
        accepted: 1,
        held: 1,
        checkpoint: null,
        sealed: null,
        counter: 7,
      },
      key,
    );
    expect((await inspect('e', encodeSignedHead(head))).document).toMatchObject({
      kind: 'head',
      signature: 'valid',
      recipe: `${id}`,
      counter: 7,
    });
    const files = [{ name: 'model.safetensors', size: payload.length, manifest: record.record.payload }];
    expect((await inspect('f', encodeCheckpoint({ version: 1, recipe: id, files }))).document).toMatchObject({
      kind: 'checkpoint document',
      recipe: `${id}`,
    });
  });

  test('a manifest', async () => {
    const { id, bytes } = await manifestOf(payload);
    expect((await inspect('g', bytes)).document).toMatchObject({
      kind: 'manifest',
      id: `${id}`,
      content: payload.length,
      blocks: 1,
    });
  });

  test('a payload, alone and with its charter', async () => {
    const { document: alone } = await inspect('h', payload);
    expect(alone).toMatchObject({ kind: 'payload', payload: `${record.record.payload}`, checked: false });
    await writeFile(join(dir, 'charter'), charterBytes);
    const { document: checked } = await inspect('h', payload, '--charter', join(dir, 'charter'));
    expect(checked).toMatchObject({ kind: 'payload', checked: true, entries: 3, norm: Math.sqrt(3) / 4 });
    const { code, document } = await inspect('i', payload.subarray(0, -1), '--charter', join(dir, 'charter'));
    expect({ code, reason: document.error.code }).toEqual({ code: 1, reason: 'TRUNCATED' });
  });

  test('a safetensors file and a checkpoint directory', async () => {
    const directory = join(dir, 'model');
    await mkdir(directory);
    const file = join(directory, 'model.safetensors');
    const writer = await createSafetensors(file, [{ name: 'w', dtype: 'BF16', shape: [2] }], {
      metadata: { made: 'here' },
    });
    await writer.write('w', new Uint8Array(4));
    await writer.commit();
    await writeFile(join(directory, 'config.json'), '{}');
    const expected = { elements: 2, metadata: { made: 'here' }, tensors: [{ name: 'w', dtype: 'BF16', shape: [2] }] };
    const single = await runInProcess(['inspect', file, '--json']);
    expect(JSON.parse(single.stdout)).toMatchObject({ kind: 'safetensors file', sideFiles: [], ...expected });
    const whole = await runInProcess(['inspect', directory, '--json']);
    expect(JSON.parse(whole.stdout)).toMatchObject({
      kind: 'checkpoint directory',
      sideFiles: ['config.json'],
      ...expected,
    });
    const text = await runInProcess(['inspect', directory]);
    expect(text.stdout).toMatch(/^kind +checkpoint directory\n/);
    expect(text.stdout).toMatch(/^w +BF16 +\[2\]$/m);
  });
});

describe('what is nothing of these', () => {
  test.each([
    ['an empty file', new Uint8Array(0), 'FILE_TOO_SMALL'],
    ['a web page', Buffer.from('<!doctype html><p>gone</p>'), 'NOT_SAFETENSORS'],
    ['a document cut short', charterBytes.subarray(0, -3), 'MALFORMED_CBOR'],
    ['a document with something behind it', Uint8Array.from([...charterBytes, 0]), 'MALFORMED_CBOR'],
  ])('%s', async (_what, bytes, code) => {
    const { code: exit, document } = await inspect('bad', bytes);
    expect({ exit, code: document.error.code }).toEqual({ exit: 1, code });
  });
});
