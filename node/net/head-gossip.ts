import type { EventEmitter } from 'node:events';
import type { Community, CommunityEvents } from '../core/community.ts';
import { HeadTurn } from './head-turn.ts';
import type { Heads } from './heads.ts';
import { Pace } from './pace.ts';

/** A head is signed at most this often, in milliseconds: a burst of updates makes one, not many. */
export const HEAD_INTERVAL_MS = 500;
/**
 * Longest time between two heads that are gossiped while the log keeps changing, in milliseconds: they reach everybody
 * in many copies, and of a node that catches up nobody needs to know every step. Sync hands out the newest at any time.
 */
export const HEAD_GOSSIP_MAX_MS = 8_000;

/** What a head tells of, and the events after which it tells something new. */
type Told = EventEmitter<CommunityEvents> & Pick<Community, 'view' | 'offered'>;

/** Signs the own head soon after the community changed, and gossips it when it is its turn. */
export class HeadGossip {
  readonly #community: Told;
  readonly #heads: Heads;
  readonly #turn: HeadTurn;
  readonly #pace: Pace;
  #timer: NodeJS.Timeout | undefined;

  constructor(components: {
    community: Told;
    heads: Heads;
    /** Gets the own head as it travels. */
    publish: (head: Uint8Array) => void;
  }) {
    const { community, heads, publish } = components;
    this.#community = community;
    this.#heads = heads;
    this.#turn = new HeadTurn({
      heads,
      publish: () => {
        if (heads.own !== null) publish(heads.own);
      },
    });
    this.#pace = new Pace(
      { firstMs: HEAD_INTERVAL_MS, maxMs: HEAD_GOSSIP_MAX_MS },
      { work: () => this.#turn.changed() },
    );
  }

  start(): void {
    this.#community.on('view', this.#onChange);
    this.#community.on('checkpoint', this.#onChange);
    // Also of checkpoints that were finished before this node was on the network.
    this.#onChange();
  }

  stop(): void {
    this.#community.off('view', this.#onChange);
    this.#community.off('checkpoint', this.#onChange);
    clearTimeout(this.#timer);
    this.#pace.stop();
    this.#turn.stop();
  }

  readonly #onChange = (): void => {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      const { view } = this.#community;
      if (view === undefined) return;
      this.#heads.sign(view, (recipe) => this.#community.offered(recipe));
      this.#pace.request();
    }, HEAD_INTERVAL_MS);
  };
}
