import { mkdir, rm, symlink, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { parseHubName } from '../../../src/tensors/hub-name.ts';
import {
  hubCacheDir,
  INDEX_FILE,
  locateCheckpoint,
  openCheckpoint,
  pinCheckpointPath,
  resolveCheckpointPath,
  SINGLE_FILE,
} from '../../../src/tensors/index.ts';
import { f32File, failure, tempDir } from './files.ts';

const COMMIT = 'a'.repeat(40);
const OTHER = 'b'.repeat(40);

let cache: string;
let repository: string;
beforeEach(async () => {
  cache = await tempDir();
  repository = join(cache, 'models--org--name');
  vi.stubEnv('HF_HUB_CACHE', cache);
  return () => vi.unstubAllEnvs();
});

async function put(path: string, bytes: Uint8Array | string): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, bytes);
}

/** A snapshot as `hf download` makes it: links into `blobs`. */
async function snapshot(commit: string, files: Record<string, Uint8Array | string>): Promise<string> {
  const dir = join(repository, 'snapshots', commit);
  await mkdir(dir, { recursive: true });
  for (const [i, [name, bytes]] of Object.entries(files).entries()) {
    const blob = `${commit.slice(0, 4)}${i}`;
    await put(join(repository, 'blobs', blob), bytes);
    await symlink(`../../blobs/${blob}`, join(dir, name));
  }
  return dir;
}

const ref = (name: string, content: string) => put(join(repository, 'refs', name), content);

/** The values of the tensor `w` of a checkpoint. */
async function valuesOf(path: string): Promise<number[]> {
  const checkpoint = await openCheckpoint(path);
  const values = [...(await checkpoint.readFloat32('w'))];
  await checkpoint.close();
  return values;
}

describe.skipIf(process.platform === 'win32')('a name in the Hugging Face cache', () => {
  test('opens its main branch, any other ref, or a commit', async () => {
    await snapshot(COMMIT, { [SINGLE_FILE]: f32File('w', [1]), 'config.json': '{}' });
    await snapshot(OTHER, { [SINGLE_FILE]: f32File('w', [2]) });
    await ref('main', COMMIT);
    await ref('v1.0', `${OTHER}\n`);
    await ref('refs/pr/1', OTHER);
    expect(await valuesOf('hf:org/name')).toEqual([1]);
    expect(await valuesOf('hf:org/name@main')).toEqual([1]);
    expect(await valuesOf('hf:org/name@v1.0')).toEqual([2]);
    expect(await valuesOf('hf:org/name@refs/pr/1')).toEqual([2]);
    expect(await valuesOf(`hf:org/name@${OTHER}`)).toEqual([2]);
    const checkpoint = await openCheckpoint('hf:org/name');
    expect(checkpoint.path).toBe(join(repository, 'snapshots', COMMIT));
    expect(checkpoint.sideFiles.map(({ name }) => name)).toEqual(['config.json']);
    await checkpoint.close();
  });

  test('opens where files are copies instead of links, and of a model without an organisation', async () => {
    await put(join(cache, 'models--gpt2', 'refs', 'main'), COMMIT);
    await put(join(cache, 'models--gpt2', 'snapshots', COMMIT, SINGLE_FILE), f32File('w', [3]));
    expect(await valuesOf('hf:gpt2')).toEqual([3]);
  });

  test('is pinned to the commit that its branch has now', async () => {
    await snapshot(COMMIT, { [SINGLE_FILE]: f32File('w', [1]) });
    await ref('main', COMMIT);
    const pinned = await pinCheckpointPath('hf:org/name');
    await snapshot(OTHER, { [SINGLE_FILE]: f32File('w', [2]) });
    await ref('main', OTHER);
    expect(pinned).toBe(`hf:org/name@${COMMIT}`);
    expect([await valuesOf(pinned), await valuesOf('hf:org/name')]).toEqual([[1], [2]]);
    expect(await pinCheckpointPath('/a/b')).toBe('/a/b');
  });

  test('that is not there says how to get it', async () => {
    const error = await failure(() => openCheckpoint('hf:org/name@v2'));
    expect(error.code).toBe('HUB_NOT_CACHED');
    expect(error.message).toContain('`hf download org/name --revision v2`');
    expect(error.message).toContain(cache);
  });

  test('at a revision that is not there says which ones are', async () => {
    await snapshot(COMMIT, { [SINGLE_FILE]: f32File('w', [1]) });
    for (const missing of ['hf:org/name', `hf:org/name@${OTHER}`, 'hf:org/name@pr']) {
      const error = await failure(() => openCheckpoint(missing));
      expect(error).toMatchObject({ code: 'HUB_REVISION_NOT_CACHED', fields: { revisions: [COMMIT] } });
    }
    await ref('v1', COMMIT);
    await ref('pr/7', COMMIT);
    const error = await failure(() => openCheckpoint('hf:org/name'));
    expect(error.fields.revisions).toEqual(['pr/7', 'v1', COMMIT]);
    expect(error.message).toContain(`pr/7, v1, ${COMMIT}`);
    expect((await failure(() => openCheckpoint('hf:org/name@pr'))).code).toBe('HUB_REVISION_NOT_CACHED');
  });

  test.each(['', 'main', `../${COMMIT}`, COMMIT.toUpperCase(), `${COMMIT}${COMMIT}`, ' '.repeat(10_000)])(
    'with the ref %j is refused',
    async (content) => {
      await snapshot(COMMIT, { [SINGLE_FILE]: f32File('w', [1]) });
      await ref('main', content);
      expect((await failure(() => openCheckpoint('hf:org/name'))).code).toBe('HUB_REF_DAMAGED');
    },
  );

  const index = JSON.stringify({ weight_map: { w: 'model-1.safetensors', v: 'model-2.safetensors' } });
  test.each([
    ['nothing but configuration', { 'config.json': '{}' }],
    ['an index without one of its shards', { [INDEX_FILE]: index, 'model-1.safetensors': f32File('w', [1]) }],
    ['shards without an index', { 'model-00001-of-00002.safetensors': f32File('w', [1]) }],
  ])('with %s is half-filled', async (_what, files) => {
    await snapshot(COMMIT, files as Record<string, Uint8Array | string>);
    await ref('main', COMMIT);
    const error = await failure(() => openCheckpoint('hf:org/name'));
    expect(error.code).toBe('HUB_SNAPSHOT_INCOMPLETE');
    expect(error.message).toContain('`hf download org/name`');
    expect(error.message).toContain(COMMIT);
  });

  test('whose snapshot or blob is gone is half-filled', async () => {
    await ref('main', COMMIT);
    expect((await failure(() => openCheckpoint('hf:org/name'))).code).toBe('HUB_SNAPSHOT_INCOMPLETE');
    await snapshot(COMMIT, { [SINGLE_FILE]: f32File('w', [1]) });
    await rm(join(repository, 'blobs'), { recursive: true });
    expect((await failure(() => openCheckpoint('hf:org/name'))).code).toBe('HUB_SNAPSHOT_INCOMPLETE');
  });

  test('whose weights have another name, or are of another kind, is not called half-filled', async () => {
    await snapshot(COMMIT, { 'weights.safetensors': f32File('w', [1]) });
    await snapshot(OTHER, { 'pytorch_model.bin': 'x' });
    expect((await failure(() => openCheckpoint(`hf:org/name@${COMMIT}`))).code).toBe('NO_WEIGHTS');
    expect((await failure(() => openCheckpoint(`hf:org/name@${OTHER}`))).code).toBe('PYTORCH_WEIGHTS');
  });

  test('whose weights link out of the repository is refused', async () => {
    await ref('main', COMMIT);
    const dir = await snapshot(COMMIT, {});
    await put(join(cache, 'models--org--secret', 'blobs', '1'), f32File('w', [1]));
    await symlink('../../../models--org--secret/blobs/1', join(dir, SINGLE_FILE));
    expect((await failure(() => openCheckpoint('hf:org/name'))).code).toBe('HUB_LINK_OUTSIDE');
  });
});

test.each([
  'hf:',
  'hf:/',
  'hf:org/',
  'hf:/name',
  'hf:org/name/more',
  'hf:../name',
  'hf:org/..',
  'hf:org/.hidden',
  'hf:org\\name',
  'hf:a--b/c',
  'hf:org/na..me',
  'hf:org/-name',
  'hf:org/name.',
  'hf:org/name.git',
  'hf:org/na me',
  'hf:org/naïve',
  'hf:org/name\0',
  'hf:org/name\n',
  'hf:C:/name',
  `hf:org/${'x'.repeat(97)}`,
  'hf:org/name@',
  'hf:org/name@..',
  'hf:org/name@../main',
  'hf:org/name@a/../b',
  'hf:org/name@/main',
  'hf:org/name@a//b',
  'hf:org/name@main/',
  'hf:org/name@-x',
  'hf:org/name@x.lock',
  'hf:org/name@a@b',
  'hf:org/name@a\\b',
  `hf:org/name@${'x'.repeat(256)}`,
])('%j is no name', async (text) => {
  expect((await failure(() => openCheckpoint(text))).code).toBe('HUB_NAME_INVALID');
});

test('names at their limits are taken apart', () => {
  const long = 'x'.repeat(96);
  expect(parseHubName(`hf:${long}/${long}@${'y'.repeat(255)}`)).toMatchObject({ repository: `${long}/${long}` });
  expect(parseHubName('hf:Qwen/Qwen2.5-0.5B_x')).toMatchObject({ repository: 'Qwen/Qwen2.5-0.5B_x', revision: 'main' });
});

test('the cache is where its environment variables say, or in the home directory', () => {
  const rest = { HF_HOME: '/h', XDG_CACHE_HOME: '/x' };
  expect(hubCacheDir({ HF_HUB_CACHE: '/c', ...rest })).toBe('/c');
  expect(hubCacheDir({ HF_HUB_CACHE: '', ...rest })).toBe(join('/h', 'hub'));
  expect(hubCacheDir({ XDG_CACHE_HOME: '/x' })).toBe(join('/x', 'huggingface', 'hub'));
  expect(hubCacheDir({})).toBe(join(homedir(), '.cache', 'huggingface', 'hub'));
});

test('paths are made absolute and names are left alone, whatever files there are', async () => {
  expect(resolveCheckpointPath('a/b', '/home')).toBe(resolve('/home', 'a/b'));
  expect(resolveCheckpointPath('./hf:org/name', '/home')).toBe(resolve('/home', 'hf:org/name'));
  expect(resolveCheckpointPath('a')).toBe(resolve('a'));
  expect(resolveCheckpointPath('hf:org/name@v1', '/home')).toBe('hf:org/name@v1');
  expect(await locateCheckpoint('hf-model')).toBe('hf-model');
});
