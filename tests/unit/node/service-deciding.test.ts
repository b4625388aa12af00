import { expect, test, vi } from 'vitest';
import type { Network } from '../../../node/net/network.ts';
import { DECIDING_GRACE_MS, LocalService } from '../../../node/service/local.ts';
import { makePond, openCommunity, updates } from './support.ts';

/** What a status asks of the network. */
const network = { peerId: 'peer', addresses: () => [], joinLines: () => [], connected: () => [] } as unknown as Network;

test('log, show, why and the first status waited for a long admission: a daemon answers from the last view', async () => {
  const pond = await makePond();
  const community = await openCommunity(pond);
  const made = await updates(pond, 3);
  await community.book.take(made[0]!.signed, made[0]!.payload, 'peer');
  const before = await community.settled();
  // Admission of what comes now does not end.
  const { promise, resolve } = Promise.withResolvers<void>();
  const decide = community.judge.decide.bind(community.judge);
  vi.spyOn(community.judge, 'decide').mockImplementation(async (...args) => {
    await promise;
    return decide(...args);
  });
  await community.book.take(made[1]!.signed, made[1]!.payload, 'peer');
  const service = new LocalService({ community });
  service.network = network;
  const id = made[1]!.signed.id.toString();
  const started = performance.now();
  const [log, show, why, status] = await Promise.all([
    service.log(),
    service.show(id),
    service.why(id),
    service.status(),
  ]);
  expect(performance.now() - started).toBeLessThan(5 * DECIDING_GRACE_MS);
  expect(log.map(({ verdict, deciding }) => [verdict, deciding])).toEqual([
    ['accepted', true],
    ['undecided', true],
  ]);
  expect(show).toMatchObject({ id, verdict: 'undecided', position: null, deciding: true });
  expect(why).toMatchObject({ update: id, verdict: 'undecided', deciding: true, gates: [] });
  expect(status).toMatchObject({ deciding: true, recipe: { id: before.recipeId.toString(), updates: 1 } });
  // Without a daemon there is nobody to ask again.
  let answered = false;
  const patient = new LocalService({ community }).show(id).finally(() => {
    answered = true;
  });
  await new Promise((done) => setTimeout(done, 1.5 * DECIDING_GRACE_MS));
  expect(answered).toBe(false);
  resolve();
  expect(await patient).toMatchObject({ verdict: 'accepted', deciding: false });
  expect(await service.why(id)).toMatchObject({ verdict: 'accepted', deciding: false });
});

test('the first status of a daemon with a long log names the recipe of no updates', async () => {
  const pond = await makePond();
  const community = await openCommunity(pond);
  const empty = await community.settled();
  const service = new LocalService({ community });
  service.network = network;
  vi.spyOn(community, 'view', 'get').mockReturnValue(undefined);
  vi.spyOn(community, 'settled').mockReturnValue(new Promise(() => {}));
  expect((await service.status()).recipe).toEqual({ id: empty.recipeId.toString(), updates: 0, provisional: true });
});
