import { EventEmitter } from 'node:events';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import type { CommunityEvents } from '../../../node/core/community.ts';
import type { View } from '../../../node/core/view.ts';
import { HEAD_GOSSIP_MAX_MS, HEAD_INTERVAL_MS, HeadGossip } from '../../../node/net/head-gossip.ts';
import { Heads } from '../../../node/net/heads.ts';
import { decodeSignedHead } from '../../../src/log/index.ts';
import { testId, testKey } from '../log/helpers.ts';

/** Shortest time that a timer takes, in milliseconds. */
const TIMER_MS = 1;
const VIEW = { recipeId: testId(2), frontier: [], accepted: [], records: [], sealed: null } as unknown as View;

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

/** The part of a community that a head tells of. */
class Told extends EventEmitter<CommunityEvents> {
  view: View | undefined = VIEW;
  readonly offered = () => undefined;

  change(): void {
    this.emit('view', VIEW);
  }
}

/** A node that knows no other, and the times at which it gossiped its head, in milliseconds from now. */
function gossiping() {
  const community = new Told();
  const heads = new Heads({ charterId: testId(1) }, { key: testKey(0) });
  const started = performance.now();
  const published: number[] = [];
  const counters: number[] = [];
  const gossip = new HeadGossip({
    community,
    heads,
    publish: (head) => {
      published.push(performance.now() - started);
      counters.push(decodeSignedHead(head).head.counter);
    },
  });
  return { community, heads, gossip, published, counters };
}

describe('the own head', () => {
  test('is signed and gossiped after the start, without a change', () => {
    const { heads, gossip, published } = gossiping();
    gossip.start();
    vi.advanceTimersByTime(HEAD_INTERVAL_MS - 1);
    expect(heads.own).toBeNull();
    vi.advanceTimersByTime(1);
    expect(heads.own).not.toBeNull();
    vi.advanceTimersByTime(60_000);
    expect(published).toHaveLength(1);
    expect(published[0]).toBeLessThanOrEqual(HEAD_INTERVAL_MS + TIMER_MS);
  });

  test('is made once for a burst of changes', () => {
    const { community, gossip, counters } = gossiping();
    gossip.start();
    for (let i = 0; i < 100; i++) community.change();
    vi.advanceTimersByTime(60_000);
    expect(counters).toHaveLength(1);
  });

  test('is signed for every change but gossiped ever more seldom while changes go on, up to the limit', () => {
    const { community, heads, gossip, published } = gossiping();
    gossip.start();
    const changing = setInterval(() => community.change(), 100);
    vi.advanceTimersByTime(60_000);
    clearInterval(changing);
    const pauses = published.slice(1).map((at, i) => at - published[i]!);
    expect(pauses.slice(0, 2)).toEqual([2 * HEAD_INTERVAL_MS, 4 * HEAD_INTERVAL_MS]);
    expect(Math.max(...pauses)).toBe(HEAD_GOSSIP_MAX_MS);
    const before = heads.own;
    community.change();
    vi.advanceTimersByTime(HEAD_INTERVAL_MS);
    expect(heads.own).not.toEqual(before);
  });

  test('waits for the first view', () => {
    const { community, gossip, published } = gossiping();
    community.view = undefined;
    gossip.start();
    vi.advanceTimersByTime(10_000);
    expect(published).toEqual([]);
    community.view = VIEW;
    community.change();
    vi.advanceTimersByTime(HEAD_INTERVAL_MS + TIMER_MS);
    expect(published).toHaveLength(1);
  });

  test('is not gossiped once it was stopped, whatever changes', () => {
    const { community, heads, gossip, published } = gossiping();
    gossip.start();
    gossip.stop();
    community.change();
    vi.advanceTimersByTime(60_000);
    expect(heads.own).toBeNull();
    expect(published).toEqual([]);
    expect(community.listenerCount('view') + community.listenerCount('checkpoint')).toBe(0);
  });
});
