import type { Socket } from 'node:net';
import type { LinkBehaviour } from './bad-link.ts';

/** Bytes that may be on the way in one direction; then the sender feels it, as it would on a real link. */
const MAX_ON_THE_WAY = 1024 * 1024;

export interface LinkConditions {
  behaviour(): LinkBehaviour;
  passes(): boolean;
  /** On the clock of `performance.now()`. */
  stalledUntil(): number;
  onPassed(bytes: number): void;
}

/** What is on the way: a piece of the stream, its end, or the loss of the connection. */
type Item = { readonly at: number } & ({ readonly bytes: Buffer } | { readonly event: 'end' | 'lost' });

/** One direction of a connection through a bad link. Nothing overtakes: also its end arrives only after what came before. */
export class Pump {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #conditions: LinkConditions;
  readonly #items: Item[] = [];
  #waiting = 0;
  /** When the link has room for the next byte. */
  #free = 0;
  #timer: NodeJS.Timeout | undefined;
  #blocked = false;

  constructor(from: Socket, to: Socket, conditions: LinkConditions) {
    this.#from = from;
    this.#to = to;
    this.#conditions = conditions;
    from.on('data', (bytes: Buffer) => {
      this.#waiting += bytes.length;
      if (this.#waiting > MAX_ON_THE_WAY) from.pause();
      this.#put({ at: performance.now(), bytes });
    });
    from.once('end', () => this.#put({ at: performance.now(), event: 'end' }));
    from.once('close', () => this.#put({ at: performance.now(), event: 'lost' }));
    // The close that follows says all there is to say.
    from.on('error', () => {});
    to.on('drain', () => {
      this.#blocked = false;
      this.wake();
    });
    to.once('close', () => clearTimeout(this.#timer));
  }

  /** Looks again whether something may pass. */
  wake(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (let item = this.#items[0]; item !== undefined && !this.#blocked; item = this.#items[0]) {
      if (!this.#conditions.passes() || this.#to.destroyed) return;
      const now = performance.now();
      const due = Math.max(
        item.at + (this.#conditions.behaviour().delayMs ?? 0),
        this.#free,
        this.#conditions.stalledUntil(),
      );
      if (due > now) {
        this.#timer = setTimeout(() => this.wake(), Math.ceil(due - now));
        return;
      }
      this.#items.shift();
      this.#pass(item, now);
    }
  }

  #put(item: Item): void {
    this.#items.push(item);
    if (this.#timer === undefined) this.wake();
  }

  #pass(item: Item, now: number): void {
    if ('event' in item) {
      if (item.event === 'end') this.#to.end();
      else if (this.#to.connecting) this.#to.destroy();
      else if (!this.#to.writableEnded) this.#to.resetAndDestroy();
      else this.#to.destroySoon();
      return;
    }
    const { length } = item.bytes;
    const { bytesPerSecond } = this.#conditions.behaviour();
    if (bytesPerSecond !== undefined) this.#free = now + (length / bytesPerSecond) * 1_000;
    this.#conditions.onPassed(length);
    this.#blocked = !this.#to.write(item.bytes);
    this.#waiting -= length;
    if (this.#waiting <= MAX_ON_THE_WAY && this.#from.isPaused()) this.#from.resume();
  }
}
