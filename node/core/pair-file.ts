import { appendFile, mkdir, readFile, rm, truncate } from 'node:fs/promises';
import { dirname } from 'node:path';
import { crc32 } from 'node:zlib';
import { CID } from 'multiformats/cid';
import { create as digestOf } from 'multiformats/hashes/digest';
import { sha256 } from 'multiformats/hashes/sha2';
import { idOf } from '../../src/log/index.ts';
import { ignoreMissing } from '../files.ts';
import type { Logger } from '../logger.ts';
import { Turns } from '../turns.ts';
import type { PairEntry } from './pair-table.ts';

/** First bytes of the file, with the version of the format and of what is measured. */
const MAGIC = Buffer.from('kinmerge/pairs/1\n');
/** Every entry has this many bytes: a kind, 35 bytes by kind, CRC-32 of both. Numbers are little-endian. */
const ENTRY_BYTES = 40;
const BODY_BYTES = ENTRY_BYTES - 4;
/** A payload: the 32 bytes of its digest. The payloads are numbered in the order of their entries. */
const NAME = 1;
/** Two payloads by number (2 × u32), their cosine (f64, NaN for none), their product (low 64 bits, then an i8). */
const PAIR = 2;
const DIGEST_BYTES = 32;
const CODE = idOf(new Uint8Array()).code;

/**
 * What was measured of pairs of payloads, kept over restarts in a file that is only appended to. It is derived: it may
 * be deleted at any time, is written without a flush, and is cut at the first entry that does not hold.
 */
export class PairFile {
  readonly #path: string;
  readonly #logger: Logger;
  readonly #numbers = new Map<string, number>();
  #tail: Promise<void> = Promise.resolve();
  #size = 0;
  #broken = false;

  constructor(options: { path: string }, components: { logger: Logger }) {
    this.#path = options.path;
    this.#logger = components.logger;
  }

  /** Reads everything; call it once, before the first append. A file that cannot be read is left alone. */
  async load(take: (entry: PairEntry) => void): Promise<void> {
    try {
      await this.#read(take);
    } catch (error) {
      this.#giveUp(error);
    }
  }

  async #read(take: (entry: PairEntry) => void): Promise<void> {
    const bytes = (await readFile(this.#path).catch(ignoreMissing)) ?? Buffer.alloc(0);
    if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) {
      await rm(this.#path, { force: true });
      return;
    }
    const payloads: CID[] = [];
    const turns = new Turns();
    let at = MAGIC.length;
    for (; at + ENTRY_BYTES <= bytes.length; at += ENTRY_BYTES) {
      const entry = bytes.subarray(at, at + ENTRY_BYTES);
      if (entry.readUInt32LE(BODY_BYTES) !== crc32(entry.subarray(0, BODY_BYTES))) break;
      if (entry[0] === NAME) {
        const payload = CID.createV1(CODE, digestOf(sha256.code, new Uint8Array(entry.subarray(1, 1 + DIGEST_BYTES))));
        this.#numbers.set(payload.toString(), payloads.length);
        payloads.push(payload);
      } else {
        const a = payloads[entry.readUInt32LE(1)];
        const b = payloads[entry.readUInt32LE(5)];
        if (entry[0] !== PAIR || a === undefined || b === undefined) break;
        const cosine = entry.readDoubleLE(9);
        const fixed = (BigInt(entry.readInt8(25)) << 64n) | entry.readBigUInt64LE(17);
        take({ a, b, pair: { cosine: Number.isNaN(cosine) ? null : cosine, fixed } });
      }
      if (at % 4096 < ENTRY_BYTES) await turns.next();
    }
    this.#size = at;
    if (at < bytes.length) await truncate(this.#path, at);
  }

  /** Appends, without a flush. What cannot be written is measured again after the next start. */
  append(entries: readonly PairEntry[]): Promise<void> {
    this.#tail = this.#tail.then(async () => {
      if (this.#broken) return;
      try {
        await this.#write(entries);
      } catch (error) {
        // What a failed write left cannot be told from here; the next start cuts it.
        this.#giveUp(error);
      }
    });
    return this.#tail;
  }

  #giveUp(error: unknown): void {
    this.#broken = true;
    this.#logger.warn({ err: error }, 'comparisons are not kept: they will be made again after a restart');
  }

  async #write(entries: readonly PairEntry[]): Promise<void> {
    const chunks: Buffer[] = [];
    if (this.#size === 0) {
      await mkdir(dirname(this.#path), { recursive: true });
      chunks.push(MAGIC);
    }
    for (const { a, b, pair } of entries) {
      const numbers = [a, b].map((payload) => this.#number(payload, chunks));
      const entry = Buffer.alloc(ENTRY_BYTES);
      entry[0] = PAIR;
      entry.writeUInt32LE(numbers[0]!, 1);
      entry.writeUInt32LE(numbers[1]!, 5);
      entry.writeDoubleLE(pair.cosine ?? Number.NaN, 9);
      entry.writeBigUInt64LE(BigInt.asUintN(64, pair.fixed), 17);
      entry.writeInt8(Number(pair.fixed >> 64n), 25);
      chunks.push(sealed(entry));
    }
    const bytes = Buffer.concat(chunks);
    await appendFile(this.#path, bytes);
    this.#size += bytes.length;
  }

  #number(payload: CID, chunks: Buffer[]): number {
    const key = payload.toString();
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    const number = this.#numbers.size;
    this.#numbers.set(key, number);
    const entry = Buffer.alloc(ENTRY_BYTES);
    entry[0] = NAME;
    entry.set(payload.multihash.digest, 1);
    chunks.push(sealed(entry));
    return number;
  }
}

function sealed(entry: Buffer): Buffer {
  entry.writeUInt32LE(crc32(entry.subarray(0, BODY_BYTES)), BODY_BYTES);
  return entry;
}
