import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  ENOUGH_HEADS,
  HEAD_REFRESH_PER_NODE_MS,
  HEAD_SPREAD_PER_NODE_MS,
  HeadTurn,
  SMALL_COMMUNITY,
} from '../../../node/net/head-turn.ts';

const NODES = 100;
const SPREAD_MS = NODES * HEAD_SPREAD_PER_NODE_MS;

describe('the turn of the own head', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  function turnOf(heads: { known: number; alike: number }, random = 0.5) {
    const published: number[] = [];
    const now = () => performance.now();
    const turn = new HeadTurn({ heads, publish: () => published.push(now()), now, random: () => random });
    return { turn, published };
  }

  test('comes at once in a small community, whatever others say', () => {
    const { turn, published } = turnOf({ known: SMALL_COMMUNITY, alike: SMALL_COMMUNITY });
    turn.changed();
    turn.changed();
    expect(published).toHaveLength(2);
  });

  test('comes at a moment of its own in a large one, and is one for several changes', () => {
    const { turn, published } = turnOf({ known: NODES, alike: 0 });
    const start = performance.now();
    turn.changed();
    vi.advanceTimersByTime(SPREAD_MS / 4);
    turn.changed();
    vi.advanceTimersByTime(SPREAD_MS);
    expect(published).toEqual([start + SPREAD_MS / 2]);
  });

  test('is given up when enough others said the same, until the own head is too old', () => {
    const heads = { known: NODES, alike: ENOUGH_HEADS - 1 };
    const { turn, published } = turnOf(heads);
    const change = () => {
      turn.changed();
      vi.advanceTimersByTime(SPREAD_MS);
    };
    change();
    change();
    expect(published).toHaveLength(2);
    heads.alike = ENOUGH_HEADS;
    change();
    expect(published).toHaveLength(2);
    vi.advanceTimersByTime(NODES * HEAD_REFRESH_PER_NODE_MS);
    change();
    expect(published).toHaveLength(3);
  });

  test('does not come any more after the end', () => {
    const { turn, published } = turnOf({ known: NODES, alike: 0 });
    turn.changed();
    turn.stop();
    vi.advanceTimersByTime(2 * SPREAD_MS);
    expect(published).toEqual([]);
  });
});
