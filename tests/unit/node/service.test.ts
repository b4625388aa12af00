import { describe, expect, test } from 'vitest';
import { LocalService } from '../../../node/service/local.ts';
import { testKey } from '../log/helpers.ts';
import { makePond, openCommunity, payloadOf, updateOf, updates } from './support.ts';

async function served() {
  const pond = await makePond();
  const community = await openCommunity(pond);
  return { pond, community, service: new LocalService({ community }) };
}

describe('what a node tells of its updates', () => {
  test('lists held ones in canonical order, then pending ones with their reasons', async () => {
    const { pond, community, service } = await served();
    const held = await updates(pond, 4);
    for (const { signed, payload } of held) await community.book.take(signed, payload, 'peer');
    const lost = await updateOf(pond, testKey(1), payloadOf(pond, 50));
    const waiting = await updateOf(pond, testKey(1), payloadOf(pond, 51), { prev: lost.signed });
    await community.book.take(waiting.signed, null, 'peer');
    const list = await service.log();
    const view = await community.settled();
    expect(list.slice(0, 4).map(({ id }) => id)).toEqual(view.updates.map(({ id }) => id));
    expect(list.map(({ position }) => position)).toEqual([0, 1, 2, 3, null]);
    expect(list.map(({ state }) => state)).toEqual(['held', 'held', 'held', 'held', 'pending']);
    const reasons = [`record ${lost.signed.id}`, `manifest of payload ${waiting.manifest.id}`];
    expect(list[4]).toMatchObject({ id: waiting.signed.id.toString(), verdict: 'undecided', waitsFor: reasons });
    for (const update of list) expect(await service.show(update.id)).toEqual(update);
    const status = await service.status();
    expect(status.log).toEqual({ held: 4, pending: 1, accepted: 4, declined: 0 });
    expect(status.waiting).toEqual([
      { update: waiting.signed.id.toString(), waitsFor: reasons, tries: 0, nextTry: null, lastError: null },
    ]);
  });

  test('an update is found by the unique beginning of its id, and by nothing else', async () => {
    const { pond, community, service } = await served();
    const made = await updates(pond, 3);
    for (const { signed, payload } of made) await community.book.take(signed, payload, 'peer');
    const ids = made.map(({ signed }) => signed.id.toString());
    for (const id of ids) {
      let length = 8;
      while (ids.filter((other) => other.startsWith(id.slice(0, length))).length > 1) length++;
      expect((await service.show(id.slice(0, length))).id).toBe(id);
      expect((await service.why(id.slice(0, length))).update).toBe(id);
    }
    // Every id begins with the same characters: too little is no name.
    for (const id of ['bafyrei', 'b', '', 'bafyreizzzzz', `${ids[0]}x`]) {
      await expect(service.show(id)).rejects.toMatchObject({ code: 'UPDATE_UNKNOWN', fields: { id } });
      await expect(service.why(id)).rejects.toMatchObject({ code: 'UPDATE_UNKNOWN' });
    }
  });

  test('every update has its gates, with measured value, threshold and verdict', async () => {
    const { pond, community, service } = await served();
    const made = await updates(pond, 4);
    const copy = await updateOf(pond, testKey(9), made[0]!.payload, { parents: made.map(({ signed }) => signed) });
    for (const { signed, payload } of [...made, copy]) await community.book.take(signed, payload, 'peer');
    const why = await service.why(copy.signed.id.toString());
    expect(why).toMatchObject({ verdict: 'declined', gate: 'duplicate', provisional: true });
    const failed = why.gates.filter(({ verdict }) => verdict === 'fail');
    expect(failed).toMatchObject([{ gate: 'duplicate', measured: expect.anything(), threshold: 0.95 }]);
    for (const gate of ['equivocation', 'bounds', 'norm', 'duplicate', 'opposite', 'kinship']) {
      expect(why.gates.map((result) => result.gate)).toContain(gate);
    }
  });
});
