/**
 * Prefixes, nodes and choices as packed bytes: in CBOR lists they would take twice as many. Every list has one packed
 * form, and reading stops at its bound.
 *
 * - a prefix: its number of half bytes (one byte), then these, the last byte filled up with 0
 * - a leaf: its number of ids (one byte), then their tags in the order of the ids
 * - a branch: 0xff, then which of the 16 children there are (two bytes, child 0 lowest), then the tags of their digests
 * - a choice: a prefix, then which places of that leaf (four bytes, place 0 lowest, all big-endian)
 */
import { hash } from 'node:crypto';
import { type IdSubtree, type Ids, MAX_LEAF_IDS, treeKeyBytes } from '../../src/log/index.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_PREFIX, PLACES_BYTES, TAG_BYTES } from './constants.ts';

const BRANCH = 0xff;
const HEX = '0123456789abcdef';

/** Cuts the salted hash of some bytes to `TAG_BYTES`. */
export type Tagger = (bytes: Uint8Array) => number;

export function tagger(salt: Uint8Array): Tagger {
  return (bytes) => hash('sha256', Buffer.concat([salt, bytes]), 'buffer').readUInt32BE(0);
}

/** What one side tells of a subtree. */
export type NodeTags =
  | { readonly kind: 'leaf'; readonly tags: readonly number[] }
  /** Tags of the children's digests by half byte, undefined where there is nothing. */
  | { readonly kind: 'branch'; readonly tags: readonly (number | undefined)[] };

/** Which places of a leaf. */
export interface Choice {
  readonly prefix: string;
  readonly places: readonly number[];
}

/** The 16 prefixes that are one half byte longer. */
export function longer(prefix: string): string[] {
  return Array.from(HEX, (digit) => prefix + digit);
}

export function packPrefixes(prefixes: readonly string[]): Uint8Array {
  return Buffer.concat(prefixes.map(packPrefix));
}

/** @throws ProtocolError `MALFORMED` */
export function unpackPrefixes(bytes: Uint8Array, max: number): string[] {
  const reader = new Reader(bytes);
  return reader.list(max, () => reader.prefix());
}

export function packChoices(choices: readonly Choice[]): Uint8Array {
  return Buffer.concat(
    choices.flatMap(({ prefix, places }) => {
      const set = Buffer.alloc(PLACES_BYTES);
      let bits = 0;
      for (const place of places) bits |= 1 << place;
      set.writeUInt32BE(bits >>> 0);
      return [packPrefix(prefix), set];
    }),
  );
}

/** @throws ProtocolError `MALFORMED` */
export function unpackChoices(bytes: Uint8Array, max: number): Choice[] {
  const reader = new Reader(bytes);
  return reader.list(max, () => ({ prefix: reader.prefix(), places: bitsOf(reader.number(PLACES_BYTES)) }));
}

/** What to tell of the subtree under a prefix. */
export function packNode(ids: Ids, prefix: string, tag: Tagger): Uint8Array {
  const subtree = ids.at(prefix);
  if (subtree.isLeaf) return Buffer.concat([Uint8Array.of(subtree.size), packTags(leafTags(subtree, tag))]);
  const children = longer(prefix).map((child) => ids.at(child));
  let present = 0;
  for (const [place, { size }] of children.entries()) if (size > 0) present |= 1 << place;
  const tags = children.filter(({ size }) => size > 0).map(({ digest }) => tag(digest));
  return Buffer.concat([Uint8Array.of(BRANCH, present >> 8, present & 255), packTags(tags)]);
}

/** Tags of the ids of a subtree, in their order. */
export function leafTags(subtree: IdSubtree, tag: Tagger): number[] {
  return Array.from(subtree.keys(), (key) => tag(treeKeyBytes(key)));
}

/** @throws ProtocolError `MALFORMED`, naming the peer, unless there are exactly `count` nodes */
export function unpackNodes(bytes: Uint8Array, count: number, peer: string): NodeTags[] {
  const reader = new Reader(bytes, { peer });
  const nodes = reader.list(count, () => reader.node());
  if (nodes.length !== count) throw malformed(`${nodes.length} nodes instead of ${count}`, { peer });
  return nodes;
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #fields: { readonly peer?: string };
  #place = 0;

  constructor(bytes: Uint8Array, fields: { readonly peer?: string } = {}) {
    this.#bytes = bytes;
    this.#fields = fields;
  }

  list<T>(max: number, read: () => T): T[] {
    const items: T[] = [];
    while (this.#place < this.#bytes.length) {
      if (items.length >= max) throw malformed(`more than ${max} items`, this.#fields);
      items.push(read());
    }
    return items;
  }

  /** Unsigned, big-endian. */
  number(size: number): number {
    const end = this.#place + size;
    if (end > this.#bytes.length) throw malformed('ends too early', this.#fields);
    let value = 0;
    for (; this.#place < end; this.#place++) value = value * 256 + this.#bytes[this.#place]!;
    return value;
  }

  prefix(): string {
    const length = this.number(1);
    if (length > MAX_PREFIX) throw malformed(`a prefix of ${length} half bytes`, this.#fields);
    let prefix = '';
    for (let i = 0; i < length; i += 2) prefix += this.number(1).toString(16).padStart(2, '0');
    if (length % 2 === 1 && !prefix.endsWith('0'))
      throw malformed('a prefix that is not filled up with 0', this.#fields);
    return prefix.slice(0, length);
  }

  node(): NodeTags {
    const first = this.number(1);
    if (first !== BRANCH) {
      if (first > MAX_LEAF_IDS) throw malformed(`a leaf of ${first} ids`, this.#fields);
      return { kind: 'leaf', tags: Array.from({ length: first }, () => this.number(TAG_BYTES)) };
    }
    const present = this.number(2);
    if (present === 0) throw malformed('a branch without children', this.#fields);
    const tags = Array.from(HEX, (_, place) => ((present >> place) & 1 ? this.number(TAG_BYTES) : undefined));
    return { kind: 'branch', tags };
  }
}

function packPrefix(prefix: string): Uint8Array {
  return Uint8Array.of(prefix.length, ...Buffer.from(prefix.length % 2 === 0 ? prefix : `${prefix}0`, 'hex'));
}

function packTags(tags: readonly number[]): Uint8Array {
  const bytes = Buffer.alloc(tags.length * TAG_BYTES);
  for (const [place, tag] of tags.entries()) bytes.writeUInt32BE(tag, place * TAG_BYTES);
  return bytes;
}

function bitsOf(bits: number): number[] {
  const places: number[] = [];
  for (let place = 0; place < MAX_LEAF_IDS; place++) if ((bits >>> place) & 1) places.push(place);
  return places;
}

function malformed(why: string, fields: { readonly peer?: string }): ProtocolError {
  return new ProtocolError('MALFORMED', `Packed sync data is not acceptable: ${why}.`, fields);
}
