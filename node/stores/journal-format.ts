import { crc32 } from 'node:zlib';
import { DIGEST_BYTES } from '../../src/log/index.ts';

/** First bytes of a segment, with the version of the format. */
export const SEGMENT_MAGIC = Buffer.from('kinmerge/journal/1\n');
/** First bytes of every entry: where reading goes on after damage. */
const ENTRY_MAGIC = Buffer.from('\xabKMJ', 'latin1');
/** Bytes of an entry before its body. */
export const ENTRY_HEADER_BYTES = 52;
/** Largest body of an entry, in bytes: above the largest document of a log, a manifest of 256 GiB. */
export const MAX_ENTRY_BYTES = 16 * 2 ** 20;

/** What an entry is. Numbers are never used again for something else. */
export const KIND = {
  /** A signed record. */
  record: 1,
  /** The manifest of a payload. */
  manifest: 2,
  /** All bytes of a payload are in its file: its size (u64). */
  stored: 3,
  /** The bytes of a payload were stored and have been given up: its size (u64). */
  collected: 4,
  /** A signed seal. */
  seal: 5,
  /** A recipe. */
  recipe: 6,
  /** Bytes that could not be read, kept aside: the kind that they had (u8, 0 for unknown) and what was left of them. */
  damaged: 7,
  /** The entry of this digest, and of the kind in the body (u8), counts no more. */
  removed: 8,
  /** Everything before was flushed: its own offset (u64), then kind and digest of each entry since the last mark. */
  mark: 9,
} as const;

export type JournalKind = (typeof KIND)[keyof typeof KIND];

/** Bytes of one name in a mark: kind and digest. */
export const NAME_BYTES = 1 + DIGEST_BYTES;
/** The digest of entries that have no id of their own. */
export const NO_DIGEST = new Uint8Array(DIGEST_BYTES);

export interface JournalEntry {
  readonly kind: JournalKind;
  /** 32 bytes: the digest of the id that the entry is found by. */
  readonly digest: Uint8Array;
  readonly body: Uint8Array;
}

export interface EntryHeader {
  readonly kind: number;
  readonly digest: Uint8Array;
  readonly length: number;
  readonly bodyCrc: number;
}

/**
 * One entry as it lies on disk: magic (4), kind (u8), zeros (3), length of the body (u32), digest (32), CRC-32 of the body
 * (u32), CRC-32 of all before (u32), body. Little-endian. The header has a sum of its own: where only the body is damaged,
 * what was lost has a name, and the next entry its place.
 *
 * @throws RangeError for a body above `MAX_ENTRY_BYTES`
 */
export function encodeEntry({ kind, digest, body }: JournalEntry): Buffer {
  if (body.length > MAX_ENTRY_BYTES) throw new RangeError(`a journal entry of ${body.length} bytes`);
  const entry = Buffer.alloc(ENTRY_HEADER_BYTES + body.length);
  entry.set(ENTRY_MAGIC, 0);
  entry[4] = kind;
  entry.writeUInt32LE(body.length, 8);
  entry.set(digest, 12);
  entry.writeUInt32LE(crc32(body), 44);
  entry.writeUInt32LE(crc32(entry.subarray(0, 48)), 48);
  entry.set(body, ENTRY_HEADER_BYTES);
  return entry;
}

/** The header at a place, or undefined where none checks. The digest is a view of `bytes`. */
export function readHeader(bytes: Buffer, at: number): EntryHeader | undefined {
  if (at + ENTRY_HEADER_BYTES > bytes.length) return undefined;
  if (bytes.readUInt32LE(at) !== ENTRY_MAGIC.readUInt32LE(0)) return undefined;
  if (bytes.readUInt32LE(at + 48) !== crc32(bytes.subarray(at, at + 48))) return undefined;
  const length = bytes.readUInt32LE(at + 8);
  if (length > MAX_ENTRY_BYTES) return undefined;
  return {
    kind: bytes[at + 4]!,
    length,
    digest: bytes.subarray(at + 12, at + 44),
    bodyCrc: bytes.readUInt32LE(at + 44),
  };
}

export function bodyHolds({ bodyCrc }: EntryHeader, body: Uint8Array): boolean {
  return crc32(body) === bodyCrc;
}

/** The first place from `from` on where an entry may begin; -1 without one. */
export function findMagic(bytes: Buffer, from: number): number {
  return bytes.indexOf(ENTRY_MAGIC, from);
}

/** A size as the body of a fact. */
export function encodeSize(size: number): Uint8Array {
  const body = Buffer.alloc(8);
  body.writeBigUInt64LE(BigInt(size));
  return body;
}

/** @returns undefined for what is no size */
export function decodeSize(body: Uint8Array): number | undefined {
  if (body.length !== 8) return undefined;
  const size = Number(Buffer.from(body.buffer, body.byteOffset, 8).readBigUInt64LE());
  return Number.isSafeInteger(size) ? size : undefined;
}

/** The entry that says where everything was flushed, and what that was. */
export function markEntry(offset: number, names: readonly string[]): JournalEntry {
  const body = Buffer.alloc(8 + names.length * NAME_BYTES);
  body.writeBigUInt64LE(BigInt(offset));
  names.forEach((name, place) => {
    body.write(name, 8 + place * NAME_BYTES, NAME_BYTES, 'latin1');
  });
  return { kind: KIND.mark, digest: NO_DIGEST, body };
}

/** The names in a mark. */
export function namesOfMark(body: Uint8Array): string[] {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  const names: string[] = [];
  for (let at = 8; at + NAME_BYTES <= bytes.length; at += NAME_BYTES) {
    names.push(bytes.toString('latin1', at, at + NAME_BYTES));
  }
  return names;
}

/** What an entry is found by, in maps: its kind and digest. */
export function entryName(kind: number, digest: Uint8Array): string {
  const text = Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString('latin1');
  return String.fromCharCode(kind) + text;
}

export function kindOfName(name: string): JournalKind {
  return name.charCodeAt(0) as JournalKind;
}

export function digestOfName(name: string): Uint8Array {
  return new Uint8Array(Buffer.from(name.slice(1), 'latin1'));
}
