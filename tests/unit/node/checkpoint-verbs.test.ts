import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { readConfig, writeConfig } from '../../../node/home/config.ts';
import { lockHome } from '../../../node/home/lock.ts';
import { type HomePaths, homePaths } from '../../../node/home/paths.ts';
import { openHome } from '../../../node/service/open-home.ts';
import { formatJoinLine } from '../../../protocols/index.ts';
import { describeEigensolver } from '../../../src/compute/index.ts';
import { runInProcess } from '../cli/support.ts';
import { testId } from '../log/helpers.ts';
import { makeShore, startPeer } from './checkpoint-support.ts';
import { newHome, scratch, silent } from './support.ts';

async function kinmerge(home: HomePaths, ...argv: string[]) {
  const { code, stdout, stderr } = await runInProcess([...argv, '--json', '--home', home.root]);
  return { code, stderr, document: JSON.parse(stdout) };
}

describe('pull --community', () => {
  test('in a home of another community is refused, with and without a daemon', async () => {
    const shore = await makeShore();
    const peer = await startPeer(shore);
    const home = await newHome(shore);
    const out = join(await scratch(), 'merged');
    const line = formatJoinLine(testId(1), peer.address);
    const refused = { code: 1, document: { error: { code: 'HOME_ALREADY_JOINED' } } };
    expect(await kinmerge(home, 'pull', '--community', line, '--out', out)).toMatchObject(refused);
    const lock = await lockHome(home.lock, 'kinmerge daemon');
    onTestFinished(() => lock.release());
    expect(await kinmerge(home, 'pull', '--community', line, '--out', out)).toMatchObject(refused);
  });

  test('makes a home that only pulls, and pulls again without the line', async () => {
    const shore = await makeShore();
    const peer = await startPeer(shore);
    const home = homePaths(join(await scratch(), 'home'));
    const outs = await scratch();
    const line = formatJoinLine(shore.charterId, peer.address);
    const first = await kinmerge(home, 'pull', '--community', line, '--out', join(outs, 'first'));
    expect(first).toMatchObject({ code: 0, document: { recipe: shore.recipe.toString(), updates: 0 } });
    expect(await kinmerge(home, 'pull', '--out', join(outs, 'second'))).toMatchObject({ code: 0 });
    expect(await readdir(join(outs, 'second'))).toEqual(await readdir(join(outs, 'first')));
  });
});

test('a daemon of a home without a base refuses to pull instead of waiting for ever', async () => {
  const shore = await makeShore();
  const home = await newHome(shore);
  await writeConfig(home.config, { ...(await readConfig(home.config)), base: null });
  const opened = await openHome(
    { home, command: 'kinmerge daemon', engine: { device: 'cpu' }, fold: true },
    { logger: silent },
  );
  onTestFinished(() => opened.close());
  const out = join(await scratch(), 'merged');
  await expect(opened.service.pull({ out, recipe: undefined })).rejects.toMatchObject({ code: 'HOME_LOCKED' });
});

test('status without a daemon says which eigensolver would run, and how to get the fast one', async () => {
  const shore = await makeShore();
  const home = await newHome(shore);
  const status = await kinmerge(home, 'status');
  expect(status).toMatchObject({ code: 0, stderr: '', document: { device: null, eigensolver: describeEigensolver() } });
  const { stdout } = await runInProcess(['status', '--home', home.root]);
  const { description, hint } = describeEigensolver();
  expect(stdout).toMatch(/^eigensolver /m);
  expect(stdout).toContain(description);
  expect(stdout).toContain(hint ?? '');
});

describe('community create --linear', () => {
  test.each([
    ['that is missing', undefined],
    ['that begins like JSON and is none', '["a.weight"'],
    ['that is a list of something else', '[1, 2]'],
    ['that names what the base does not have', 'c.weight\n'],
  ])('wants a file: one %s is wrong usage', async (_what, text) => {
    const shore = await makeShore();
    const directory = await scratch();
    const linear = join(directory, 'linear.txt');
    if (text !== undefined) await writeFile(linear, text);
    const home = homePaths(join(directory, 'home'));
    const out = join(directory, 'charter.cbor');
    const how = ['--base', shore.base, '--name', 'other', '--out', out, '--linear', linear];
    const refused = await kinmerge(home, 'community', 'create', ...how);
    expect(refused).toMatchObject({ code: 2, document: { error: { code: 'USAGE' } } });
    expect(refused.stderr).toBe('');
  });

  test('takes a directory for no file', async () => {
    const shore = await makeShore();
    const directory = await scratch();
    const linear = join(directory, 'linear');
    await mkdir(linear);
    const how = ['--base', shore.base, '--name', 'other', '--out', join(directory, 'c'), '--linear', linear];
    const refused = await kinmerge(homePaths(join(directory, 'home')), 'community', 'create', ...how);
    expect(refused).toMatchObject({ code: 2, document: { error: { code: 'USAGE' } } });
  });
});
