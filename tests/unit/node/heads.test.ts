import { describe, expect, test } from 'vitest';
import type { View } from '../../../node/core/view.ts';
import { HEADS_PER_NODE, HEADS_PER_SOURCE, Heads, MAX_HEADS, NEW_NODES_PER_SOURCE } from '../../../node/net/heads.ts';
import {
  decodeSignedHead,
  encodeSignedHead,
  frontierOf,
  type Head,
  type SigningKey,
  sha256,
  signHead,
} from '../../../src/log/index.ts';
import { testId, testKey } from '../log/helpers.ts';

const CHARTER = testId(1);

function head(key: SigningKey, changes: Partial<Head> = {}): Uint8Array {
  return encodeSignedHead(
    signHead(
      {
        version: 1,
        node: key.publicKey,
        charter: CHARTER,
        recipe: testId(2),
        frontier: [testId(6)],
        truncated: false,
        accepted: 0,
        held: 1,
        checkpoint: null,
        sealed: null,
        counter: 10,
        ...changes,
      },
      key,
    ),
  );
}

const heads = () => new Heads({ charterId: CHARTER }, { key: testKey(0) });

describe("peers' heads", () => {
  test('a newer one takes the place of an older one, never the other way', () => {
    const known = heads();
    const key = testKey(1);
    expect(known.judge(head(key, { counter: 10, held: 4 }), 'peer')).toBe('accept');
    for (const counter of [10, 9, 0]) expect(known.judge(head(key, { counter, held: 2 }), 'peer')).toBe('ignore');
    expect(known.all().map(({ held }) => held)).toEqual([4]);
    expect(known.judge(head(key, { counter: 11, held: 3 }), 'peer')).toBe('accept');
    expect(known.all().map(({ held }) => held)).toEqual([3]);
  });

  test('are told by their digests, as long as they are kept', () => {
    const known = heads();
    const [older, newer] = [10, 11].map((counter) => head(testKey(1), { counter })) as [Uint8Array, Uint8Array];
    expect(known.has(sha256(older))).toBe(false);
    known.judge(older, 'peer');
    expect(known.has(sha256(older))).toBe(true);
    known.take(newer, 'peer');
    expect([known.has(sha256(older)), known.has(sha256(newer))]).toEqual([false, true]);
    for (let i = 2; i <= MAX_HEADS + 1; i++) known.take(head(testKey(i)), 'peer');
    expect(known.has(sha256(newer))).toBe(false);
  });

  test('one of another community is refused and not kept', () => {
    const known = heads();
    const foreign = head(testKey(1), { charter: testId(9) });
    expect(known.judge(foreign, 'peer')).toBe('reject');
    expect(() => known.take(foreign, 'peer')).toThrow(expect.objectContaining({ code: 'OUT_OF_RANGE' }));
    expect(known.all()).toEqual([]);
  });

  test('a forged or malformed one is refused', () => {
    const known = heads();
    const bytes = head(testKey(1));
    const forged = bytes.slice();
    forged[forged.length - 1]! ^= 1;
    for (const bad of [forged, bytes.subarray(1), new Uint8Array(), new Uint8Array(4096)]) {
      expect(known.judge(bad, 'peer')).toBe('reject');
    }
    expect(known.all()).toEqual([]);
  });

  test('are bounded: the one not renewed for the longest makes room', () => {
    const known = heads();
    for (let i = 1; i <= MAX_HEADS; i++) known.take(head(testKey(i)), 'peer');
    known.take(head(testKey(1), { counter: 11 }), 'peer');
    known.take(head(testKey(MAX_HEADS + 1)), 'peer');
    const nodes = known.all().map(({ node }) => Buffer.from(node).toString('hex'));
    expect(nodes).toHaveLength(MAX_HEADS);
    expect(nodes).toContain(Buffer.from(testKey(1).publicKey).toString('hex'));
    expect(nodes).not.toContain(Buffer.from(testKey(2).publicKey).toString('hex'));
    expect(known.known).toBe(MAX_HEADS + 1);
  });
});

describe('who floods with heads', () => {
  const clock = { value: 0 };
  const slow = () => new Heads({ charterId: CHARTER }, { key: testKey(0), now: () => clock.value });
  const named = (known: Heads) => new Set(known.all().map(({ node }) => Buffer.from(node).toString('hex')));
  const hex = (key: SigningKey) => Buffer.from(key.publicKey).toString('hex');

  test('with fresh keys gets a bounded number relayed, and others are still heard', () => {
    const known = slow();
    const verdicts = Array.from({ length: NEW_NODES_PER_SOURCE.burst + 10 }, (_, i) =>
      known.judge(head(testKey(1_000 + i)), 'liar'),
    );
    expect(verdicts.filter((verdict) => verdict === 'accept')).toHaveLength(NEW_NODES_PER_SOURCE.burst);
    expect(verdicts.at(-1)).toBe('ignore');
    expect(known.judge(head(testKey(1)), 'friend')).toBe('accept');
    clock.value += 1_000 / NEW_NODES_PER_SOURCE.perSecond;
    expect(known.judge(head(testKey(2_000)), 'liar')).toBe('accept');
  });

  test('with one key gets a bounded number relayed, whoever passes them on', () => {
    const known = slow();
    const verdicts = Array.from({ length: HEADS_PER_NODE.burst + 5 }, (_, i) =>
      known.judge(head(testKey(1), { counter: i }), `peer ${i % 3}`),
    );
    expect(verdicts.filter((verdict) => verdict === 'accept')).toHaveLength(HEADS_PER_NODE.burst);
  });

  test('is not even read beyond the bound of one peer, and costs the others nothing', () => {
    const known = slow();
    const bytes = head(testKey(1));
    for (let i = 0; i < HEADS_PER_SOURCE.burst; i++) known.judge(bytes, 'liar');
    expect(known.judge(new Uint8Array(1), 'liar')).toBe('ignore');
    expect(known.judge(new Uint8Array(1), 'friend')).toBe('reject');
  });

  test('pushes out his own heads, not those that others brought', () => {
    const known = slow();
    for (let i = 1; i <= 10; i++) known.take(head(testKey(i)), `friend ${i}`);
    for (let i = 0; i < 2 * MAX_HEADS; i++) known.take(head(testKey(1_000 + i)), 'liar');
    expect(known.all()).toHaveLength(MAX_HEADS);
    for (let i = 1; i <= 10; i++) expect(named(known)).toContain(hex(testKey(i)));
  });

  test('cannot bring back an old head of a node that had to make room', () => {
    const known = slow();
    known.take(head(testKey(1), { counter: 20 }), 'liar');
    for (let i = 0; i < MAX_HEADS; i++) known.take(head(testKey(1_000 + i)), 'liar');
    expect(named(known)).not.toContain(hex(testKey(1)));
    expect(known.judge(head(testKey(1), { counter: 20 }), 'friend')).toBe('ignore');
    expect(known.judge(head(testKey(1), { counter: 21 }), 'friend')).toBe('accept');
  });
});

describe('the own head', () => {
  const view = {
    recipeId: testId(3),
    frontier: [testId(4)],
    accepted: [{}, {}],
    records: [{}, {}, {}],
    sealed: null,
  } as unknown as View;

  test('says what the view holds, and its counter grows also within one millisecond', () => {
    const own = heads();
    expect(own.own).toBeNull();
    const first = decodeSignedHead(own.sign(view, () => undefined)).head;
    const second = decodeSignedHead(own.sign(view, () => testId(5))).head;
    expect(first).toMatchObject({ accepted: 2, held: 3, checkpoint: null, truncated: false });
    expect(first.recipe.equals(testId(3))).toBe(true);
    expect(second.counter).toBeGreaterThan(first.counter);
    expect(second.checkpoint!.equals(testId(5))).toBe(true);
    expect(heads().judge(own.own!, 'peer')).toBe('accept');
  });

  test('is like those that say the same of records, recipe, seal and checkpoint', () => {
    const known = heads();
    const same = { recipe: testId(3), frontier: [testId(4)], accepted: 2, held: 3, checkpoint: testId(5) };
    const others: Partial<Head>[] = [
      { recipe: testId(2) },
      { frontier: [testId(6)] },
      { frontier: frontierOf([testId(4), testId(6)]).frontier },
      { held: 4 },
      { checkpoint: null },
      { sealed: { seal: testId(8), number: 1, recipe: testId(3), checkpoint: null } },
    ];
    for (const [place, change] of others.entries()) {
      known.take(head(testKey(1 + place), { ...same, ...change }), 'peer');
    }
    expect(known.alike).toBe(0);
    known.sign(view, () => testId(5));
    expect(known.alike).toBe(0);
    for (const key of [10, 11]) known.take(head(testKey(key), same), 'peer');
    expect(known.alike).toBe(2);
  });
});
