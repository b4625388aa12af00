import { crc32 } from 'node:zlib';
import { CID } from 'multiformats/cid';
import { create as digestOf } from 'multiformats/hashes/digest';
import { sha256 } from 'multiformats/hashes/sha2';
import { idOf } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { DerivedFile } from '../stores/derived-file.ts';
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

/** What was measured of pairs of payloads, kept over restarts. */
export class PairFile {
  readonly #file: DerivedFile;
  readonly #numbers = new Map<string, number>();

  constructor({ path }: { path: string }, components: { logger: Logger }) {
    const warning = 'comparisons are not kept: they will be made again after a restart';
    this.#file = new DerivedFile({ path, magic: MAGIC, warning }, components);
  }

  /** Reads everything; call it once, before the first append. */
  load(take: (entry: PairEntry) => void): Promise<void> {
    const payloads: CID[] = [];
    return this.#file.load((bytes) => {
      if (bytes.length < ENTRY_BYTES || bytes.readUInt32LE(BODY_BYTES) !== crc32(bytes.subarray(0, BODY_BYTES))) {
        return undefined;
      }
      if (bytes[0] === NAME) {
        const payload = CID.createV1(CODE, digestOf(sha256.code, new Uint8Array(bytes.subarray(1, 1 + DIGEST_BYTES))));
        this.#numbers.set(payload.toString(), payloads.length);
        payloads.push(payload);
        return ENTRY_BYTES;
      }
      const a = payloads[bytes.readUInt32LE(1)];
      const b = payloads[bytes.readUInt32LE(5)];
      if (bytes[0] !== PAIR || a === undefined || b === undefined) return undefined;
      const cosine = bytes.readDoubleLE(9);
      const fixed = (BigInt(bytes.readInt8(25)) << 64n) | bytes.readBigUInt64LE(17);
      take({ a, b, pair: { cosine: Number.isNaN(cosine) ? null : cosine, fixed } });
      return ENTRY_BYTES;
    });
  }

  /** Appends, without a flush. What cannot be written is measured again after the next start. */
  append(entries: readonly PairEntry[]): Promise<void> {
    return this.#file.append(() => this.#encode(entries));
  }

  #encode(entries: readonly PairEntry[]): Buffer {
    const chunks: Buffer[] = [];
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
    return Buffer.concat(chunks);
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
