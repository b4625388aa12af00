import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type Checkpoint, openFinetune } from '../../../../src/tensors/index.ts';
import { failure, tempDir } from '../files.ts';
import { keep, linear, makeAdapter, makeBase, writeTensors } from './support.ts';

const Q = 'model.layers.0.q_proj';
const makeBoth = async () => ({
  base: await makeBase({ [`${Q}.weight`]: { shape: [5, 7] } }),
  dir: await makeAdapter(linear(Q, 5, 7)),
});

async function kindOf(path: string, base: Checkpoint): Promise<string> {
  return keep(await openFinetune(path, base)).kind;
}

describe('what is opened as an adapter', () => {
  test('a directory with its two files', async () => {
    const { base, dir } = await makeBoth();
    const finetune = keep(await openFinetune(dir, base));
    expect(finetune.kind === 'adapter' && [...finetune.adapter.lowRank.keys()]).toEqual([`${Q}.weight`]);
  });

  test('its weight file, where the configuration lies beside it', async () => {
    const { base, dir } = await makeBoth();
    expect(await kindOf(join(dir, 'adapter_model.safetensors'), base)).toBe('adapter');
  });
});

describe('what is opened as a checkpoint', () => {
  test('a file, a directory, and one with a stray configuration of an adapter', async () => {
    const { base } = await makeBoth();
    const dir = await tempDir();
    await writeTensors(join(dir, 'model.safetensors'), { [`${Q}.weight`]: { shape: [5, 7] } });
    expect(await kindOf(dir, base)).toBe('checkpoint');
    expect(await kindOf(join(dir, 'model.safetensors'), base)).toBe('checkpoint');
    await writeFile(join(dir, 'adapter_config.json'), '{}');
    expect(await kindOf(dir, base)).toBe('checkpoint');
  });
});

describe('what is refused, and what to do', () => {
  test('a directory with a model and an adapter', async () => {
    const { base, dir } = await makeBoth();
    await writeTensors(join(dir, 'model.safetensors'), { a: { shape: [1] } });
    expect((await failure(() => openFinetune(dir, base))).code).toBe('AMBIGUOUS_WEIGHTS');
  });

  test('a configuration without weights', async () => {
    const { base, dir } = await makeBoth();
    await rm(join(dir, 'adapter_model.safetensors'));
    const error = await failure(() => openFinetune(dir, base));
    expect([error.code, error.message]).toEqual([
      'NO_WEIGHTS',
      expect.stringContaining('no adapter_model.safetensors'),
    ]);
  });

  test('a pickle', async () => {
    const { base, dir } = await makeBoth();
    await rename(join(dir, 'adapter_model.safetensors'), join(dir, 'adapter_model.bin'));
    const error = await failure(() => openFinetune(dir, base));
    expect([error.code, error.message]).toEqual(['PYTORCH_WEIGHTS', expect.stringContaining('adapter_model.bin')]);
  });

  test('weights without the configuration, in a directory and alone', async () => {
    const { base, dir } = await makeBoth();
    await rm(join(dir, 'adapter_config.json'));
    for (const path of [dir, join(dir, 'adapter_model.safetensors')]) {
      expect((await failure(() => openFinetune(path, base))).code).toBe('ADAPTER_CONFIG_MISSING');
    }
    const renamed = join(dir, 'mine.safetensors');
    await rename(join(dir, 'adapter_model.safetensors'), renamed);
    expect((await failure(() => openFinetune(renamed, base))).code).toBe('ADAPTER_CONFIG_MISSING');
  });

  test('nothing at the path, and an abort', async () => {
    const { base, dir } = await makeBoth();
    expect((await failure(() => openFinetune(join(dir, 'absent'), base))).code).toBe('NOT_FOUND');
    await expect(openFinetune(dir, base, { signal: AbortSignal.abort() })).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
  });
});

describe('a name in the Hugging Face cache', () => {
  const commit = '0123456789abcdef0123456789abcdef01234567';
  afterEach(() => {
    vi.unstubAllEnvs();
  });

  async function cached(dir: string): Promise<string> {
    const cache = await tempDir();
    const repository = join(cache, 'models--org--lora');
    await mkdir(join(repository, 'refs'), { recursive: true });
    await writeFile(join(repository, 'refs', 'main'), commit);
    await cp(dir, join(repository, 'snapshots', commit), { recursive: true });
    vi.stubEnv('HF_HUB_CACHE', cache);
    return join(repository, 'snapshots', commit);
  }

  test('opens the adapter that lies there', async () => {
    const { base, dir } = await makeBoth();
    await cached(dir);
    expect(await kindOf('hf:org/lora', base)).toBe('adapter');
  });

  test('of which only the configuration was downloaded says how to complete it', async () => {
    const { base, dir } = await makeBoth();
    await rm(join(await cached(dir), 'adapter_model.safetensors'));
    const error = await failure(() => openFinetune('hf:org/lora', base));
    expect([error.code, error.message]).toEqual([
      'HUB_SNAPSHOT_INCOMPLETE',
      expect.stringContaining('hf download org/lora'),
    ]);
  });

  test('whose weights are an LFS pointer names it', async () => {
    const { base, dir } = await makeBoth();
    const snapshot = await cached(dir);
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'0'.repeat(64)}\nsize 18\n`;
    await writeFile(join(snapshot, 'adapter_model.safetensors'), pointer);
    const error = await failure(() => openFinetune('hf:org/lora', base));
    expect([error.code, error.fields.kind]).toEqual(['NOT_SAFETENSORS', 'lfs-pointer']);
  });
});
