import { hash } from 'node:crypto';
import * as dagCbor from '@ipld/dag-cbor';
import { CID } from 'multiformats/cid';
import * as Digest from 'multiformats/hashes/digest';
import { LogError } from './errors.ts';

/** Multicodec code of sha2-256, the only hash in the log's ids. */
const SHA2_256 = 0x12;
/** CIDv1 (1), dag-cbor (0x71), sha2-256 (0x12), 32 bytes (0x20): the first bytes of every id in the log. */
const ID_PREFIX = [0x01, 0x71, 0x12, 0x20] as const;
/** Of these, the hash and its length belong to the multihash. */
const MULTIHASH_PREFIX_BYTES = 2;
/** Bytes of an id: its prefix and the digest. */
export const ID_BYTES = 36;
/** Bytes of a sha2-256 digest. */
export const DIGEST_BYTES = 32;
/** Characters of an id's text form: `b` and 36 bytes in base32. */
export const ID_TEXT_CHARS = 59;

/** What a document may at most be, checked before it is parsed. */
export interface DocumentLimits {
  /** Name of the document in error messages. */
  readonly what: string;
  /** Most bytes. */
  readonly maxBytes: number;
  /** Deepest nesting of arrays, maps and tags. */
  readonly maxDepth: number;
  /** Most CBOR items (map keys, values and containers each count one). */
  readonly maxItems: number;
  /**
   * Its bytes are read once and mean nothing by themselves: they need not be the only encoding of what they say, and are not
   * encoded again to see that. For answers of up to a mebibyte.
   */
  readonly transient?: boolean;
}

/** sha2-256 of the parts one after the other. */
export function sha256(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(hash('sha256', parts.length === 1 ? parts[0]! : Buffer.concat(parts), 'buffer'));
}

/** The id of canonical bytes: CIDv1, dag-cbor, sha2-256. */
export function idOf(bytes: Uint8Array): CID {
  return idFromDigest(sha256(bytes));
}

/**
 * True for CIDv1, dag-cbor, sha2-256 in its only 36-byte form. The class is told by its symbol, not by `instanceof`:
 * another copy of the library may have made it, while a decoded map can have no symbol.
 */
export function isLogId(value: unknown): value is CID {
  if (typeof value !== 'object' || value === null) return false;
  const cid = value as { readonly [Symbol.toStringTag]?: unknown; readonly bytes?: unknown };
  return cid[Symbol.toStringTag] === 'CID' && cid.bytes instanceof Uint8Array && isIdBytes(cid.bytes);
}

function isIdBytes(bytes: Uint8Array): boolean {
  return bytes.length === ID_BYTES && ID_PREFIX.every((byte, i) => bytes[i] === byte);
}

/**
 * Reads an id's text form (base32, lower case, as `CID.toString()` writes it).
 *
 * @throws LogError `BAD_CID`
 */
export function parseId(text: string): CID {
  if (text.length === ID_TEXT_CHARS && text.startsWith('b')) {
    let cid: CID | null;
    try {
      cid = CID.parse(text);
    } catch {
      cid = null;
    }
    // Base32 has spare bits at its end: only the text that the id itself writes is accepted.
    if (cid !== null && isLogId(cid)) {
      const fresh = CID.decode(cid.bytes);
      if (fresh.toString() === text) return fresh;
    }
  }
  throw new LogError('BAD_CID', `${JSON.stringify(text.slice(0, 80))} is not a content id (bafyrei…)`, {
    text: text.slice(0, 80),
  });
}

/** The id with the given sha2-256 digest. */
export function idFromDigest(digest: Uint8Array): CID {
  const bytes = new Uint8Array(ID_BYTES);
  bytes.set(ID_PREFIX);
  bytes.set(digest, ID_PREFIX.length);
  // Views of one buffer: `CID.createV1` keeps three copies, and a log has two ids for every record.
  const multihash = bytes.subarray(ID_PREFIX.length - MULTIHASH_PREFIX_BYTES);
  const link = new Digest.Digest(SHA2_256, DIGEST_BYTES, bytes.subarray(ID_PREFIX.length), multihash);
  return new CID(1, dagCbor.code, link, bytes);
}

/** The id with the given 36 bytes. @throws LogError `BAD_CID` */
export function idFromBytes(bytes: Uint8Array): CID {
  if (isIdBytes(bytes)) {
    return idFromDigest(bytes.subarray(ID_PREFIX.length));
  }
  throw new LogError('BAD_CID', 'these bytes are not a content id: CIDv1, dag-cbor, sha2-256', { bytes: bytes.length });
}

/**
 * A short text that is the same for equal ids, for maps and sets. Several times cheaper than `toString()`, which also
 * keeps a cache for every id object.
 */
export function idKey(id: CID): string {
  const { buffer, byteOffset, byteLength } = id.bytes;
  return Buffer.from(buffer, byteOffset, byteLength).toString('latin1');
}

const BASE32 = Buffer.from('abcdefghijklmnopqrstuvwxyz234567');

/**
 * What `id.toString()` says, for thousands of ids at once: that one builds a chain of sixty strings, 2 KB of them, and
 * keeps it beside the id.
 */
export function idText(id: CID): string {
  const text = Buffer.allocUnsafe(ID_TEXT_CHARS);
  text[0] = 0x62;
  let bits = 0;
  let held = 0;
  let at = 1;
  for (const byte of id.bytes) {
    held = ((held << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text[at++] = BASE32[(held >>> (bits - 5)) & 31]!;
  }
  if (bits > 0) text[at] = BASE32[(held << (5 - bits)) & 31]!;
  return text.toString('latin1');
}

/** Compares bytes as unsigned numbers from the first on; a proper prefix comes first. */
export function compareBytes(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    if (a[i] !== b[i]) return a[i]! - b[i]!;
  }
  return a.length - b.length;
}

/** Ids in the order that documents want: ascending by bytes. */
export function sortedIds(ids: Iterable<CID>): CID[] {
  return [...ids].sort((a, b) => compareBytes(a.bytes, b.bytes));
}

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

/**
 * Writes a value as dag-cbor: shortest integers, float64, map keys by length and then bytes, definite lengths.
 *
 * The value must be a plain tree of what a document's encoder builds; a number with an integral value within
 * ±(2^53 − 1) becomes a CBOR integer, every other finite number a float64.
 *
 * @throws LogError `TOO_LARGE`, `WRONG_TYPE`
 */
export function encodeCanonical(value: unknown, limits: DocumentLimits): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = new Uint8Array(dagCbor.encode(value));
  } catch (cause) {
    throw new LogError('WRONG_TYPE', `${limits.what} holds a value that has no canonical form`, {}, { cause });
  }
  checkSize(bytes, limits);
  return bytes;
}

/**
 * Reads one dag-cbor document: size, then nesting and item count without building anything, then the values, and at
 * last, unless the document is transient, that they re-encode to exactly these bytes.
 *
 * @throws LogError `TOO_LARGE`, `TOO_DEEP`, `TOO_MANY_ITEMS`, `MALFORMED_CBOR`, `NOT_CANONICAL`
 */
export function decodeCanonical(bytes: Uint8Array, limits: DocumentLimits): unknown {
  checkSize(bytes, limits);
  scan(bytes, limits);
  let value: unknown;
  let again: Uint8Array;
  try {
    value = dagCbor.decode(bytes);
    again = limits.transient === true ? bytes : dagCbor.encode(value);
  } catch (cause) {
    throw new LogError('NOT_CANONICAL', `${limits.what} is not strict dag-cbor`, {}, { cause });
  }
  if (!equalBytes(bytes, again)) {
    throw new LogError('NOT_CANONICAL', `${limits.what} does not re-encode to the same bytes`, {});
  }
  return value;
}

/**
 * Reads a document that this program once read or wrote as `decodeCanonical` does, and that is known to be that.
 *
 * @throws LogError `TOO_LARGE`, `NOT_CANONICAL`
 */
export function decodeTrusted(bytes: Uint8Array, limits: DocumentLimits): unknown {
  checkSize(bytes, limits);
  try {
    return dagCbor.decode(bytes);
  } catch (cause) {
    throw new LogError('NOT_CANONICAL', `${limits.what} is not strict dag-cbor`, {}, { cause });
  }
}

function checkSize(bytes: Uint8Array, limits: DocumentLimits): void {
  if (bytes.length > limits.maxBytes) {
    throw new LogError(
      'TOO_LARGE',
      `${limits.what} has ${bytes.length} bytes; at most ${limits.maxBytes} are allowed`,
      {
        bytes: bytes.length,
        maxBytes: limits.maxBytes,
      },
    );
  }
}

/** Walks over the item headers alone, so that a hostile document can neither exhaust the stack nor the heap. */
function scan(bytes: Uint8Array, limits: DocumentLimits): void {
  const malformed = (why: string, position: number): LogError =>
    new LogError('MALFORMED_CBOR', `${limits.what}: ${why} at byte ${position}`, { position });
  const open: number[] = []; // items still to come in each open container
  let position = 0;
  let items = 0;
  do {
    const start = position;
    if (position >= bytes.length) throw malformed('ends too early', position);
    if (++items > limits.maxItems) {
      throw new LogError('TOO_MANY_ITEMS', `${limits.what} has more than ${limits.maxItems} items`, {
        maxItems: limits.maxItems,
      });
    }
    const major = bytes[position]! >>> 5;
    const info = bytes[position]! & 31;
    position++;
    let argument = info;
    if (info >= 28) throw malformed('indefinite length or reserved header', start);
    if (info >= 24) {
      const width = 1 << (info - 24);
      if (bytes.length - position < width) throw malformed('ends inside a header', start);
      argument = 0;
      for (let i = 0; i < width; i++) argument = argument * 256 + bytes[position++]!;
    }
    if (open.length > 0) open[open.length - 1]! -= 1;
    let inside = 0;
    if (major === 2 || major === 3) {
      if (argument > bytes.length - position) throw malformed('a string runs past the end', start);
      position += argument;
    } else if (major === 4 || major === 5 || major === 6) {
      inside = major === 6 ? 1 : major === 5 ? argument * 2 : argument;
      if (inside > bytes.length - position) throw malformed('a container runs past the end', start);
    }
    if (inside > 0) {
      open.push(inside);
      if (open.length > limits.maxDepth) {
        throw new LogError('TOO_DEEP', `${limits.what} is nested deeper than ${limits.maxDepth}`, {
          maxDepth: limits.maxDepth,
        });
      }
    }
    while (open.length > 0 && open[open.length - 1] === 0) open.pop();
  } while (open.length > 0);
  if (position !== bytes.length) throw malformed('more bytes after the document', position);
}
