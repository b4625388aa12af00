import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CID } from 'multiformats/cid';
import { compareBytes } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { isBlock } from '../stores/blob-store.ts';
import type { PayloadBook } from './payload-book.ts';

/** Bytes read and hashed a second: a hundredth of what a disk gives, and of a core. Eight MiB; a TiB takes a day and a half. */
export const SCRUB_BYTES_PER_SECOND = 8 * 2 ** 20;
/** What a payload counts at least, in bytes: opening a file costs about as much as reading so much. */
export const SCRUB_MIN_BYTES = 64 * 2 ** 10;
/** Wait before the first pass, in milliseconds: a start has other things to do. */
export const SCRUB_START_MS = 60_000;
/** Wait between two passes, in milliseconds: a day. */
export const SCRUB_INTERVAL_MS = 86_400_000;
/** Payloads between two notes of how far it came. */
export const SCRUB_NOTE_EVERY = 64;

/**
 * Reads all stored payloads in the background, slowly, block by block, and compares them with their hashes. One that is
 * damaged is fetched again. It goes on after a restart where it was.
 */
export class Scrubber {
  readonly #notePath: string;
  readonly #rate: number;
  readonly #payloads: PayloadBook;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #running: Promise<void> | undefined;

  /** @param options - `note`: the file that says how far it came; `bytesPerSecond`: default `SCRUB_BYTES_PER_SECOND` */
  constructor(
    options: { note: string; bytesPerSecond?: number },
    components: { payloads: PayloadBook; logger: Logger },
  ) {
    this.#notePath = options.note;
    this.#rate = options.bytesPerSecond ?? SCRUB_BYTES_PER_SECOND;
    this.#payloads = components.payloads;
    this.#logger = components.logger;
  }

  start(): void {
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#stopping.signal.aborted) this.#logger.error({ err: error }, 'payloads are not checked any more');
    });
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Checks what is stored, from where the last pass ended. @returns payloads that turned out damaged */
  async pass(): Promise<CID[]> {
    const from = await readFile(this.#notePath, 'utf8').catch(() => '');
    const stored = [...this.#payloads.stored()].sort((a, b) => compareBytes(a.bytes, b.bytes));
    const damaged: CID[] = [];
    let since = 0;
    for (const payload of stored) {
      if (Buffer.from(payload.bytes).toString('hex') <= from) continue;
      if (!(await this.#check(payload))) {
        damaged.push(payload);
        await this.#payloads.lose(payload);
      }
      if (++since % SCRUB_NOTE_EVERY === 0) await this.#note(Buffer.from(payload.bytes).toString('hex'));
    }
    await this.#note('');
    return damaged;
  }

  async #run(): Promise<void> {
    for (let wait = SCRUB_START_MS; ; wait = SCRUB_INTERVAL_MS) {
      await sleep(wait, undefined, { signal: this.#stopping.signal, ref: false });
      await this.pass();
    }
  }

  async #check(payload: CID): Promise<boolean> {
    const manifest = await this.#payloads.manifest(payload);
    // A start makes it anew; without it nothing can be compared.
    if (manifest === undefined) return true;
    await this.#pause(SCRUB_MIN_BYTES);
    for (let index = 0; index < manifest.blocks.length; index++) {
      const bytes = await this.#payloads.blobs.readBlock(payload, manifest, index);
      // Given up or removed meanwhile.
      if (bytes === undefined && !this.#payloads.isStored(payload)) return true;
      if (bytes === undefined || !isBlock(manifest, index, bytes)) return false;
      await this.#pause(bytes.length);
    }
    return true;
  }

  async #pause(bytes: number): Promise<void> {
    await sleep((1000 * bytes) / this.#rate, undefined, { signal: this.#stopping.signal, ref: false });
  }

  async #note(text: string): Promise<void> {
    try {
      await mkdir(dirname(this.#notePath), { recursive: true });
      await writeFile(this.#notePath, text);
    } catch (error) {
      this.#logger.debug({ err: error }, 'how far payloads are checked is not noted');
    }
  }
}
