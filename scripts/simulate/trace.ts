import { createHash } from 'node:crypto';

/**
 * What travels: gossiped updates, seals and heads, gossip's own control messages, sync, blocks, addresses of peers, and what
 * connections cost (handshakes, identify, negotiating a stream).
 */
export const TRAFFIC_KINDS = ['updates', 'seals', 'heads', 'control', 'sync', 'blocks', 'peers', 'connect'] as const;
export type TrafficKind = (typeof TRAFFIC_KINDS)[number];

export interface Count {
  messages: number;
  bytes: number;
}

export type Traffic = Record<TrafficKind, Count>;

export function noTraffic(): Traffic {
  return Object.fromEntries(TRAFFIC_KINDS.map((kind) => [kind, { messages: 0, bytes: 0 }])) as Traffic;
}

/** What was sent after the earlier of two looks. */
export function trafficSince(later: Traffic, earlier: Traffic): Traffic {
  const difference = noTraffic();
  for (const kind of TRAFFIC_KINDS) {
    difference[kind].messages = later[kind].messages - earlier[kind].messages;
    difference[kind].bytes = later[kind].bytes - earlier[kind].bytes;
  }
  return difference;
}

/** Characters of events that are hashed at once. */
const BATCH = 1 << 16;

/** Everything that happens in a run goes through here: it is counted, and becomes part of the run's digest. */
export class Trace {
  readonly #now: () => number;
  readonly #hash = createHash('sha256');
  readonly #traffic = noTraffic();
  #events = 0;
  #unhashed = '';

  constructor(components: { now: () => number }) {
    this.#now = components.now;
  }

  /** Notes an event for the digest alone. */
  note(...parts: readonly (string | number)[]): void {
    this.#events++;
    this.#unhashed += `${this.#now()} ${parts.join(' ')}\n`;
    if (this.#unhashed.length > BATCH) this.#flush();
  }

  /** A message that a node has sent, in bytes of its stream. */
  sent(kind: TrafficKind, from: number, to: number, bytes: number): void {
    this.#traffic[kind].messages++;
    this.#traffic[kind].bytes += bytes;
    this.note(kind, from, to, bytes);
  }

  /** What was sent so far. */
  traffic(): Traffic {
    return trafficSince(this.#traffic, noTraffic());
  }

  get events(): number {
    return this.#events;
  }

  /** Hex SHA-256 over all events so far, with their times. */
  digest(): string {
    this.#flush();
    return this.#hash.copy().digest('hex');
  }

  #flush(): void {
    this.#hash.update(this.#unhashed);
    this.#unhashed = '';
  }
}
