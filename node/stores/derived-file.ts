import { appendFile, mkdir, readFile, rm, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ignoreMissing } from '../files.ts';
import type { Logger } from '../logger.ts';
import { Turns } from '../turns.ts';

/** Bytes that are read before the clock is looked at: it costs more than a small entry. */
const TURN_BYTES = 4096;

export interface DerivedFileOptions {
  readonly path: string;
  /** First bytes of the file, with the version of the format. A file without them is deleted. */
  readonly magic: Buffer;
  /** What is logged when the file can be read or written no more. */
  readonly warning: string;
}

/**
 * Entries in a file that is only appended to. It is derived: it may be deleted at any time, is written without a flush,
 * and is cut at the first entry that does not hold.
 */
export class DerivedFile {
  readonly #options: DerivedFileOptions;
  readonly #logger: Logger;
  #tail: Promise<void> = Promise.resolve();
  #size = 0;
  #broken = false;

  constructor(options: DerivedFileOptions, components: { logger: Logger }) {
    this.#options = options;
    this.#logger = components.logger;
  }

  /**
   * Reads everything; call it once, before the first append. A file that cannot be read is left alone.
   *
   * @param take - is given the bytes from the start of an entry on; returns its length, undefined when it does not hold
   */
  async load(take: (rest: Buffer) => number | undefined): Promise<void> {
    try {
      await this.#read(take);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  /**
   * Appends, without a flush, after all that was appended before. Nothing is written any more after what cannot be.
   *
   * @param encode - called when it is written
   */
  append(encode: () => Buffer): Promise<void> {
    this.#tail = this.#tail.then(async () => {
      if (this.#broken) return;
      try {
        await this.#write(encode());
      } catch (error) {
        // What a failed write left cannot be told from here; the next start cuts it.
        this.#giveUp(error);
      }
    });
    return this.#tail;
  }

  async #read(take: (rest: Buffer) => number | undefined): Promise<void> {
    const { path, magic } = this.#options;
    const bytes = (await readFile(path).catch(ignoreMissing)) ?? Buffer.alloc(0);
    if (!bytes.subarray(0, magic.length).equals(magic)) {
      await rm(path, { force: true });
      return;
    }
    const turns = new Turns();
    let at = magic.length;
    let turnAt = at;
    while (at < bytes.length) {
      const length = take(bytes.subarray(at));
      if (length === undefined) break;
      at += length;
      if (at < turnAt) continue;
      await turns.next();
      turnAt = at + TURN_BYTES;
    }
    this.#size = at;
    if (at < bytes.length) await truncate(path, at);
  }

  async #write(entries: Buffer): Promise<void> {
    const { path, magic } = this.#options;
    if (this.#size === 0) await mkdir(dirname(path), { recursive: true });
    const bytes = this.#size === 0 ? Buffer.concat([magic, entries]) : entries;
    await appendFile(path, bytes);
    this.#size += bytes.length;
  }

  #giveUp(error: unknown): void {
    this.#broken = true;
    this.#logger.warn({ err: error }, this.#options.warning);
  }
}
