import { readFile } from 'node:fs/promises';
import { describe, expect, onTestFinished, test } from 'vitest';
import { ADOPT_ABOVE_RECORDS } from '../../../node/core/adoption.ts';
import { AutoSealer } from '../../../node/core/auto-sealer.ts';
import type { Community } from '../../../node/core/community.ts';
import type { HomePaths } from '../../../node/home/paths.ts';
import { openHome } from '../../../node/service/open-home.ts';
import { type AmendmentRecord, signRecord } from '../../../src/log/index.ts';
import { testKey } from '../log/helpers.ts';
import {
  eventually,
  keptLog,
  makePond,
  newHome,
  openBook,
  type Pond,
  payloadOf,
  silent,
  updateOf,
  updates,
} from './support.ts';

/** The home that made the community: it has the owner's key, and seals. */
async function governing(options: Parameters<typeof makePond>[0] = {}) {
  const pond = await makePond(options);
  return { pond, ...(await served(pond.home)) };
}

async function served(home: HomePaths, logger = silent) {
  const options = { home, command: 'test', engine: { device: 'cpu' as const }, fold: false };
  const opened = await openHome(options, { logger });
  onTestFinished(() => opened.close());
  return { service: opened.service, community: opened.service.community };
}

async function hold({ pond, community }: { pond: Pond; community: Community }, count: number): Promise<string[]> {
  const made = await updates(pond, count);
  for (const { signed, payload } of made) await community.book.take(signed, payload, 'peer');
  return made.map(({ signed }) => signed.id.toString());
}

test('a seal in a home that never folded keeps how far decisions are replayed', async () => {
  const pond = await makePond();
  const { logger, lines } = keptLog();
  const scene = { pond, ...(await served(pond.home, logger)) };
  await hold(scene, 1);
  expect(await scene.service.seal()).toMatchObject({ number: 1, records: 1, updates: 1 });
  await eventually(async () => expect(await readFile(pond.home.replayed, 'utf8')).toBe('1'));
  expect(lines.filter(({ level }) => Number(level) >= 40)).toEqual([]);
});

test('a home that is to seal by itself and has no key for it says so once', async () => {
  const pond = await makePond();
  const { logger, lines } = keptLog();
  const { community } = await served(await newHome(pond));
  const sealer = new AutoSealer({ updates: 1 }, { community, onSealed: () => {}, logger });
  await community.settled();
  sealer.start();
  await hold({ pond, community }, 2);
  await community.settled();
  await sealer.stop();
  expect(lines.filter(({ level }) => level === 40)).toMatchObject([
    { msg: expect.stringMatching(/no key of this home/) },
  ]);
  expect(community.book.log.seals.values().next().done).toBe(true);
});

describe('a revocation', () => {
  test('of what no seal covers acts now, and a second one signs nothing', async () => {
    const scene = await governing();
    const { service, community } = scene;
    const [first] = await hold(scene, 2);
    const before = (await service.status()).recipe.id;
    const done = await service.revoke({ update: first!, note: 'bad' });
    expect(done).toMatchObject({ update: first, already: false, effective: 'now' });
    expect(done.recipe).not.toBe(before);
    const records = community.book.log.size;
    expect(await service.revoke({ update: first! })).toEqual({ ...done, already: true });
    expect(community.book.log.size).toBe(records);
    expect(await service.show(first!)).toMatchObject({
      takenOut: true,
      revocation: done.revocation,
      verdict: 'accepted',
    });
    expect(await service.why(first!)).toMatchObject({ kind: 'update', takenOut: true, revocation: done.revocation });
  });

  test('of what a seal covers acts at the next one', async () => {
    const scene = await governing();
    const { service } = scene;
    const [first] = await hold(scene, 2);
    const { recipe } = (await service.seal())!;
    const done = await service.revoke({ update: first! });
    expect(done).toMatchObject({ already: false, effective: 'at the next seal', recipe });
    expect(await service.show(first!)).toMatchObject({ takenOut: false, revocation: done.revocation, epoch: 1 });
    expect(await service.seal()).toMatchObject({ number: 2, updates: 1, revocations: [done.revocation] });
    expect(await service.revoke({ update: first! })).toMatchObject({ already: true, effective: 'now' });
    expect(await service.seal()).toBeNull();
  });

  test('of what was declined leaves nothing to wait for', async () => {
    const scene = await governing();
    const { pond, community, service } = scene;
    await hold(scene, 4);
    const copy = await updateOf(pond, testKey(9), payloadOf(pond, 0), { parents: [...community.book.log.held()] });
    await community.book.take(copy.signed, copy.payload, 'peer');
    await service.seal();
    const id = copy.signed.id.toString();
    expect(await service.show(id)).toMatchObject({ verdict: 'declined', gate: 'duplicate', epoch: 1 });
    expect(await service.revoke({ update: id })).toMatchObject({ already: false, effective: 'now' });
  });

  test('is for the author and the owner alone', async () => {
    const scene = await governing();
    const other = await served(await newHome(scene.pond));
    const [made] = await updates(scene.pond, 1);
    await other.community.book.take(made!.signed, made!.payload, 'peer');
    const refused = other.service.revoke({ update: made!.signed.id.toString() });
    await expect(refused).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
  });
});

describe('the rules', () => {
  test('name of two amendments with one number the one that counts', async () => {
    const { pond, community, service } = await governing();
    const budgets = (count: number) => ({ updates: count, bytes: 1_000_000 });
    const first = await service.amend({ changes: { budgets: budgets(1) } });
    // The owner signs from a copy of its home that does not know the first one.
    const fork = signRecord<AmendmentRecord>(
      {
        ...{ version: 1, kind: 'amendment', author: community.keys.owner!.publicKey, charter: pond.charterId },
        ...{ seq: 0, prev: null, parents: [], number: 1, previous: null, note: '' },
        ...{ membership: null, admission: null, sealers: null, budgets: budgets(2) },
      },
      community.keys.owner!,
    );
    await community.book.take(fork, null, 'peer');
    const waiting = await service.rules();
    expect(waiting.amendments.map(({ id }) => id).sort()).toEqual([first.id, fork.id.toString()].sort());
    expect(waiting.amendments.map(({ state }) => state)).toEqual(['pending', 'void']);
    expect(waiting.pending.map(({ id }) => id)).toEqual([waiting.amendments[0]!.id]);
    const [counts] = waiting.pending;
    await service.seal();
    const rules = await service.rules();
    expect(rules).toMatchObject({ amendment: 1, ...counts!.changes, pending: [] });
    expect(rules.amendments.map(({ state }) => state)).toEqual(['in effect', 'void']);
    expect(rules.charter.budgets).not.toEqual(rules.budgets);
  });

  test('take no limits that make no policy, not even to try', async () => {
    const { service } = await governing();
    const { admission } = await service.rules();
    const changes = { admission: { ...admission, kinship: [0.5, 0.1] as const } };
    await expect(service.amend({ changes })).rejects.toMatchObject({ code: 'POLICY_ORDER' });
    await expect(service.dryRun(changes)).rejects.toMatchObject({ code: 'POLICY_ORDER' });
  });

  test('tried from the beginning list what would have been decided otherwise, and change nothing', async () => {
    const scene = await governing();
    const { service } = scene;
    await hold(scene, 4);
    const { admission } = await service.rules();
    const before = await service.log();
    const tried = await service.dryRun({ admission: { ...admission, minReference: 1, kinship: [0.89, 0.9] } });
    expect(tried).toMatchObject({ updates: 4, accepted: 1 });
    expect(tried.differs.map(({ was, would }) => [was, would])).toEqual([
      [null, 'kinship'],
      [null, 'kinship'],
      [null, 'kinship'],
    ]);
    expect(tried.differs.map(({ title }) => title)).toEqual(before.slice(1).map(({ title }) => title));
    expect(await service.log()).toEqual(before);
  });

  test('are tried on adopted decisions too, before these are replayed', { timeout: 60_000 }, async () => {
    const scene = await governing();
    const { pond, community } = scene;
    const made = await updates(pond, ADOPT_ABOVE_RECORDS + 1);
    for (const { signed, payload } of made) await community.book.take(signed, payload, 'peer');
    await scene.service.seal();
    const home = await newHome(pond);
    const book = await openBook(pond, home);
    for (const { signed, payload } of made) await book.take(signed, payload, 'peer');
    for (const seal of community.book.log.seals.values()) await book.takeSeal(seal);
    await book.close();

    const late = await served(home);
    const { admission } = await late.service.rules();
    expect(late.community.view?.seals).toMatchObject([{ replayed: false }]);
    const tried = await late.service.dryRun({ admission: { ...admission, minReference: 1, kinship: [0.89, 0.9] } });
    expect(tried).toMatchObject({ updates: made.length, accepted: 1, untried: 0 });
  });
});
