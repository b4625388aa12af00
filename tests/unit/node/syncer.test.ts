import { generateKeyPair } from '@libp2p/crypto/keys';
import type { PeerId } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ASK_FIRST_MS, ASK_MAX_MS, AskTimes } from '../../../node/net/ask-times.ts';
import { FOLLOW_INTERVAL_MS, Follower } from '../../../node/net/follower.ts';
import { MAX_PASSED_OVER, PassedOver } from '../../../node/net/passed-over.ts';
import { BACKOFF_FIRST_MS, BACKOFF_MAX_MS, MAX_BACKED_OFF_PEERS, PeerBackoff } from '../../../node/net/peer-backoff.ts';
import { MAX_QUEUED_STRANGERS, MAX_STRANGER_SYNCS, MAX_SYNCS, SyncQueue } from '../../../node/net/sync-queue.ts';
import { SyncTurn } from '../../../node/net/sync-turn.ts';
import { RateLimiter } from '../../../protocols/index.ts';
import { REQUEST_RATE } from '../../../protocols/peers/constants.ts';
import { testId } from '../log/helpers.ts';

async function newPeer(): Promise<PeerId> {
  return peerIdFromPrivateKey(await generateKeyPair('Ed25519'));
}

describe('the places for exchanges', () => {
  test('are never all taken by strangers, however slow these are', async () => {
    const chosen = new Set<string>();
    const running: string[] = [];
    const gate = Promise.withResolvers<void>();
    const queue = new SyncQueue({
      isChosen: (id) => chosen.has(id),
      run: async (peer) => {
        running.push(peer.toString());
        await gate.promise;
      },
    });
    const strangers = await Promise.all(Array.from({ length: MAX_QUEUED_STRANGERS + 10 }, newPeer));
    const taken = strangers.filter((peer) => queue.add(peer));
    expect(running).toHaveLength(MAX_STRANGER_SYNCS);
    expect(taken).toHaveLength(MAX_STRANGER_SYNCS + MAX_QUEUED_STRANGERS);
    const friends = await Promise.all(Array.from({ length: MAX_SYNCS }, newPeer));
    for (const friend of friends) {
      chosen.add(friend.toString());
      expect(queue.add(friend)).toBe(true);
    }
    const reserved = MAX_SYNCS - MAX_STRANGER_SYNCS;
    expect(running.slice(MAX_STRANGER_SYNCS)).toEqual(friends.slice(0, reserved).map(String));
    gate.resolve();
    await vi.waitFor(() => expect(running).toHaveLength(taken.length + friends.length));
    // Chosen peers go before strangers that came earlier.
    expect(running.slice(MAX_SYNCS).slice(0, friends.length - reserved)).toEqual(friends.slice(reserved).map(String));
    await queue.stop();
    expect(queue.add(friends[0]!)).toBe(false);
  });
});

describe('asking for the peers that a peer knows', () => {
  test('never meets its rate limit, however often it connects and syncs', () => {
    const now = { value: 0 };
    const times = new AskTimes({ now: () => now.value });
    const limiter = new RateLimiter(REQUEST_RATE, { now: () => now.value });
    const asked: number[] = [];
    for (; now.value < 3_600_000; now.value += 500) {
      if (!times.due('peer')) continue;
      asked.push(now.value);
      expect(limiter.take('peer')).toBe(0);
    }
    expect(asked.slice(0, 3)).toEqual([0, ASK_FIRST_MS, 3 * ASK_FIRST_MS]);
    expect(asked.at(-1)! - asked.at(-2)!).toBe(ASK_MAX_MS);
  });
});

describe('heads with unknown records', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  test('cost one exchange with their relayer in an interval, and the last is not forgotten', async () => {
    const peer = await newPeer();
    let followed = 0;
    const follower = new Follower(() => {
      followed++;
    });
    for (let i = 0; i < 100; i++) follower.hint(peer);
    expect(followed).toBe(1);
    vi.advanceTimersByTime(FOLLOW_INTERVAL_MS);
    expect(followed).toBe(2);
    vi.advanceTimersByTime(10 * FOLLOW_INTERVAL_MS);
    expect(followed).toBe(2);
    follower.hint(peer);
    follower.hint(peer);
    follower.stop();
    vi.advanceTimersByTime(10 * FOLLOW_INTERVAL_MS);
    expect(followed).toBe(3);
  });
});

describe('a peer that broke its word', () => {
  test('is left alone for longer every time, and is like any other after a good round', () => {
    const now = { value: 0 };
    const backoff = new PeerBackoff({ now: () => now.value });
    expect(backoff.isOff('peer')).toBe(false);
    const waits = Array.from({ length: 12 }, () => backoff.note('peer'));
    expect(waits.slice(0, 3)).toEqual([BACKOFF_FIRST_MS, 2 * BACKOFF_FIRST_MS, 4 * BACKOFF_FIRST_MS]);
    expect(waits.at(-1)).toBe(BACKOFF_MAX_MS);
    now.value += BACKOFF_MAX_MS - 1;
    expect(backoff.isOff('peer')).toBe(true);
    expect(backoff.isOff('other')).toBe(false);
    now.value += 1;
    expect(backoff.isOff('peer')).toBe(false);
    backoff.clear('peer');
    expect(backoff.note('peer')).toBe(BACKOFF_FIRST_MS);
  });

  test('is forgotten when more than the bound are remembered', () => {
    const backoff = new PeerBackoff({ now: () => 0 });
    for (let i = 0; i <= MAX_BACKED_OFF_PEERS; i++) backoff.note(`peer ${i}`);
    expect(backoff.isOff('peer 0')).toBe(false);
    expect(backoff.isOff('peer 1')).toBe(true);
  });
});

describe('the turn to fetch', () => {
  test('is one round at a time, and waits for a slow one only so long', async () => {
    const turn = new SyncTurn({ patienceMs: 100 });
    const order: string[] = [];
    const release = await turn.take();
    const second = turn.take().then((end) => {
      order.push('second');
      end();
    });
    order.push('first');
    release();
    await second;
    expect(order).toEqual(['first', 'second']);
    await turn.take();
    const started = performance.now();
    await turn.take();
    expect(performance.now() - started).toBeGreaterThan(90);
    const patient = new SyncTurn({ patienceMs: 1_000_000 });
    await patient.take();
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 10);
    await patient.take(stop.signal);
  });
});

describe('what was passed over', () => {
  test('is not asked for again, takes along what depends on it, and is wanted when another record builds on it', () => {
    const passed = new PassedOver();
    passed.add(testId(1), 'unreadable');
    passed.add(testId(2), 'superfluous');
    expect(passed.covers([testId(9)])).toBe(false);
    expect(passed.covers([testId(1)])).toBe(true);
    expect(passed.ids.has(testId(2))).toBe(true);
    expect(passed.covers([testId(2)])).toBe(false);
    expect(passed.ids.has(testId(2))).toBe(false);
  });

  test('is bounded: the oldest are forgotten', () => {
    const passed = new PassedOver();
    for (let i = 0; i <= MAX_PASSED_OVER; i++) passed.add(testId(i), 'unreadable');
    expect(passed.ids.size).toBe(MAX_PASSED_OVER);
    expect(passed.ids.has(testId(0))).toBe(false);
  });
});
