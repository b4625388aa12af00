import { spawnSync } from 'node:child_process';
import { mkdir, readdir, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { describe, expect, test } from 'vitest';
import { readConfig, writeConfig } from '../../../node/home/config.ts';
import { loadKey, loadOrCreateKey } from '../../../node/home/keys.ts';
import { homePaths, resolveHome } from '../../../node/home/paths.ts';
import { openHome } from '../../../node/service/open-home.ts';
import { keyToPem } from '../../../src/log/index.ts';
import { testKey } from '../log/helpers.ts';
import { makePond, scratch, silent } from './support.ts';

const CONFIG = {
  layout: 2,
  community: 'bafy',
  base: null,
  listen: ['/ip4/0.0.0.0/tcp/1'],
  announce: ['/dns/node.example.org/tcp/2'],
  bootstrap: [],
} as const;

describe('the configuration of a home', () => {
  test('comes back as it was written', async () => {
    const path = join(await scratch(), 'config.json');
    const config = { ...CONFIG, listen: [...CONFIG.listen], announce: [...CONFIG.announce], bootstrap: [] };
    await writeConfig(path, config);
    expect(await readConfig(path)).toEqual(config);
  });

  test('that an earlier version wrote announces nothing', async () => {
    const path = join(await scratch(), 'config.json');
    await writeFile(path, JSON.stringify({ ...CONFIG, announce: undefined }));
    expect((await readConfig(path)).announce).toEqual([]);
  });

  test('that is missing means that the home joined nothing', async () => {
    const path = join(await scratch(), 'config.json');
    await expect(readConfig(path)).rejects.toMatchObject({ code: 'HOME_NOT_JOINED', fields: { path } });
  });

  test.each([
    ['torn', '{"layout":2,'],
    ['of an unknown layout', JSON.stringify({ ...CONFIG, layout: 0 })],
    ['with a field too many', JSON.stringify({ ...CONFIG, extra: 1 })],
    ['with a field too few', JSON.stringify({ ...CONFIG, listen: undefined })],
  ])('%s is named as unreadable', async (_what, text) => {
    const path = join(await scratch(), 'config.json');
    await writeFile(path, text);
    await expect(readConfig(path)).rejects.toMatchObject({ code: 'HOME_INVALID', fields: { path } });
  });
});

test('a home of a newer version is refused, whatever else its configuration says', async () => {
  const path = join(await scratch(), 'config.json');
  await writeFile(path, JSON.stringify({ layout: 3, something: 'new' }));
  await expect(readConfig(path)).rejects.toMatchObject({ code: 'HOME_NEWER', fields: { layout: 3, known: 2 } });
});

describe('key files', () => {
  test('are made once, readable by their owner alone, and load to the same key', async () => {
    const path = join(await scratch(), 'keys', 'author.pem');
    const made = await loadOrCreateKey(path);
    const again = await loadOrCreateKey(path);
    expect(again.publicKey).toEqual(made.publicKey);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(join(path, '..'))).mode & 0o777).toBe(0o700);
  });

  test.each([
    ['text', 'not a key'],
    ['an empty file', ''],
    ['a public key', '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA\n-----END PUBLIC KEY-----\n'],
    ['half a key', keyToPem(testKey(1)).slice(0, 60)],
  ])('holding %s are refused and left alone', async (_what, text) => {
    const path = join(await scratch(), 'author.pem');
    await writeFile(path, text);
    await expect(loadOrCreateKey(path)).rejects.toMatchObject({ code: 'KEY_INVALID', fields: { path } });
    expect((await stat(path)).size).toBe(text.length);
  });

  test('a missing key file is said to be missing', async () => {
    await expect(loadKey(join(await scratch(), 'no.pem'))).rejects.toThrow('ENOENT');
  });
});

test('what a killed process left half-written of settings and keys goes when the home is opened', async () => {
  const { home } = await makePond();
  const { pid } = spawnSync(process.execPath, ['--version']);
  for (const path of [home.api, home.peers, home.lock, home.authorKey, home.replayed]) {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(join(dirname(path), `.${basename(path)}.${pid}-0123456789abcdef.kinmerge-tmp`), 'secret');
  }
  const opened = await openHome({ home, command: 'test', engine: { device: 'cpu' }, fold: false }, { logger: silent });
  await opened.close();
  expect((await readdir(home.root, { recursive: true })).filter((name) => name.endsWith('tmp'))).toEqual(['tmp']);
});

describe('where a home lies', () => {
  test('the option goes before the environment, and the environment before the default', () => {
    expect(resolveHome('here', { KINMERGE_HOME: '/there' })).toBe(resolve('here'));
    expect(resolveHome(undefined, { KINMERGE_HOME: '/there' })).toBe('/there');
    expect(resolveHome(undefined, { KINMERGE_HOME: '' })).toContain('kinmerge');
  });

  test('no two parts of a home share a path', () => {
    const paths = Object.values(homePaths('/h'));
    expect(new Set(paths).size).toBe(paths.length);
  });
});
