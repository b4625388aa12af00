import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import type { Logger } from '../logger.ts';
import type { Problem } from './community.ts';
import type { RecordBook } from './record-book.ts';

/** How often the size of a home is looked at, in milliseconds. */
export const DISK_LOOK_MS = 60_000;

/** Whether the bytes of a payload may be given up; its record stays held in any case. */
export type Collectable =
  | 'never'
  /** Its update is declined by a seal. */
  | 'declined and sealed'
  /** Its update is accepted by a seal and in a state of the fold: what the operator gives up with `archive: false`. */
  | 'accepted, sealed and folded';

export interface DiskCapOptions {
  /** Of everything below it. */
  readonly root: string;
  /** Bytes; no cap when undefined. */
  readonly limit: number | undefined;
  /** Keep the payloads of accepted updates; default true. */
  readonly archive?: boolean | undefined;
}

/**
 * Keeps a home below a number of bytes, as far as the design allows: what is only convenient goes first, then what was
 * fetched for nobody, then payloads that may be given up. What was acknowledged stays; when that is too much, the node says so
 * and fetches no more payloads.
 */
export class DiskCap {
  readonly #options: DiskCapOptions;
  readonly #book: RecordBook;
  readonly #shed: () => Promise<void>;
  readonly #collectable: (payload: CID) => Collectable;
  readonly #onProblem: (problem: Problem | null) => void;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;

  /** @param components - `shed` removes old checkpoints and states of the fold that are only convenient */
  constructor(
    options: DiskCapOptions,
    components: {
      book: RecordBook;
      shed: () => Promise<void>;
      collectable: (payload: CID) => Collectable;
      onProblem: (problem: Problem | null) => void;
      logger: Logger;
    },
  ) {
    this.#options = options;
    this.#book = components.book;
    this.#shed = components.shed;
    this.#collectable = components.collectable;
    this.#onProblem = components.onProblem;
    this.#logger = components.logger;
  }

  start(): void {
    if (this.#options.limit === undefined || this.#stopped) return;
    this.#looking = this.#look();
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
    if (!this.#stopped) this.#timer = setTimeout(() => this.start(), DISK_LOOK_MS).unref();
  }

  /** Looks, and removes what may be removed until the home is small enough. @returns bytes that are left */
  async enforce(): Promise<number> {
    const { root, limit = Number.POSITIVE_INFINITY, archive = true } = this.#options;
    let used = await sizeOf(root);
    const steps = [() => this.#shed(), () => this.#book.dropIdleParts()];
    for (const step of steps) {
      if (used <= limit) break;
      await step();
      used = await sizeOf(root);
    }
    if (used > limit) {
      for (const payload of [...this.#book.stored()]) {
        if (used <= limit) break;
        if (!isGivenUp(this.#collectable(payload), archive)) continue;
        used -= await this.#book.collect(payload);
      }
      used = await sizeOf(root);
    }
    const full = used > limit;
    this.#book.setFull(full);
    this.#onProblem(full ? { code: 'DISK_LIMIT', message: tooMuch(used, limit) } : null);
    return used;
  }
}

function isGivenUp(collectable: Collectable, archive: boolean): boolean {
  return collectable === 'declined and sealed' || (collectable === 'accepted, sealed and folded' && !archive);
}

function tooMuch(used: number, limit: number): string {
  return (
    `this home takes ${used} bytes of the ${limit} that it may, and nothing more can be given up: payloads are not ` +
    'fetched any more; raise diskLimit (daemon --disk-limit), or give up old payloads with "archive": false'
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
