import { describe, expect, onTestFinished, test, vi } from 'vitest';
import type { Community } from '../../../node/core/community.ts';
import { Deciding } from '../../../node/core/deciding.ts';
import { Problems } from '../../../node/core/problems.ts';
import { Journal } from '../../../node/stores/journal.ts';
import { eventually, makePond, openCommunity, silent, type Update, updates } from './support.ts';

/** A community that counts its derivations, what was told, and its views, from here on. */
async function counted(count: number) {
  const pond = await makePond();
  const community = await openCommunity(pond);
  await community.settled();
  const told: string[] = [];
  const seen = { held: 0, views: 0 };
  community.on('held', (records) => {
    seen.held += records.length;
    told.push('held');
  });
  community.on('view', () => {
    seen.views++;
    told.push('view');
  });
  const derivations = vi.spyOn(community.judge, 'decide');
  return { community, made: await updates(pond, count), told, seen, derivations };
}

const take = ({ book }: Community, { signed, payload }: Update) => book.take(signed, payload, 'peer');

/** Every write of the journal waits until `go`, and then fails when it is given an error. */
function heldUpDisk() {
  const { promise, resolve } = Promise.withResolvers<Error | undefined>();
  const write = Journal.prototype.append;
  const spy = vi.spyOn(Journal.prototype, 'append').mockImplementation(async function (this: Journal, ...args) {
    const error = await promise;
    if (error !== undefined) throw error;
    return write.apply(this, args);
  });
  onTestFinished(() => spy.mockRestore());
  return { go: resolve, end: () => spy.mockRestore() };
}

describe('what is held in memory', () => {
  test('counts as not decided yet from then on, and is decided on once it is on disk, and once', async () => {
    const { community, made, told, derivations } = await counted(1);
    expect(community.deciding).toBe(false);
    const disk = heldUpDisk();
    const taken = take(community, made[0]!);
    await eventually(() => expect(community.book.log.size).toBe(1));
    expect(community.deciding).toBe(true);
    const settled = community.settled();
    await new Promise((done) => setTimeout(done, 50));
    expect(told).toEqual([]);
    expect(community.deciding).toBe(true);
    expect(derivations).not.toHaveBeenCalled();
    disk.go(undefined);
    expect((await settled).records).toHaveLength(1);
    await taken;
    await community.settled();
    expect(told).toEqual(['held', 'view']);
    expect(derivations).toHaveBeenCalledTimes(1);
  });

  test('is decided on also when the disk does not take it, and not again when it does', async () => {
    const { community, made, told, derivations } = await counted(1);
    const disk = heldUpDisk();
    disk.go(Object.assign(new Error('no space left'), { code: 'ENOSPC' }));
    await expect(take(community, made[0]!)).rejects.toMatchObject({ code: 'ENOSPC' });
    expect((await community.settled()).records).toHaveLength(1);
    expect(told).toEqual(['view']);
    disk.end();
    await community.book.expire();
    await community.settled();
    expect(told).toEqual(['view', 'held']);
    expect(derivations).toHaveBeenCalledTimes(1);
  });
});

test('asking whether a node decides starts nothing', async () => {
  const { community, seen, derivations } = await counted(0);
  for (let i = 0; i < 3; i++) {
    expect(community.deciding).toBe(false);
    await community.settled();
  }
  expect(derivations).not.toHaveBeenCalled();
  expect(seen.views).toBe(0);
});

test('records that come one at a time are derived once each, those that come together in fewer goes', async () => {
  const { community, made, seen, derivations } = await counted(16);
  for (const update of made.slice(0, 8)) {
    await take(community, update);
    await community.settled();
  }
  expect(seen).toEqual({ held: 8, views: 8 });
  expect(derivations).toHaveBeenCalledTimes(8);
  await Promise.all(made.slice(8).map((update) => take(community, update)));
  const { records } = await community.settled();
  expect(records).toHaveLength(16);
  expect(seen.held).toBe(16);
  expect(derivations.mock.calls.length).toBeLessThan(16);
});

test('a community that is not open says so instead of waiting', async () => {
  const { community } = await counted(0);
  const { book, judge, options } = community;
  const unopened = new Deciding(
    { charter: options.charter, adoption: { enabled: false, path: options.home.replayed } },
    {
      book,
      judge,
      problems: new Problems({ onChange: () => {} }),
      onView: () => {},
      stopping: community.stopping,
      logger: silent,
    },
  );
  expect(unopened.busy).toBe(false);
  await expect(unopened.settled()).rejects.toThrow('not open');
});
