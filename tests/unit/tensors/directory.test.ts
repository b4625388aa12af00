import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import {
  INDEX_FILE,
  isPlainName,
  MAX_INDEX_BYTES,
  MAX_SHARDS,
  MAX_SIDE_FILE_BYTES,
  MAX_SIDE_FILES,
  openCheckpoint,
  SINGLE_FILE,
} from '../../../src/tensors/index.ts';
import { entry, f32File, failure, fileBytes, tempDir, tempFile } from './files.ts';

const FIRST = 'model-00001-of-00002.safetensors';
const SECOND = 'model-00002-of-00002.safetensors';

/** A directory of two shards; `index` is its JSON text or value. */
async function sharded(index: unknown, files: Record<string, Uint8Array> = {}): Promise<string> {
  const dir = await tempDir();
  const shards = { [FIRST]: f32File('b', [1, 2]), [SECOND]: f32File('a', [3]), ...files };
  for (const [name, bytes] of Object.entries(shards)) await writeFile(join(dir, name), bytes);
  await writeFile(join(dir, INDEX_FILE), typeof index === 'string' ? index : JSON.stringify(index));
  return dir;
}

const good = { metadata: { total_size: 12 }, weight_map: { b: FIRST, a: SECOND } };

describe('a sharded directory', () => {
  test('opens as one checkpoint with names in order', async () => {
    const checkpoint = await openCheckpoint(await sharded(good));
    expect([...checkpoint.tensors.keys()]).toEqual(['a', 'b']);
    expect([...(await checkpoint.readFloat32('a'))]).toEqual([3]);
    expect([...(await checkpoint.readFloat32('b'))]).toEqual([1, 2]);
    expect(checkpoint.weightFiles.map(({ name }) => name)).toEqual([FIRST, SECOND]);
    expect(checkpoint.warnings).toEqual([]);
    await checkpoint.close();
  });

  test('a wrong, missing or extra total is tolerated', async () => {
    for (const metadata of [{ total_size: 99 }, { total_size: 1.5e9, total_parameters: 'x' }]) {
      const checkpoint = await openCheckpoint(await sharded({ ...good, metadata }));
      expect(checkpoint.warnings.map(({ code }) => code)).toEqual(['TOTAL_SIZE_DIFFERS']);
      await checkpoint.close();
    }
    for (const index of [{ weight_map: good.weight_map }, { ...good, metadata: null, extra: [{}] }]) {
      const checkpoint = await openCheckpoint(await sharded(index));
      expect(checkpoint.warnings).toEqual([]);
      await checkpoint.close();
    }
  });

  const doubled = fileBytes(`{${entry('a', 'U8', [1], 0, 1)},${entry('b', 'U8', [1], 1, 2)}}`, 2);
  test.each([
    ['a missing shard', { weight_map: { ...good.weight_map, c: 'model-3.safetensors' } }, {}, 'SHARD_MISSING'],
    ['a tensor that no shard has', { weight_map: { ...good.weight_map, c: FIRST } }, {}, 'INDEX_EXTRA_TENSOR'],
    ['a tensor placed in the wrong shard', { weight_map: { b: SECOND, a: FIRST } }, {}, 'UNINDEXED_TENSOR'],
    [
      'a tensor that the index does not know',
      { weight_map: { b: FIRST, a: SECOND } },
      { [SECOND]: doubled },
      'UNINDEXED_TENSOR',
    ],
    ['a shard cut short', good, { [SECOND]: f32File('a', [3]).subarray(0, -1) }, 'FILE_TRUNCATED'],
    ['no weight_map', { metadata: {} }, {}, 'INDEX_INVALID'],
    ['a weight_map that is a list', { weight_map: [] }, {}, 'INDEX_INVALID'],
    ['a file name that is a number', { weight_map: { a: 1 } }, {}, 'INDEX_INVALID'],
    ['an empty file', '', {}, 'INDEX_INVALID'],
    ['a cut file', JSON.stringify(good).slice(0, -1), {}, 'INDEX_INVALID'],
    ['a tensor named twice', `{"weight_map":{"a":"${FIRST}","a":"${SECOND}"}}`, {}, 'INDEX_INVALID'],
    ['two weight maps', '{"weight_map":{},"weight_map":{}}', {}, 'INDEX_INVALID'],
    ['deep nesting', `{"x":${'['.repeat(5000)}`, {}, 'INDEX_INVALID'],
  ])('is refused with %s', async (_what, index, files, code) => {
    const dir = await sharded(index, files as Record<string, Uint8Array>);
    expect((await failure(() => openCheckpoint(dir))).code).toBe(code);
  });

  test.each([
    '../model.safetensors',
    '..',
    '/etc/x.safetensors',
    'a/b.safetensors',
    'a\\b.safetensors',
    'C:x.safetensors',
    'https://x/y.safetensors',
    'x\u0000.safetensors',
    '.hidden.safetensors',
    '',
    'model.bin',
    `${'x'.repeat(244)}.safetensors`,
  ])('is refused when the index names %j', async (file) => {
    const dir = await sharded({ weight_map: { a: file } });
    expect((await failure(() => openCheckpoint(dir))).code).toBe('UNSAFE_SHARD_NAME');
  });

  test('has a bounded number of shards', async () => {
    const map = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, i) => [`t${i}`, `model-${i}.safetensors`]));
    const most = await sharded({ weight_map: map(MAX_SHARDS) });
    expect((await failure(() => openCheckpoint(most))).code).toBe('SHARD_MISSING');
    const more = await sharded({ weight_map: map(MAX_SHARDS + 1) });
    expect((await failure(() => openCheckpoint(more))).code).toBe('TOO_MANY_SHARDS');
  });

  test('has a bounded index', async () => {
    const dir = await sharded(good);
    await truncate(join(dir, INDEX_FILE), MAX_INDEX_BYTES + 1);
    expect((await failure(() => openCheckpoint(dir))).code).toBe('INDEX_TOO_LARGE');
  });
});

describe('side files', () => {
  async function single(files: readonly string[]): Promise<string> {
    const dir = await tempDir();
    await writeFile(join(dir, SINGLE_FILE), f32File('a', [1]));
    for (const name of files) await writeFile(join(dir, name), name);
    return dir;
  }
  const list = async (dir: string) => {
    const checkpoint = await openCheckpoint(dir);
    await checkpoint.close();
    return { names: checkpoint.sideFiles.map(({ name }) => name), warnings: checkpoint.warnings };
  };

  test('are configuration and tokenizer, and nothing else', async () => {
    const carried = [
      'added_tokens.json',
      'chat_template.jinja',
      'config.json',
      'generation_config.json',
      'merges.txt',
      'preprocessor_config.json',
      'qwen.tiktoken',
      'sentencepiece.bpe.model',
      'special_tokens_map.json',
      'spiece.model',
      'tokenizer.json',
      'tokenizer.model',
      'tokenizer_config.json',
      'vocab.json',
      'vocab.txt',
    ];
    const left = [
      'README.md',
      '.gitattributes',
      'modeling_x.py',
      'trainer_state.json',
      'optimizer.pt',
      '.env',
      'LICENSE',
    ];
    const dir = await single([...carried, ...left]);
    await mkdir(join(dir, 'onnx'));
    expect(await list(dir)).toEqual({ names: carried, warnings: [] });
  });

  test('of a lone file are none', async () => {
    const checkpoint = await openCheckpoint(await tempFile(f32File('a', [1])));
    expect(checkpoint.sideFiles).toEqual([]);
    await checkpoint.close();
  });

  test('have a bounded size', async () => {
    const dir = await single(['config.json', 'tokenizer.json']);
    await truncate(join(dir, 'config.json'), MAX_SIDE_FILE_BYTES);
    await truncate(join(dir, 'tokenizer.json'), MAX_SIDE_FILE_BYTES + 1);
    const { names, warnings } = await list(dir);
    expect(names).toEqual(['config.json']);
    expect(warnings.map(({ code }) => code)).toEqual(['SIDE_FILE_SKIPPED']);
  });

  test('have a bounded number', async () => {
    const dir = await single(Array.from({ length: MAX_SIDE_FILES + 1 }, (_, i) => `tokenizer_${i}.json`));
    const { names, warnings } = await list(dir);
    expect([names.length, warnings.length]).toEqual([MAX_SIDE_FILES, 1]);
  });

  test.skipIf(process.platform === 'win32')(
    'are not read through links out of the directory, except in a hub cache',
    async () => {
      const outside = await tempFile('secret', 'config.json');
      const leaky = await single([]);
      await symlink(outside, join(leaky, 'config.json'));
      expect((await list(leaky)).names).toEqual([]);

      const repo = await tempDir();
      const snapshot = join(repo, 'snapshots', 'abc');
      await mkdir(snapshot, { recursive: true });
      await mkdir(join(repo, 'blobs'));
      await writeFile(join(repo, 'blobs', '1'), f32File('a', [1]));
      await writeFile(join(repo, 'blobs', '2'), '{}');
      await symlink('../../blobs/1', join(snapshot, SINGLE_FILE));
      await symlink('../../blobs/2', join(snapshot, 'config.json'));
      expect((await list(snapshot)).names).toEqual(['config.json']);
    },
  );
});

test('plain names are one visible component on every platform', () => {
  const plain = ['config.json', 'a b.txt', 'é.safetensors', 'x', 'console.log', 'x'.repeat(255)];
  expect(plain.filter((name) => !isPlainName(name))).toEqual([]);
  const other = [
    '',
    '.',
    '..',
    '.x',
    'x.',
    'x ',
    'a/b',
    'a\\b',
    'c:',
    'a\nb',
    'a\0',
    'a\u202eb',
    '\ud800',
    'NUL.json',
    'con',
    'x'.repeat(256),
  ];
  expect(other.filter(isPlainName)).toEqual([]);
});
