import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { verifyCheckpoint } from '../../../node/checkpoint/verify.ts';
import { ADOPT_ABOVE_RECORDS } from '../../../node/core/adoption.ts';
import { AutoSealer } from '../../../node/core/auto-sealer.ts';
import type { Community } from '../../../node/core/community.ts';
import { readGoverningKeys, seal } from '../../../node/core/governing.ts';
import { loadOrCreateKey } from '../../../node/home/keys.ts';
import type { HomePaths } from '../../../node/home/paths.ts';
import { LocalService } from '../../../node/service/local.ts';
import { decodeSignedSeal, encodeSignedSeal, recipeId, type SignedSeal, signSeal } from '../../../src/log/index.ts';
import { settle } from '../../fault/support.ts';
import { testKey } from '../log/helpers.ts';
import {
  eventually,
  makePond,
  newHome,
  openBook,
  openCommunityHere,
  type Pond,
  payloadOf,
  scratch,
  silent,
  type Update,
  updateOf,
} from './support.ts';

/** The founder's home, whose owner seals, with these many updates of others. */
async function founder(count: number, options: { fold?: boolean } = {}) {
  const pond = await makePond();
  const open = async () => {
    const author = await loadOrCreateKey(pond.home.authorKey);
    return openCommunityHere(pond, {
      home: pond.home,
      fold: options.fold ?? false,
      keys: await readGoverningKeys(pond.home, author),
    });
  };
  const community = await open();
  let last = community;
  onTestFinished(() => last.close());
  const reopen = async () => {
    await last.close();
    last = await open();
    return last;
  };
  const made = [];
  for (let i = 0; i < count; i++) made.push(await give(pond, community, i));
  return { pond, community, made, reopen, service: new LocalService({ community }) };
}

async function give(pond: Pond, community: Community, n: number) {
  const update = await updateOf(pond, testKey(100 + n), payloadOf(pond, n), { title: `update ${n}` });
  await community.book.take(update.signed, update.payload, 'peer');
  return update;
}

/** A home that has everything and has decided on nothing. */
async function filledHome(pond: Pond, made: readonly Update[], signed: SignedSeal): Promise<HomePaths> {
  const home = await newHome(pond);
  const book = await openBook(pond, home);
  for (const update of made) await book.take(update.signed, update.payload, 'peer');
  await book.takeSeal(signed);
  await book.close();
  return home;
}

describe('sealing', () => {
  test('survives a restart, and says nothing when there is nothing', async () => {
    const { community, service, reopen } = await founder(3);
    const sealed = await service.seal();
    expect(sealed).toMatchObject({ number: 1, records: 3, updates: 3 });
    expect(await service.seal()).toBeNull();
    expect((await service.status()).sealed).toMatchObject({ number: 1, updates: 3, tail: 0, state: 'replayed' });
    expect((await service.status()).recipe.provisional).toBe(false);
    const view = await community.settled();
    const again = await (await reopen()).settled();
    expect(again.seals.map(({ id }) => `${id}`)).toEqual(view.seals.map(({ id }) => `${id}`));
    expect(again.recipeId.equals(view.recipeId)).toBe(true);
  });

  test('is refused without a sealer’s key, and stands still on an alarm that the status tells', async () => {
    const { pond, community, service } = await founder(2);
    const other = await openCommunityHere(pond);
    onTestFinished(() => other.close());
    await expect(seal(other)).rejects.toMatchObject({ code: 'NOT_ALLOWED' });
    const first = await seal(community);
    await give(pond, community, 7);
    await community.settled();
    // What a sealer signs who has two homes.
    const twin = await openCommunityHere(pond, {
      keys: await readGoverningKeys(pond.home, await loadOrCreateKey(pond.home.authorKey)),
    });
    onTestFinished(() => twin.close());
    await give(pond, twin, 7);
    const second = await seal(twin);
    await community.book.takeSeal(decodeSignedSeal(encodeSignedSeal(second!)));
    await community.settled();
    expect((await service.status()).problem).toMatchObject({ code: 'SEAL_CONFLICT' });
    expect((await service.status()).sealed).toBeNull();
    await expect(service.seal()).rejects.toMatchObject({ code: 'SEAL_STOPPED' });
    expect(first!.seal.number).toBe(second!.seal.number);
  });

  test('by policy follows the accepted updates, and the clock', async () => {
    const { pond, community } = await founder(1);
    let now = 0;
    const seals: number[] = [];
    const sealer = new AutoSealer(
      { updates: 3, hours: 2 },
      { community, logger: silent, now: () => now, onSealed: ({ seal: { number } }) => void seals.push(number) },
    );
    sealer.start();
    onTestFinished(() => sealer.stop());
    await give(pond, community, 1);
    await community.settled();
    expect(seals).toEqual([]);
    await give(pond, community, 2);
    await eventually(() => expect(seals).toEqual([1]));
    now += 2 * 3_600_000;
    await give(pond, community, 3);
    await eventually(() => expect(seals).toEqual([1, 2]));
  });
});

describe('a pull', () => {
  test('takes what is sealed, with --tail everything, and --without a fork that verify knows as one', async () => {
    const { pond, made, community, service } = await founder(3, { fold: true });
    await service.seal();
    await give(pond, community, 9);
    const directory = await scratch();
    const pull = (name: string, options: object = {}) => service.pull({ out: join(directory, name), ...options });
    expect(await pull('sealed')).toMatchObject({ updates: 3, provisional: false, seal: 1, without: null });
    expect(await pull('tail', { tail: true })).toMatchObject({ updates: 4, provisional: true, seal: 1 });
    const left = made[1]!.signed.id.toString();
    const fork = await pull('fork', { without: left });
    expect(fork).toMatchObject({ updates: 2, without: left });
    for (const [name, updates] of Object.entries({ sealed: 3, tail: 4, fork: 2 })) {
      const verified = await verifyCheckpoint(
        {
          directory: join(directory, name),
          base: pond.base,
          tensors: undefined,
          exact: true,
          engine: { device: 'cpu' },
        },
        { home: pond.home },
      );
      expect(verified).toMatchObject({ updates, without: name === 'fork' ? left : null });
      expect(verified.report.verdict).toBe('pass');
    }
    await expect(pull('none', { without: 'bafynothing' })).rejects.toMatchObject({ code: 'UPDATE_UNKNOWN' });
  }, 60_000);

  test('of a model without a revoked update has the bytes of one that never had it', async () => {
    const { community, made, service } = await founder(4, { fold: true });
    await service.seal();
    const directory = await scratch();
    const target = made[2]!.signed.id.toString();
    await service.pull({ out: join(directory, 'fork'), without: target });
    expect(await service.revoke({ update: target })).toMatchObject({ effective: 'at the next seal' });
    await service.seal();
    const view = await community.settled();
    expect(view.accepted).toHaveLength(3);
    await service.pull({ out: join(directory, 'revoked') });
    const weights = (await readdir(join(directory, 'fork'))).filter((name) => name.endsWith('.safetensors'));
    expect(weights.length).toBeGreaterThan(0);
    for (const name of weights) {
      const both = ['fork', 'revoked'].map((of) => readFile(join(directory, of, name)));
      expect(Buffer.compare(...((await Promise.all(both)) as [Buffer, Buffer]))).toBe(0);
    }
  }, 60_000);
});

describe('a node that starts late', () => {
  test('adopts what is sealed, says so, replays it, and knows that after a restart', async () => {
    const count = ADOPT_ABOVE_RECORDS + 1;
    const { pond, made, community } = await founder(count);
    const signed = (await seal(community))!;
    const expected = await community.settled();
    const late = await openCommunityHere(pond, { home: await filledHome(pond, made, signed) });
    const seen: string[] = [];
    const service = new LocalService({ community: late });
    late.on('view', (view) => seen.push(view.seals.map(({ replayed }) => (replayed ? 'replayed' : 'adopted')).join()));
    await eventually(() => expect(seen).toContain('adopted'), 30_000);
    await eventually(async () => {
      expect((await service.status()).sealed).toMatchObject({ number: 1, updates: count, state: 'replayed' });
    }, 30_000);
    const view = await late.settled();
    expect(view.recipeId.equals(expected.recipeId)).toBe(true);
    const { home } = late.options;
    await late.close();
    const again = await openCommunityHere(pond, { home });
    onTestFinished(() => again.close());
    const states: boolean[] = [];
    again.on('view', ({ seals }) => states.push(...seals.map(({ replayed }) => replayed)));
    await again.settled();
    expect(states).toEqual([true]);
  }, 60_000);

  test('that replays what does not hold raises the alarm and stands at the seal before', async () => {
    const count = ADOPT_ABOVE_RECORDS + 1;
    const { pond, made, community } = await founder(count);
    const good = (await community.proposeSeal())!;
    const decisions = good.decisions.slice();
    decisions[0] = 5;
    const updates = (await community.settled()).accepted.slice(1).map(({ cid }) => cid);
    const recipe = recipeId({ ...(await community.settled()).recipe, updates });
    const [key] = community.keys.sealers;
    const bad = signSeal({ ...good, decisions, accepted: count - 1, recipe }, [key!]);
    const late = await openCommunityHere(pond, { home: await filledHome(pond, made, bad) });
    onTestFinished(() => late.close());
    const service = new LocalService({ community: late });
    await eventually(async () => expect((await service.status()).problem?.code).toBe('SEAL_MISMATCH'), 30_000);
    expect((await late.settled()).accepted).toHaveLength(count);
  }, 60_000);

  test('does without a payload that nobody has, where the seal declined what names it', async () => {
    const pond = await makePond();
    const keys = await readGoverningKeys(pond.home, await loadOrCreateKey(pond.home.authorKey));
    const community = await openCommunityHere(pond, { home: pond.home, keys });
    onTestFinished(() => community.close());
    const first = await give(pond, community, 1);
    const copy = await updateOf(pond, testKey(300), first.payload.slice(), {
      parents: [first.signed],
      title: 'a copy',
    });
    const garbage = await updateOf(pond, testKey(301), new Uint8Array(64).fill(7), { parents: [copy.signed] });
    for (const { signed, payload } of [copy, garbage]) await community.book.take(signed, payload, 'peer');
    const signed = (await seal(community))!;
    const expected = await community.settled();
    expect(expected.decisions.get(`${garbage.signed.id}`)!.gate).toBe('bounds');

    const late = await openCommunityHere(pond, { adopt: false });
    const { home } = late.options;
    await late.book.takeSeal(signed);
    for (const update of [first, copy]) await late.book.take(update.signed, update.payload, 'peer');
    await late.book.take(garbage.signed, null, 'peer');
    late.renounceDeclined(garbage.manifest.id);
    await settle(100);
    // Its size is not known: whether the budget covers it cannot be judged.
    expect(late.book.log.state(garbage.signed.id)).toBe('pending');
    await late.book.payloads.learnManifest(garbage.manifest.id, garbage.manifest.bytes, garbage.manifest.manifest);
    late.renounceDeclined(first.manifest.id);
    late.renounceDeclined(garbage.manifest.id);
    await eventually(() => expect(late.book.log.state(garbage.signed.id)).toBe('held'));
    expect((await late.settled()).seals).toHaveLength(1);
    expect((await late.settled()).recipeId.equals(expected.recipeId)).toBe(true);
    await late.close();
    const again = await openCommunityHere(pond, { home, adopt: false });
    onTestFinished(() => again.close());
    expect((await again.settled()).recipeId.equals(expected.recipeId)).toBe(true);
  });
});
