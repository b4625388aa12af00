import { describe, expect, it } from 'vitest';
import { encodeSeal, Log, type Seal, signSeal } from '../../../src/log/index.ts';
import { testId, testKey } from '../log/helpers.ts';
import { essence, owner, Scene } from './support.ts';

const [ada, bob, cleo] = [testKey(1), testKey(2), testKey(3)];
const ids = (records: readonly { id: unknown }[]) => records.map(({ id }) => `${id}`);

describe('a seal', () => {
  it('ends an epoch: what is in it never moves, and what comes later stands after it whatever its parents', async () => {
    const scene = new Scene();
    for (let i = 0; i < 6; i++) scene.update(testKey(10 + i));
    const before = await scene.derive();
    expect(before.sealed).toBeNull();
    const seal = await scene.seal();
    const sealed = await scene.derive();
    expect(sealed.seals.map(({ number }) => number)).toEqual([1]);
    expect(sealed.sealed!.recipeId.equals(before.recipeId)).toBe(true);
    expect(sealed.seal!.id.equals(seal.id)).toBe(true);
    for (let i = 0; i < 20; i++) scene.update(testKey(30 + i));
    const after = await scene.derive();
    expect(ids(after.records).slice(0, 6)).toEqual(ids(before.records));
    expect(after.sealed!.recipeId.equals(before.recipeId)).toBe(true);
    expect(after.accepted).toHaveLength(26);
  });

  it('says what every node computes, also one that gets it after everything else or starts with it', async () => {
    const scene = new Scene();
    scene.update(ada);
    await scene.seal();
    scene.update(bob);
    await scene.seal();
    scene.update(cleo);
    const expected = essence(await scene.derive());
    expect(expected.seals).toHaveLength(2);
    expect(essence(await scene.historianOf(scene.copy()).derive())).toEqual(expected);
    const late = scene.copy();
    const historian = scene.historianOf(late);
    await historian.derive();
    expect(essence(await historian.derive())).toEqual(expected);
  });

  it('waits until its records are held', async () => {
    const scene = new Scene();
    scene.update(ada);
    const seal = await scene.seal();
    const other = new Scene();
    other.log.seals.add(seal);
    const history = await other.derive();
    expect(history.waiting!.id.equals(seal.id)).toBe(true);
    expect(history.seals).toEqual([]);
  });

  it.each<[string, (seal: Seal) => Partial<Seal>]>([
    ['decisions', () => ({ decisions: Uint8Array.of(4) })],
    ['recipe', () => ({ recipe: testId(5) })],
    ['accepted', () => ({ accepted: 7 })],
    ['amendments', () => ({ amendments: [testId(6)] })],
    ['revocations', () => ({ revocations: [testId(6)] })],
    ['charter', () => ({ charter: testId(6) })],
  ])('that has other %s than its records make is an alarm, and nothing moves', async (field, change) => {
    const scene = new Scene();
    scene.update(ada);
    const before = await scene.derive();
    const good = (await scene.historian.propose(before))!;
    scene.log.seals.add(signSeal({ ...good, ...change(good) }, [owner]));
    const history = await scene.derive();
    expect(history.alarm).toMatchObject({ code: 'SEAL_MISMATCH', number: 1 });
    expect(history.alarm?.code === 'SEAL_MISMATCH' && history.alarm.differs).toContain(field);
    expect(history.seals).toEqual([]);
    expect(history.recipeId.equals(before.recipeId)).toBe(true);
  });

  it('that has a second one with its number is an alarm, and the node goes back to the seal before', async () => {
    const scene = new Scene();
    scene.update(ada);
    const first = await scene.seal();
    const b = scene.update(bob);
    const partial = await scene.historian.propose(await scene.derive());
    scene.update(cleo);
    await scene.seal();
    expect((await scene.derive()).seals).toHaveLength(2);
    scene.log.seals.add(signSeal({ ...partial!, frontier: [b.id] }, [owner]));
    const history = await scene.derive();
    expect(history.alarm).toMatchObject({ code: 'SEAL_CONFLICT', number: 2 });
    expect(ids(history.seals)).toEqual([`${first.id}`]);
    expect(essence(await scene.historianOf(scene.copy()).derive())).toEqual(essence(history));
  });

  it('of a key that is no sealer counts for nothing', async () => {
    const scene = new Scene();
    scene.update(ada);
    const proposed = (await scene.historian.propose(await scene.derive()))!;
    expect(scene.log.seals.add(signSeal(proposed, [ada])).outcome).toBe('untrusted');
    const none = new Scene({ sealers: { keys: [], threshold: 0 } });
    expect(none.log.seals.add(signSeal(proposed, [owner])).outcome).toBe('untrusted');
  });

  it('keeps what it accepted when its author is found to have signed twice later', async () => {
    const scene = new Scene();
    const first = scene.update(ada, { title: 'one' });
    await scene.seal();
    scene.update(ada, { title: 'another' });
    const next = scene.update(ada, { prev: first });
    const history = await scene.derive();
    expect(history.decisions.get(`${first.id}`)!.accepted).toBe(true);
    expect(history.decisions.get(`${next.id}`)!.gate).toBe('equivocation');
    expect(history.accepted).toHaveLength(1);
    await scene.seal();
    expect(essence(await scene.historianOf(scene.copy()).derive())).toEqual(essence(await scene.derive()));
  });

  it('whose decisions are adopted is shown so until they are replayed', async () => {
    const scene = new Scene();
    const a = scene.update(ada);
    const copy = scene.update(bob);
    scene.relate(a, copy, 0.99);
    await scene.seal();
    const replayed = await scene.derive();
    expect(replayed.seals[0]!.replayed).toBe(true);
    scene.adopts = true;
    const historian = scene.historianOf(scene.copy());
    const adopted = await historian.derive();
    expect(adopted.seals[0]!.replayed).toBe(false);
    expect(essence(adopted)).toEqual(essence(replayed));
    scene.adopts = false;
    const later = await historian.derive();
    expect(later.seals[0]!.replayed).toBe(true);
    expect(essence(later)).toEqual(essence(replayed));
  });

  it('says what becomes of a declined update whose payload is not here any more', async () => {
    const scene = new Scene();
    const a = scene.update(ada);
    const copy = scene.update(bob);
    scene.relate(a, copy, 0.99);
    await scene.seal();
    const whole = await scene.derive();
    const declined = whole.updates.find(({ id }) => !whole.decisions.get(id)!.accepted)!;
    scene.norms.delete(declined.payload.toString());
    const historian = scene.historianOf(scene.copy(), (payload) => payload.equals(declined.payload));
    const without = await historian.derive();
    expect(essence(without)).toEqual(essence(whole));
    expect(without.seals[0]!.replayed).toBe(true);
  });

  it('tells which waiting updates it declines, once every record of its epoch was seen', async () => {
    const scene = new Scene();
    const a = scene.update(ada);
    const copy = scene.update(bob);
    scene.relate(a, copy, 0.99);
    const last = scene.update(cleo, { parents: [a, copy] });
    const seal = await scene.seal();
    const whole = await scene.derive();
    const declined = whole.updates.find(({ id }) => !whole.decisions.get(id)!.accepted)!;
    const late = new Log({ charter: scene.charter, charterId: scene.id });
    late.seals.add(seal);
    const historian = scene.historianOf(late);
    for (const signed of [last, a, copy]) {
      expect(historian.declinedAhead()).toEqual([]);
      if (signed.record.payload.equals(declined.payload)) late.setManifest(declined.payload, 10);
      else late.setPayload(signed.record.payload, 10);
      late.addRecord(signed);
    }
    expect(ids(historian.declinedAhead())).toEqual([declined.id]);
  });

  it('has a body within its bound with the largest lists', () => {
    const many = (count: number, from: number) => Array.from({ length: count }, (_, i) => testId(from + i));
    const sorted = (list: ReturnType<typeof many>) => list.sort((a, b) => Buffer.compare(a.bytes, b.bytes));
    const seal: Seal = {
      version: 1,
      charter: testId(0),
      number: 2 ** 32 - 1,
      previous: testId(1),
      frontier: sorted(many(1024, 0)),
      decisions: new Uint8Array(65_536),
      amendments: many(1024, 2000),
      revocations: many(1024, 4000),
      accepted: 2 ** 20,
      recipe: testId(3),
    };
    expect(encodeSeal(seal).length).toBeLessThan(256 * 1024);
    expect(() => encodeSeal({ ...seal, decisions: new Uint8Array(65_537) })).toThrow();
    expect(() => encodeSeal({ ...seal, frontier: sorted(many(1025, 0)) })).toThrow();
    expect(() => encodeSeal({ ...seal, decisions: new Uint8Array(0) })).toThrow();
  });
});

describe('a revocation', () => {
  it('takes an update of the tail out at once, and what was decided stays decided', async () => {
    const scene = new Scene();
    const a = scene.update(ada);
    const b = scene.update(bob, { parents: [a] });
    scene.revoke(ada, a, a);
    const history = await scene.derive();
    expect(history.decisions.get(`${a.id}`)!.accepted).toBe(true);
    expect([...history.takenOut]).toEqual([`${a.id}`]);
    expect(ids(history.accepted)).toEqual([`${b.id}`]);
  });

  it('of a sealed update has its effect at the next seal, which lists it', async () => {
    const scene = new Scene();
    const a = scene.update(ada);
    scene.update(bob);
    await scene.seal();
    const revocation = scene.revoke(owner, a, null);
    expect((await scene.derive()).accepted).toHaveLength(2);
    const seal = await scene.seal();
    expect(ids(seal.seal.revocations.map((id) => ({ id })))).toEqual([`${revocation.id}`]);
    const after = await scene.derive();
    expect(after.alarm).toBeNull();
    expect(after.accepted).toHaveLength(1);
    expect(after.sealed!.accepted).toHaveLength(1);
  });

  it('by anybody else, or of what is no update, is invalid', () => {
    const scene = new Scene();
    const a = scene.update(ada);
    expect(() => scene.revoke(bob, a, null)).toThrow('the record is invalid');
    const revocation = scene.revoke(ada, a, a);
    expect(() => scene.revoke(ada, revocation, revocation)).toThrow('the record is invalid');
  });
});

describe('an amendment', () => {
  const members = { membership: [ada.publicKey] };
  const add = (...keys: (typeof ada)[]) => ({ open: false, add: keys.map(({ publicKey }) => publicKey), remove: [] });

  it('lets a new member’s records be held, and accepts them from the next seal on', async () => {
    const scene = new Scene(members);
    expect(() => scene.update(bob)).toThrow('the record is invalid');
    const amendment = scene.amend({ membership: add(bob) }, null);
    const early = scene.update(bob, { parents: [amendment] });
    expect((await scene.derive()).decisions.get(`${early.id}`)!.gate).toBe('membership');
    const seal = await scene.seal();
    expect(`${seal.seal.amendments}`).toBe(`${amendment.id}`);
    const late = scene.update(bob, { prev: early });
    const history = await scene.derive();
    expect(history.decisions.get(`${early.id}`)!.gate).toBe('membership');
    expect(history.decisions.get(`${late.id}`)!.accepted).toBe(true);
    expect(history.rules.amendment!.number).toBe(1);
  });

  it('that removes a member declines what comes after the seal, whatever parents it names', async () => {
    const scene = new Scene({ membership: [ada.publicKey, bob.publicKey].sort(Buffer.compare) });
    const first = scene.update(bob);
    scene.amend({ membership: { open: false, add: [], remove: [bob.publicKey] } }, null);
    await scene.seal();
    const backdated = scene.update(bob, { prev: first });
    const history = await scene.derive();
    expect(history.decisions.get(`${first.id}`)!.accepted).toBe(true);
    expect(history.decisions.get(`${backdated.id}`)!.gate).toBe('membership');
  });

  it('changes thresholds, budgets and sealers from the next seal on', async () => {
    const scene = new Scene();
    const { admission } = scene.charter;
    const amendment = scene.amend(
      { admission: { ...admission, maxNorm: 2 }, budgets: { updates: 1, bytes: 1000 } },
      null,
    );
    const tall = scene.update(ada, { norm: 3 });
    await scene.seal();
    const again = scene.update(bob, { norm: 3 });
    const second = scene.update(ada, { prev: tall });
    const history = await scene.derive();
    expect(history.decisions.get(`${tall.id}`)!.accepted).toBe(true);
    expect(history.decisions.get(`${again.id}`)!.gate).toBe('bounds');
    expect(history.decisions.get(`${second.id}`)!.gate).toBe('budget');
    scene.amend({ sealers: { keys: [cleo.publicKey], threshold: 1 } }, amendment, amendment);
    await scene.seal();
    scene.update(testKey(9));
    expect((await scene.derive()).rules.sealers.keys).toEqual([cleo.publicKey]);
    await scene.seal(owner);
    expect((await scene.derive()).seals).toHaveLength(2);
    await scene.seal(cleo);
    expect((await scene.derive()).seals).toHaveLength(3);
  });

  it('by anybody but the owner, or out of turn, is invalid', () => {
    const scene = new Scene();
    const first = scene.amend({ budgets: { updates: 5, bytes: 5 } }, null);
    expect(() => scene.amend({ budgets: { updates: 6, bytes: 5 } }, first)).toThrow('the record is invalid');
    const second = scene.amend({ budgets: { updates: 6, bytes: 5 } }, first, first);
    expect(second.record.number).toBe(2);
  });

  it('that the owner signed twice comes into effect once, the first in the order', async () => {
    const scene = new Scene();
    scene.amend({ budgets: { updates: 5, bytes: 500 } }, null);
    scene.amend({ budgets: { updates: 6, bytes: 600 } }, null);
    const seal = await scene.seal();
    expect(seal.seal.amendments).toHaveLength(1);
    const { records, rules } = await scene.derive();
    const [first] = records;
    expect(rules.amendment!.id.equals(first!.id)).toBe(true);
  });
});
