/**
 * A TCP proxy that behaves like a bad network, with real sockets: everything between two ends goes through it, late,
 * slowly, with stalls and resets, or not at all while it is cut. Its random choices follow from the seed and from the
 * order in which connections come.
 */
import type { AddressInfo, Socket } from 'node:net';
import { connect, createServer, type Server } from 'node:net';
import { Pump } from './bad-link-pump.ts';

/** How a link treats what passes; what is left out does no harm. */
export interface LinkBehaviour {
  /** Milliseconds that every byte takes in each direction. */
  readonly delayMs?: number;
  /** Bytes per second of one connection in each direction. */
  readonly bytesPerSecond?: number;
  /** Now and then no byte passes, in either direction, for a time between the two; milliseconds. */
  readonly stall?: { readonly everyMs: number; readonly forMs: readonly [number, number] };
  /** Connections are reset after a time that is `everyMs` in the mean; milliseconds. */
  readonly reset?: { readonly everyMs: number };
}

export interface BadLinkOptions {
  /** Port on loopback where the listening end is. */
  readonly target: number;
  readonly behaviour?: LinkBehaviour;
  readonly seed?: number;
  /**
   * Whether bytes pass now between the end that dialled, named by its port, and the listening end. Asked for every piece;
   * what may not pass waits, as on a network that loses packets.
   */
  readonly passes?: (diallerPort: number) => boolean;
}

/** What passed a link since it was made. */
export interface LinkCounts {
  /** Bytes handed to the other side, both directions. */
  bytes: number;
  connections: number;
  stalls: number;
  resets: number;
}

export class BadLink {
  readonly counts: LinkCounts = { bytes: 0, connections: 0, stalls: 0, resets: 0 };
  readonly #options: BadLinkOptions;
  readonly #random: () => number;
  readonly #server: Server;
  readonly #open = new Set<LinkConnection>();
  behaviour: LinkBehaviour;
  #cut = false;

  static async open(options: BadLinkOptions): Promise<BadLink> {
    const link = new BadLink(options);
    await new Promise<void>((resolve, reject) => {
      link.#server.once('error', reject);
      link.#server.listen(0, '127.0.0.1', resolve);
    });
    return link;
  }

  private constructor(options: BadLinkOptions) {
    this.#options = options;
    this.behaviour = options.behaviour ?? {};
    this.#random = random(options.seed ?? 0);
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#accept(socket));
  }

  /** The port to dial instead of the target's. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** The address to announce. */
  get address(): string {
    return `/ip4/127.0.0.1/tcp/${this.port}`;
  }

  /** From now on nothing passes, and nobody is told: connections stay open and dials hang. */
  cut(): void {
    this.#cut = true;
  }

  /** What waited passes now. */
  heal(): void {
    this.#cut = false;
    this.wake();
  }

  /** Call it when what `passes` says has changed. */
  wake(): void {
    for (const connection of this.#open) connection.wake();
  }

  /** Ends all connections and listens no more. */
  async close(): Promise<void> {
    for (const connection of this.#open) connection.reset();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(dialler: Socket): void {
    this.counts.connections++;
    const port = dialler.remotePort ?? 0;
    const connection = new LinkConnection({
      dialler,
      listener: connect({ host: '127.0.0.1', port: this.#options.target, allowHalfOpen: true, noDelay: true }),
      link: this,
      random: this.#random,
      passes: () => !this.#cut && (this.#options.passes?.(port) ?? true),
      onClose: () => this.#open.delete(connection),
    });
    this.#open.add(connection);
  }
}

interface ConnectionParts {
  readonly dialler: Socket;
  readonly listener: Socket;
  readonly link: BadLink;
  readonly random: () => number;
  readonly passes: () => boolean;
  readonly onClose: () => void;
}

/** One connection through a link: a pump for each direction, and what goes wrong with both. */
class LinkConnection {
  readonly #parts: ConnectionParts;
  readonly #pumps: readonly [Pump, Pump];
  readonly #timers = new Set<NodeJS.Timeout>();
  #stalledUntil = 0;
  #closed = 0;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { dialler, listener, link } = parts;
    const conditions = {
      behaviour: () => link.behaviour,
      passes: parts.passes,
      stalledUntil: () => this.#stalledUntil,
      onPassed: (bytes: number) => {
        link.counts.bytes += bytes;
      },
    };
    this.#pumps = [new Pump(dialler, listener, conditions), new Pump(listener, dialler, conditions)];
    for (const socket of [dialler, listener]) {
      socket.once('close', () => {
        if (++this.#closed < 2) return;
        for (const timer of this.#timers) clearTimeout(timer);
        parts.onClose();
      });
    }
    this.#planStall();
    this.#planReset();
  }

  wake(): void {
    for (const pump of this.#pumps) pump.wake();
  }

  reset(): void {
    for (const socket of [this.#parts.dialler, this.#parts.listener]) {
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    }
  }

  #planStall(): void {
    const { stall } = this.#parts.link.behaviour;
    if (stall === undefined) return;
    this.#after(stall.everyMs, () => {
      const [least, most] = stall.forMs;
      this.#stalledUntil = performance.now() + least + this.#parts.random() * (most - least);
      this.#parts.link.counts.stalls++;
      this.#planStall();
    });
  }

  #planReset(): void {
    const { reset } = this.#parts.link.behaviour;
    if (reset === undefined) return;
    this.#after(reset.everyMs, () => {
      this.#parts.link.counts.resets++;
      this.reset();
    });
  }

  /** After a time that is exponentially distributed: at any moment as likely as at any other. */
  #after(meanMs: number, work: () => void): void {
    const timer = setTimeout(
      () => {
        this.#timers.delete(timer);
        work();
      },
      -Math.log(1 - this.#parts.random()) * meanMs,
    );
    this.#timers.add(timer);
  }
}

/** Numbers from 0 to 1 that are the same in every run (mulberry32). */
export function random(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}
