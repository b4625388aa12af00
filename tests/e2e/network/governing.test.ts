/** Members, seals and revocations by the command line, with real nodes. */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import type { HomeConfig } from '../../../node/home/config.ts';
import { homePaths } from '../../../node/home/paths.ts';
import type { StatusDocument } from '../../../node/service/documents.ts';
import { foldPayload } from '../../../node/work/merge-calls.ts';
import { createEngine } from '../../../src/compute/index.ts';
import { decodeCharter } from '../../../src/log/index.ts';
import { exportMerged } from '../../../src/merge/index.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';
import { expert, type TASKS } from '../support/files.ts';
import { agree, type DemoNode, Stage, terminate, upToDate } from '../support/network.ts';

const TEST_MS = 180_000;

let stage: Stage;

beforeEach(async () => {
  stage = await Stage.open();
});

afterEach(() => stage.close());

/** Folded, and stands at this seal with nothing after it. */
function sealedAt(number: number): (status: StatusDocument) => boolean {
  return (status) => upToDate(status) && status.sealed?.number === number && status.sealed.tail === 0;
}

/** Runs a verb that succeeds, and returns its document. */
async function done(node: DemoNode, ...args: string[]) {
  const { code, document, stderr } = await stage.attempt(node.home, ...args);
  expect({ code, stderr, document }).toMatchObject({ code: 0 });
  return document;
}

test('a member that the owner adds contributes once a seal says so', { timeout: TEST_MS }, async () => {
  const charter = await stage.createVision8In('ada');
  const ada = await stage.joinAndStart('ada', charter);
  let bob = await stage.joinAndStart('bob', ada.ready.join[0]!);
  const { author } = await bob.api.status();
  const asBob = (task: (typeof TASKS)[number]) => stage.contribute(bob, expert(task), task);

  await expect(asBob('mnist')).rejects.toMatchObject({ code: 'UPDATE_INVALID' });
  const foreign = await stage.attempt('bob', 'member', 'add', author);
  expect(foreign).toMatchObject({ code: 1, document: { error: { code: 'NOT_ALLOWED' } } });
  expect(await done(ada, 'member', 'add', author)).toMatchObject({
    number: 1,
    changes: { membership: { add: [author] } },
  });
  expect((await done(ada, 'member', 'list')).members).toContainEqual({ key: author, state: 'joining' });
  await done(ada, 'policy', 'set', '--budget-updates', '1');
  await agree([ada, bob], (status) => status.rules.pending === 2);
  await expect(asBob('mnist')).rejects.toMatchObject({ code: 'UPDATE_INVALID' });

  await expect(bob.api.seal()).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  expect(await done(ada, 'seal')).toMatchObject({ number: 1, records: 2, updates: 0 });
  await agree([ada, bob], (status) => status.rules.amendment === 2);
  const accepted = await asBob('mnist');
  expect(accepted).toMatchObject({ verdict: 'accepted', provisional: true });

  // What it was told is there after a restart, and a late one sees the same.
  await terminate(bob);
  bob = await stage.cast.startDaemon('bob');
  await expect(asBob('signs')).rejects.toMatchObject({ code: 'DECLINED' });
  const cleo = await stage.joinAndStart('cleo', bob.ready.join[0]!);
  await agree([ada, bob, cleo], (status) => status.log.accepted === 1 && status.rules.amendment === 2);
  await ada.api.seal();
  const recipe = await agree([ada, bob, cleo], sealedAt(2));
  expect(await cleo.api.show(accepted.update!)).toMatchObject({ epoch: 2, provisional: false });
  expect(await done(cleo, 'pull', '--out', stage.path('merged'))).toMatchObject({
    recipe,
    provisional: false,
    seal: 2,
  });
});

test('a revoked update leaves at the next seal, to the byte as if it had never been', {
  timeout: TEST_MS,
}, async () => {
  const ada = await stage.joinAndStart('ada', await stage.createVision8In('ada', '--open'));
  let bob = await stage.joinAndStart('bob', ada.ready.join[0]!);
  for (const task of ['mnist', 'signs'] as const) await stage.contribute(ada, expert(task), task);
  const revoked = (await stage.contribute(bob, expert('kmnist'), 'kmnist')).update!;
  await agree([ada, bob], ({ log }) => log.accepted === 3);
  await ada.api.seal();
  const before = await agree([ada, bob], sealedAt(1));

  // By the owner, who did not write it.
  const revocation = await done(ada, 'revoke', revoked, '--note', 'by mistake');
  expect(revocation).toMatchObject({ update: revoked, already: false, effective: 'at the next seal', recipe: before });
  expect(await done(ada, 'revoke', revoked)).toEqual({ ...revocation, already: true });
  await agree([ada, bob], ({ log }) => log.held === 4);
  expect(await bob.api.show(revoked)).toMatchObject({ takenOut: false, revocation: revocation.revocation });
  expect((await bob.api.status()).recipe.id).toBe(before);
  const fork = await done(ada, 'pull', '--without', revoked, '--out', stage.path('fork'));
  expect(fork).toMatchObject({ updates: 2, without: revoked });

  await terminate(bob);
  expect(await done(ada, 'seal')).toMatchObject({ number: 2, revocations: [revocation.revocation], updates: 2 });
  bob = await stage.cast.startDaemon('bob');
  const after = await agree([ada, bob], sealedAt(2));
  expect(after).not.toBe(before);
  for (const { api } of [ada, bob]) {
    expect(await api.why(revoked)).toMatchObject({ verdict: 'accepted', takenOut: true, epoch: 1 });
  }

  const never = await neverAccepted(ada, revoked, after);
  for (const node of [ada, bob]) {
    const { checkpoint } = await node.api.status();
    const weights = await readFile(join(checkpoint!.path, 'model.safetensors'));
    expect(weights.equals(never.weights), node.home).toBe(true);
    expect(await statesOf(node.home)).toContainEqual(never.state);
  }
  const forked = await readFile(stage.path('fork', 'model.safetensors'));
  expect(forked.equals(never.weights)).toBe(true);
});

test('a daemon seals by itself, by its flags and by its configuration', { timeout: TEST_MS }, async () => {
  await stage.join('ada', await stage.createVision8In('ada', '--open'));
  let ada = await stage.cast.startDaemon('ada', '--seal-every', '2');
  const bob = await stage.joinAndStart('bob', ada.ready.join[0]!);
  await stage.contribute(bob, expert('mnist'));
  await agree([ada, bob], (status) => upToDate(status) && status.log.accepted === 1 && status.sealed === null);
  await stage.contribute(bob, expert('signs'));
  await agree([ada, bob], sealedAt(1));

  await terminate(ada);
  const { config } = homePaths(stage.path('ada'));
  const settings = JSON.parse(await readFile(config, 'utf8')) as HomeConfig;
  await writeFile(config, JSON.stringify({ ...settings, seal: { updates: 1 } }));
  ada = await stage.cast.startDaemon('ada');
  await stage.contribute(bob, expert('kmnist'));
  await agree([ada, bob], sealedAt(2));
});

/** What a home makes of the accepted updates that never accepted this one: the fold's state and the weights. */
async function neverAccepted(
  { api }: DemoNode,
  revoked: string,
  recipe: string,
): Promise<{ weights: Buffer; state: State }> {
  const home = homePaths(stage.path('ada'));
  const charter = decodeCharter(await readFile(home.charter));
  const { community } = await api.status();
  const engine = await createEngine({ device: 'cpu', workers: 1 });
  const base = await openCheckpoint(settingsBase(await readFile(home.config, 'utf8')));
  try {
    let state: string | null = null;
    for (const { id, verdict, payload } of await api.log()) {
      if (verdict !== 'accepted' || id === revoked) continue;
      const to = stage.path(`never-${id}`);
      await foldPayload({ from: state, to, payload: join(home.blobs, payload!), charter, engine }, {});
      state = to;
    }
    const metadata = { 'kinmerge.community': community.id, 'kinmerge.recipe': recipe };
    const out = stage.path('never');
    await exportMerged({ state, base, scale: charter.merge.scale, out, metadata }, {});
    return { weights: await readFile(join(out, 'model.safetensors')), state: await stateIn(state!) };
  } finally {
    await base.close();
    await engine.close();
  }
}

const settingsBase = (text: string): string => (JSON.parse(text) as HomeConfig).base!;

/** Files of a state of the fold, by name. */
type State = Readonly<Record<string, string>>;

async function stateIn(directory: string): Promise<State> {
  const names = (await readdir(directory)).sort();
  const files = names.map(async (name) => [name, (await readFile(join(directory, name))).toString('base64')] as const);
  return Object.fromEntries(await Promise.all(files));
}

async function statesOf(home: DemoNode['home']): Promise<State[]> {
  const { fold } = homePaths(stage.path(home));
  return Promise.all((await readdir(fold)).map((name) => stateIn(join(fold, name))));
}
