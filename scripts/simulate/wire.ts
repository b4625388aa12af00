import type { Lane, Links } from './links.ts';
import type { Trace, TrafficKind } from './trace.ts';

/** What a wire is made of; the same for all wires of a run. */
export interface WireParts {
  readonly links: Links;
  readonly trace: Trace;
  /** Runs something after that many milliseconds. */
  readonly after: (milliseconds: number, run: () => void) => void;
}

/** Milliseconds until an end notices that the other closed the connection or that it broke, beside the delay. */
const NOTICE_MS = 1;

/**
 * One connection between two nodes: messages arrive in order or the connection breaks. Numbers name the ends: 0 dialled,
 * 1 was dialled.
 */
export class Wire {
  /** Numbers of the nodes at both ends. */
  readonly nodes: readonly [number, number];
  readonly #parts: WireParts;
  readonly #lanes: readonly [Lane, Lane];
  readonly #onBreak = new Set<(error: Error) => void>();
  #open = true;

  constructor(nodes: readonly [number, number], parts: WireParts) {
    this.nodes = nodes;
    this.#parts = parts;
    this.#lanes = [
      { from: nodes[0], to: nodes[1], last: 0 },
      { from: nodes[1], to: nodes[0], last: 0 },
    ];
  }

  get open(): boolean {
    return this.#open;
  }

  /** Tells when the connection is over. @returns what takes that back */
  onBreak(tell: (error: Error) => void): () => void {
    this.#onBreak.add(tell);
    return () => this.#onBreak.delete(tell);
  }

  /** Sends from one end; `arrived` runs at the other, unless the connection breaks before. */
  send(end: 0 | 1, kind: TrafficKind | null, bytes: number, arrived: () => void): void {
    if (!this.#open) return;
    const lane = this.#lanes[end];
    if (kind !== null) this.#parts.trace.sent(kind, lane.from, lane.to, bytes);
    const wait = this.#parts.links.send(lane, bytes);
    if (wait === 'stuck') return;
    if (wait === 'lost') this.breakSoon('too many packets of the connection were lost');
    else {
      this.#parts.after(wait, () => {
        if (this.#open) arrived();
      });
    }
  }

  /** Breaks the connection after what is under way had time to arrive. */
  breakSoon(why: string): void {
    const [first, second] = this.#lanes;
    const wait = Math.max(first.last, second.last) - this.#parts.links.now;
    this.#parts.after(Math.max(0, wait) + NOTICE_MS, () => this.break(why));
  }

  /** Both ends lose the connection now. */
  break(why: string): void {
    if (!this.#open) return;
    this.#open = false;
    this.#parts.trace.note('break', ...this.nodes);
    const error = new Error(why);
    for (const tell of [...this.#onBreak]) tell(error);
    this.#onBreak.clear();
  }
}
