import type { Heads } from './heads.ts';

/** Nodes, beside this one, up to which everybody's head goes to everybody at once. */
export const SMALL_COMMUNITY = 8;
/** Other nodes' heads with the same content that are enough: then the own one would tell nobody anything. */
export const ENOUGH_HEADS = 3;
/**
 * Time over which nodes with the same news spread their heads, in milliseconds for each node of the community, and at
 * most. In the third of a second that a head needs to reach everybody, some three others go out, however many nodes
 * there are.
 */
export const HEAD_SPREAD_PER_NODE_MS = 100;
export const HEAD_SPREAD_MAX_MS = 60_000;
/**
 * Time after which a head goes out although it is like others', in milliseconds for each node: so that one is known of
 * everybody, at a fifth of a head per second in all.
 */
export const HEAD_REFRESH_PER_NODE_MS = 5_000;

/**
 * When the own head is gossiped. Every update gives every node a new head, and a message to all costs every node its
 * share: would all of them be sent, an update cost a node as many messages as there are nodes. So each waits for a moment
 * of its own, and stays silent when enough heads like its own were heard by then. Small communities hear everybody.
 */
export class HeadTurn {
  readonly #heads: Pick<Heads, 'known' | 'alike'>;
  readonly #publish: () => void;
  readonly #now: () => number;
  readonly #random: () => number;
  #timer: NodeJS.Timeout | undefined;
  #published = Number.NEGATIVE_INFINITY;

  constructor(components: {
    heads: Pick<Heads, 'known' | 'alike'>;
    publish: () => void;
    now?: () => number;
    random?: () => number;
  }) {
    this.#heads = components.heads;
    this.#publish = components.publish;
    this.#now = components.now ?? (() => performance.now());
    this.#random = components.random ?? Math.random;
  }

  /** The own head is a new one. A turn that comes anyway is that of the new head too. */
  changed(): void {
    const { known } = this.#heads;
    if (known <= SMALL_COMMUNITY) {
      this.#send();
      return;
    }
    const spread = Math.min(HEAD_SPREAD_MAX_MS, known * HEAD_SPREAD_PER_NODE_MS);
    this.#timer ??= setTimeout(() => this.#turn(), spread * this.#random());
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #turn(): void {
    this.#timer = undefined;
    const { known, alike } = this.#heads;
    const due = this.#published + known * HEAD_REFRESH_PER_NODE_MS;
    if (alike < ENOUGH_HEADS || this.#now() >= due) this.#send();
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#published = this.#now();
    this.#publish();
  }
}
