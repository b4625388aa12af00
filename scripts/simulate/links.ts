import { seededRandom } from './random.ts';

/** Bytes that TCP, TLS and yamux add to a message, and to every further segment of a longer one. */
const MESSAGE_OVERHEAD = 86;
const SEGMENT_BYTES = 1_400;
const SEGMENT_OVERHEAD = 40;
/** Shortest wait of TCP before it sends a lost segment again, in milliseconds; it doubles with every loss. */
const RETRANSMIT_MS = 200;
/** Losses of one message in a row after which the connection is given up. */
const MAX_LOSSES = 5;
/** Share of a delay that is drawn anew for every message. */
const JITTER = 0.1;
/** Delays between two places range from this share of the mean to 2 minus it. */
const NEAREST = 0.4;

export interface LinkOptions {
  readonly seed: string;
  /** Mean delay in one direction, in milliseconds. */
  readonly latencyMs: number;
  /** What one node can send, in bytes per millisecond. */
  readonly bytesPerMs: number;
  /** Probability that a message is lost on its way, in [0, 1). */
  readonly loss: number;
}

/** One direction of a connection: what is sent first arrives first. */
export interface Lane {
  readonly from: number;
  readonly to: number;
  /** When the last message arrives, in milliseconds of the run. */
  last: number;
}

/**
 * The network between the nodes: a delay for every pair, one upload shared by all of a node's connections, losses that
 * cost a retransmission or the connection, and cuts that nothing crosses.
 */
export class Links {
  readonly #options: LinkOptions;
  readonly #now: () => number;
  readonly #random: () => number;
  readonly #delays = new Map<string, number>();
  /** When each node's upload is free again. */
  readonly #free = new Map<number, number>();
  #side: ((node: number) => number) | undefined;

  constructor(options: LinkOptions, components: { now: () => number }) {
    this.#options = options;
    this.#now = components.now;
    this.#random = seededRandom(`${options.seed} links`);
  }

  /** Milliseconds of the run. */
  get now(): number {
    return this.#now();
  }

  /** Cuts the network: only nodes of one side reach each other. */
  cut(side: (node: number) => number): void {
    this.#side = side;
  }

  heal(): void {
    this.#side = undefined;
  }

  reaches(a: number, b: number): boolean {
    return this.#side === undefined || this.#side(a) === this.#side(b);
  }

  /** Delay in one direction between two nodes, in milliseconds. */
  delay(a: number, b: number): number {
    const pair = a < b ? `${a} ${b}` : `${b} ${a}`;
    let delay = this.#delays.get(pair);
    if (delay === undefined) {
      const place = seededRandom(`${this.#options.seed} delay ${pair}`)();
      delay = this.#options.latencyMs * (NEAREST + 2 * (1 - NEAREST) * place);
      this.#delays.set(pair, delay);
    }
    return delay;
  }

  /**
   * Takes a message of that many bytes for its way.
   *
   * @returns milliseconds until it arrives; `lost` when the connection breaks over it; `stuck` when it cannot arrive
   */
  send(lane: Lane, bytes: number): number | 'lost' | 'stuck' {
    const { from, to } = lane;
    const { now } = this;
    const { bytesPerMs, loss } = this.#options;
    const wire = bytes + MESSAGE_OVERHEAD + Math.floor(bytes / SEGMENT_BYTES) * SEGMENT_OVERHEAD;
    const sent = Math.max(now, this.#free.get(from) ?? 0) + wire / bytesPerMs;
    this.#free.set(from, sent);
    if (!this.reaches(from, to)) return 'stuck';
    let arrival = sent + this.delay(from, to) * (1 + JITTER * (this.#random() - 0.5));
    for (let losses = 0; loss > 0 && this.#random() < loss; losses++) {
      if (losses === MAX_LOSSES) return 'lost';
      arrival += Math.max(RETRANSMIT_MS, 2 * this.delay(from, to)) * 2 ** losses;
    }
    lane.last = Math.max(lane.last, arrival);
    return lane.last - now;
  }
}
