import type { PeerId } from '@libp2p/interface';

/** Exchanges under way at once. */
export const MAX_SYNCS = 4;
/** Those of them with peers that connected by their own choice; the rest is for peers that this node chose. */
export const MAX_STRANGER_SYNCS = 2;
/** Peers that wait for an exchange at most; the timer comes back to any that was dropped. */
export const MAX_QUEUED_SYNCS = 64;
/** Strangers among them. */
export const MAX_QUEUED_STRANGERS = 48;

/**
 * Whose turn it is: each peer once, chosen peers before strangers, and always some places that no stranger can take by
 * being slow.
 */
export class SyncQueue {
  readonly #isChosen: (id: string) => boolean;
  readonly #run: (peer: PeerId) => Promise<void>;
  readonly #waiting = new Map<string, PeerId>();
  readonly #active = new Map<string, { readonly stranger: boolean; readonly done: Promise<void> }>();
  #stopped = false;

  /** @param components.run - one exchange; does not reject */
  constructor(components: { isChosen: (id: string) => boolean; run: (peer: PeerId) => Promise<void> }) {
    this.#isChosen = components.isChosen;
    this.#run = components.run;
  }

  /** False when there is no place to wait. */
  add(peer: PeerId): boolean {
    const key = peer.toString();
    if (this.#stopped) return false;
    if (!this.#waiting.has(key)) {
      if (this.#waiting.size >= MAX_QUEUED_SYNCS) return false;
      if (!this.#isChosen(key) && this.#strangers(this.#waiting.keys()) >= MAX_QUEUED_STRANGERS) return false;
      this.#waiting.set(key, peer);
    }
    this.#next();
    return true;
  }

  /** Drops what waits and returns when nothing runs any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#waiting.clear();
    await Promise.all(Array.from(this.#active.values(), ({ done }) => done));
  }

  #next(): void {
    for (const stranger of [false, true]) {
      for (const [key, peer] of this.#waiting) {
        if (this.#active.size >= MAX_SYNCS) return;
        if (this.#active.has(key) || this.#isChosen(key) === stranger) continue;
        if (stranger && this.#activeStrangers() >= MAX_STRANGER_SYNCS) break;
        this.#waiting.delete(key);
        this.#begin(key, peer, stranger);
      }
    }
  }

  #begin(key: string, peer: PeerId, stranger: boolean): void {
    const done = this.#run(peer).finally(() => {
      this.#active.delete(key);
      this.#next();
    });
    this.#active.set(key, { stranger, done });
  }

  #activeStrangers(): number {
    let count = 0;
    for (const { stranger } of this.#active.values()) if (stranger) count++;
    return count;
  }

  #strangers(keys: Iterable<string>): number {
    let count = 0;
    for (const key of keys) if (!this.#isChosen(key)) count++;
    return count;
  }
}
