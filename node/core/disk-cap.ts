import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import type { Logger } from '../logger.ts';
import type { PayloadBook } from './payload-book.ts';
import type { Problem } from './problems.ts';

/** How often the size of a home is looked at, in milliseconds. */
export const DISK_LOOK_MS = 60_000;

/** Whether the bytes of a payload may be given up; its record stays held in any case. */
export type Collectable = (payload: CID) => boolean;

export interface DiskCapOptions {
  /** Of everything below it. */
  readonly root: string;
  /** Bytes; no cap when undefined. */
  readonly limit: number | undefined;
}

/**
 * Keeps a home below a number of bytes, as far as the design allows: what is only convenient goes first, then what was
 * fetched for nobody, then payloads that may be given up. What was acknowledged stays; when that is too much, the node says so
 * and fetches no more payloads.
 */
export class DiskCap {
  readonly #options: DiskCapOptions;
  readonly #payloads: PayloadBook;
  readonly #shed: () => Promise<void>;
  readonly #collectable: () => Collectable;
  readonly #onProblem: (problem: Problem | null) => void;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;

  /**
   * @param components - `shed` removes old checkpoints and states of the fold that are only convenient; `collectable` says by the
   *   decisions of the moment which payloads may go
   */
  constructor(
    options: DiskCapOptions,
    components: {
      payloads: PayloadBook;
      shed: () => Promise<void>;
      collectable: () => Collectable;
      onProblem: (problem: Problem | null) => void;
      logger: Logger;
    },
  ) {
    this.#options = options;
    this.#payloads = components.payloads;
    this.#shed = components.shed;
    this.#collectable = components.collectable;
    this.#onProblem = components.onProblem;
    this.#logger = components.logger;
  }

  /** Looks now, and every minute from then on. */
  start(): void {
    if (this.#options.limit === undefined || this.#stopped) return;
    clearTimeout(this.#timer);
    this.#looking = this.#looking.then(() => this.#look());
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    try {
      await this.enforce();
    } catch (error) {
      if (!this.#stopped) this.#logger.error({ err: error }, 'the size of the home cannot be kept');
    }
    clearTimeout(this.#timer);
    if (!this.#stopped) this.#timer = setTimeout(() => this.start(), DISK_LOOK_MS).unref();
  }

  /** Looks, and removes what may be removed until the home is small enough. @returns bytes that are left */
  async enforce(): Promise<number> {
    const { root, limit = Number.POSITIVE_INFINITY } = this.#options;
    let used = await sizeOf(root);
    const steps = [() => this.#shed(), () => this.#payloads.dropIdleParts()];
    for (const step of steps) {
      if (used <= limit) break;
      await step();
      used = await sizeOf(root);
    }
    if (used > limit) {
      const isCollectable = this.#collectable();
      for (const payload of [...this.#payloads.stored()]) {
        if (used <= limit) break;
        if (!isCollectable(payload)) continue;
        used -= await this.#payloads.collect(payload);
      }
      used = await sizeOf(root);
    }
    const full = used > limit;
    this.#payloads.setFull(full);
    this.#onProblem(full ? { code: 'DISK_LIMIT', message: tooMuch(used, limit) } : null);
    return used;
  }
}

function tooMuch(used: number, limit: number): string {
  return (
    `this home takes ${used} bytes of the ${limit} that it may, and nothing more can be given up: payloads are not ` +
    'fetched any more; raise diskLimit (daemon --disk-limit) or free some of the home'
  );
}

/** Bytes of all files below a directory; what goes meanwhile counts as gone. */
async function sizeOf(root: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(root, { withFileTypes: true }).catch(() => [])) {
    const path = join(root, entry.name);
    if (entry.isDirectory()) bytes += await sizeOf(path);
    else bytes += (await lstat(path).catch(() => undefined))?.size ?? 0;
  }
  return bytes;
}
