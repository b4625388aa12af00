import { execFileSync } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test, vi } from 'vitest';
import { INDEX_FILE, openCheckpoint } from '../../../src/tensors/index.ts';
import { f32File, failure, tempDir, tempFile } from './files.ts';

const LFS = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 1820192\n`;
/** The start of what torch.save writes: a zip whose version field is 0, so that the length field looks plausible. */
const ZIP = Buffer.concat([Buffer.from('504b0304000000000808', 'hex'), Buffer.alloc(600)]);

const foreign: readonly (readonly [string, Uint8Array])[] = [
  ['pickle', Buffer.from('80027d710028580100000061', 'hex')],
  ['zip', ZIP],
  ['gguf', Buffer.concat([Buffer.from('GGUF'), Buffer.alloc(60)])],
  ['html', Buffer.from('\n<!DOCTYPE html><html><body>404</body></html>')],
  ['lfs-pointer', Buffer.from(LFS)],
  ['json', Buffer.from('{"error": "Repository not found"}')],
  ['gzip', Buffer.from('1f8b0800000000000003', 'hex')],
  ['zstd', Buffer.from('28b52ffd040000000000', 'hex')],
  ['hdf5', Buffer.from('\x89HDF\r\n\x1a\n0000', 'latin1')],
  ['numpy', Buffer.from('\x93NUMPY\x01\x00v\x00', 'latin1')],
  ['executable', Buffer.from('\x7fELF\x02\x01\x01\x00\x00', 'latin1')],
];

test.each(foreign)('a %s in place of weights is named', async (kind, bytes) => {
  const path = await tempFile(bytes);
  const alone = await failure(() => openCheckpoint(path));
  expect([alone.code, alone.fields.kind]).toEqual(['NOT_SAFETENSORS', kind]);

  const dir = await tempDir();
  await writeFile(join(dir, 'model.safetensors'), bytes);
  const inside = await failure(() => openCheckpoint(dir));
  expect([inside.code, inside.fields.kind, inside.fields.source]).toEqual([
    'NOT_SAFETENSORS',
    kind,
    join(dir, 'model.safetensors'),
  ]);
});

test('an LFS pointer tells how to get the file', async () => {
  const path = await tempFile(LFS);
  expect((await failure(() => openCheckpoint(path))).message).toContain('git lfs pull');
});

test.each(foreign)('a %s in place of a shard is named', async (kind, bytes) => {
  const dir = await tempDir();
  const [first, second] = ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'] as const;
  await writeFile(join(dir, first), f32File('a', [1]));
  await writeFile(join(dir, second), bytes);
  await writeFile(join(dir, INDEX_FILE), JSON.stringify({ weight_map: { a: first, b: second } }));
  const error = await failure(() => openCheckpoint(dir));
  expect([error.code, error.fields.kind, error.fields.source]).toEqual(['NOT_SAFETENSORS', kind, join(dir, second)]);
});

test.each(foreign.filter(([kind]) => kind !== 'json'))('an index that is a %s is named', async (kind, bytes) => {
  const dir = await tempDir();
  await writeFile(join(dir, INDEX_FILE), bytes);
  const error = await failure(() => openCheckpoint(dir));
  expect([error.code, error.fields.kind]).toEqual(['INDEX_INVALID', kind]);
});

test.each(foreign)('a %s behind a name in the Hugging Face cache is named', async (kind, bytes) => {
  const cache = await tempDir();
  const commit = 'a'.repeat(40);
  const snapshot = join(cache, 'models--org--name', 'snapshots', commit);
  await mkdir(snapshot, { recursive: true });
  await writeFile(join(snapshot, 'model.safetensors'), bytes);
  vi.stubEnv('HF_HUB_CACHE', cache);
  const error = await failure(() => openCheckpoint(`hf:org/name@${commit}`)).finally(() => vi.unstubAllEnvs());
  expect([error.code, error.fields.kind]).toEqual(['NOT_SAFETENSORS', kind]);
});

test('nothing at the path', async () => {
  const error = await failure(async () => openCheckpoint(join(await tempDir(), 'absent')));
  expect([error.code, error.fields.errno]).toEqual(['NOT_FOUND', 'ENOENT']);
});

test('a path through a file', async () => {
  const path = await tempFile('x');
  expect((await failure(() => openCheckpoint(join(path, 'below')))).code).toBe('NOT_FOUND');
});

test.skipIf(process.platform === 'win32')('a pipe is refused at once, not waited for', async () => {
  const dir = await tempDir();
  execFileSync('mkfifo', [join(dir, 'model.safetensors')]);
  expect((await failure(() => openCheckpoint(join(dir, 'model.safetensors')))).code).toBe('NOT_A_FILE');
  expect((await failure(() => openCheckpoint(dir))).code).toBe('NOT_A_FILE');
});

test('a directory where a file belongs', async () => {
  const dir = await tempDir();
  await mkdir(join(dir, 'model.safetensors'));
  expect((await failure(() => openCheckpoint(dir))).code).toBe('NOT_A_FILE');
});

test.each([
  ['nothing', [], 'NO_WEIGHTS'],
  ['a configuration only', ['config.json'], 'NO_WEIGHTS'],
  ['some other tensors file', ['vae.safetensors'], 'NO_WEIGHTS'],
  ['PyTorch weights', ['config.json', 'pytorch_model.bin'], 'PYTORCH_WEIGHTS'],
  ['sharded PyTorch weights', ['pytorch_model-00001-of-00002.bin'], 'PYTORCH_WEIGHTS'],
  ['shards without index', ['model-00001-of-00002.safetensors'], 'INDEX_MISSING'],
  ['an adapter', ['adapter_config.json', 'adapter_model.safetensors'], 'ADAPTER_ONLY'],
  ['single file and index', ['model.safetensors', 'model.safetensors.index.json'], 'AMBIGUOUS_WEIGHTS'],
])('a directory with %s', async (_what, files, code) => {
  const dir = await tempDir();
  for (const name of files) await writeFile(join(dir, name), 'x');
  const error = await failure(() => openCheckpoint(dir));
  expect(error.code).toBe(code);
  expect(error.message).toMatch(/(Give|Convert|Download|Remove) /);
});
