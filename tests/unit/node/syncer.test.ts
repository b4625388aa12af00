import { generateKeyPair } from '@libp2p/crypto/keys';
import type { PeerId } from '@libp2p/interface';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ASK_FIRST_MS, ASK_MAX_MS, AskTimes } from '../../../node/net/ask-times.ts';
import { FOLLOW_INTERVAL_MS, Follower } from '../../../node/net/follower.ts';
import { MAX_QUEUED_STRANGERS, MAX_STRANGER_SYNCS, MAX_SYNCS, SyncQueue } from '../../../node/net/sync-queue.ts';
import { WaitingRecords } from '../../../node/net/waiting-records.ts';
import { RateLimiter } from '../../../protocols/index.ts';
import { REQUEST_RATE } from '../../../protocols/peers/constants.ts';
import { Log, type SignedRecord } from '../../../src/log/index.ts';
import { follow, testCharter, testId, testKey } from '../log/helpers.ts';

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

describe('records that wait', () => {
  const { charter, id } = testCharter();
  const record = (seed: number, parents: SignedRecord[] = []) =>
    follow(testKey(seed), id, null, parents, { payload: testId(seed) });

  test('are named to the peer that sent them, by their last ones, and only while nothing of theirs is missing', () => {
    const log = new Log({ charter, charterId: id });
    const waiting = new WaitingRecords(log);
    const a = record(1);
    const b = record(2, [a]);
    const missing = record(3);
    const orphan = record(4, [missing]);
    for (const signed of [a, b, orphan]) {
      log.addRecord(signed, 'peer');
      waiting.add('peer', signed);
    }
    expect(waiting.tips('peer').map(String)).toEqual([b.id.toString()]);
    expect(waiting.tips('other')).toEqual([]);
    log.setPayload(a.record.payload, 10);
    log.setPayload(b.record.payload, 10);
    expect(waiting.tips('peer')).toEqual([]);
    waiting.keepOnly(new Set(['other']));
    expect(waiting.tips('peer')).toEqual([]);
  });
});
