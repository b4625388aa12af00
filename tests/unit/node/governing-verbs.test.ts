/** The rules by the command line, on homes without a daemon. */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { type HomePaths, homePaths } from '../../../node/home/paths.ts';
import { runInProcess } from '../cli/support.ts';
import { makePond, writeModel } from './support.ts';

const TEST_MS = 120_000;

/** A home made by `community create` with these flags, and its verbs. */
async function governed(...flags: string[]) {
  const { directory, base } = await makePond();
  const home = homePaths(join(directory, 'owner'));
  const charter = join(directory, 'own.cbor');
  const created = await kinmerge(
    home,
    'community',
    'create',
    '--base',
    base,
    '--name',
    'own',
    '--out',
    charter,
    ...flags,
  );
  expect(created, JSON.stringify(created)).toMatchObject({ code: 0 });
  expect(await kinmerge(home, 'join', charter, '--base', base)).toMatchObject({ code: 0 });
  const done = async (...argv: string[]) => {
    const { code, document } = await kinmerge(home, ...argv);
    expect({ code, document }).toMatchObject({ code: 0 });
    return document;
  };
  const refused = async (exit: number, error: string, ...argv: string[]) => {
    expect(await kinmerge(home, ...argv)).toMatchObject({ code: exit, document: { error: { code: error } } });
  };
  const finetune = async (seed: number) => {
    const path = join(directory, `tuned-${seed}.safetensors`);
    await writeModel(path, 0.1, seed);
    return path;
  };
  const contribute = async (seed: number): Promise<string> =>
    (await done('contribute', await finetune(seed), '--title', `tuned ${seed}`)).update;
  return { home, directory, created: created.document, done, refused, contribute, finetune };
}

async function kinmerge(home: HomePaths, ...argv: string[]) {
  const { code, stdout } = await runInProcess([...argv, '--json', '--home', home.root]);
  return { code, document: JSON.parse(stdout) };
}

describe('the rules', () => {
  test('can be tried and set, and decide on later updates only', { timeout: TEST_MS }, async () => {
    const { created, done, refused, contribute, finetune } = await governed();
    expect(created.sealers).toEqual({ keys: [created.owner], threshold: 1 });
    await contribute(1);
    await contribute(2);
    await done('seal');
    const strict = ['--min-reference', '1', '--kinship-min', '0.8'];
    const log = await done('log');
    const tried = await done('policy', 'dry-run', ...strict);
    expect(tried).toMatchObject({ updates: 2, accepted: 1, differs: [{ was: null, would: 'kinship' }] });
    expect(await done('log')).toEqual(log);
    await refused(2, 'USAGE', 'policy', 'dry-run');

    expect(await done('policy', 'set', ...strict, '--note', 'stricter')).toMatchObject({ number: 1, note: 'stricter' });
    await refused(2, 'USAGE', 'policy', 'set', ...strict);
    await refused(2, 'POLICY_ORDER', 'policy', 'set', '--kinship-min', '0.9');
    // What is pending decides nothing yet.
    await contribute(3);
    expect(await done('policy', 'dry-run')).toMatchObject({ updates: 3, accepted: 1 });
    const changed = { from: 0, to: 1, fields: [{ field: 'admission.kinship' }, { field: 'admission.minReference' }] };
    expect(await done('policy', 'diff')).toMatchObject(changed);
    expect(await done('seal')).toMatchObject({ number: 2, updates: 3 });
    expect(await done('policy', 'diff')).toMatchObject({ from: 1, to: 1, fields: [] });
    expect(await done('policy', 'diff', '0', '1')).toMatchObject(changed);
    expect(await done('policy', 'show')).toMatchObject({
      amendment: 1,
      admission: { kinship: [0.8, 0.9] },
      pending: [],
    });

    await refused(3, 'DECLINED', 'contribute', await finetune(4));
    const { update } = await done('contribute', await finetune(4), '--force');
    expect(await done('why', update)).toMatchObject({ verdict: 'declined', gate: 'kinship' });
    const { updates } = await done('log');
    expect(updates.map(({ verdict }: { verdict: string }) => verdict).sort()).toEqual(
      ['accepted', 'accepted', 'accepted', 'declined', 'none'].sort(),
    );
  });

  test('of a community without sealers stay, and everything is provisional', { timeout: TEST_MS }, async () => {
    const { created, directory, done, refused, contribute } = await governed('--no-sealers');
    expect(created.sealers).toEqual({ keys: [], threshold: 0 });
    const [first, second] = [await contribute(1), await contribute(2)];
    const { author } = await done('status');
    await refused(1, 'NO_SEALERS', 'seal');
    await refused(1, 'NO_SEALERS', 'member', 'remove', author);
    await refused(1, 'NO_SEALERS', 'policy', 'set', '--budget-updates', '1');
    expect(await done('revoke', first)).toMatchObject({ already: false, effective: 'now' });
    expect(await done('show', first)).toMatchObject({ takenOut: true, provisional: true, epoch: null });
    expect(await done('show', second)).toMatchObject({ verdict: 'accepted', provisional: true, epoch: null });
    const status = await done('status');
    expect(status).toMatchObject({ sealed: null, recipe: { updates: 1, provisional: true }, log: { accepted: 1 } });
    const pulled = await done('pull', '--out', join(directory, 'merged'));
    expect(pulled).toMatchObject({ recipe: status.recipe.id, updates: 1, provisional: true, seal: null });
  });

  test('name the sealers that were given, and nobody else seals', { timeout: TEST_MS }, async () => {
    const other = await governed();
    const { author } = await other.done('status');
    const { created, refused, contribute, done } = await governed('--sealer', author);
    expect(created.sealers).toEqual({ keys: [author], threshold: 1 });
    await contribute(1);
    await refused(1, 'NOT_ALLOWED', 'seal');
    expect(await done('member', 'list')).toMatchObject({ open: false, owner: created.owner, sealers: [author] });
    await other.refused(
      2,
      'USAGE',
      'community',
      'create',
      '--base',
      'x',
      '--name',
      'x',
      '--out',
      'x',
      '--sealer',
      author,
      '--no-sealers',
    );
  });
});
