import type { CID } from 'multiformats/cid';
import { DIGEST_BYTES, ID_BYTES, idFromBytes, idKey, sha256 } from './canonical.ts';

/**
 * Most ids of a leaf. More branch by their next half byte; so which subtrees are leaves follows from the set alone.
 * 32: a list of them, at a few bytes each, is about as long as the digests of 16 children.
 */
export const MAX_LEAF_IDS = 32;
/** Children of a branch: one for each half byte. */
const FAN_OUT = 16;
const LEAF = Uint8Array.of(0);
const BRANCH = Uint8Array.of(1);
/** What every id begins with, in an id's key: an id in the tree is known by the digest after it. */
const PREFIX_BYTES = ID_BYTES - DIGEST_BYTES;

interface Leaf {
  /** Ascending. */
  readonly keys: readonly string[];
  readonly size: number;
  digest: Uint8Array | undefined;
}

interface Branch {
  /** 16, undefined where there is nothing. */
  readonly children: readonly (Node | undefined)[];
  readonly size: number;
  digest: Uint8Array | undefined;
}

type Node = Leaf | Branch;

/** The ids whose digests begin with certain half bytes. */
export interface IdSubtree {
  /** Number of ids. */
  readonly size: number;
  /** At most `MAX_LEAF_IDS` ids. */
  readonly isLeaf: boolean;
  /** 32 bytes that two subtrees share exactly when they hold the same ids. */
  readonly digest: Uint8Array;
  /** Keys (`treeKey`) of the ids, ascending. */
  keys(): Iterable<string>;
}

/** An id in a tree: its sha2-256 digest, one character a byte. Order by code units is order by bytes. */
export function treeKey(id: CID): string {
  return idKey(id).slice(PREFIX_BYTES);
}

/** 32 bytes. */
export function treeKeyBytes(key: string): Uint8Array {
  return new Uint8Array(Buffer.from(key, 'latin1'));
}

export function treeKeyOf(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString('latin1');
}

/** The id with this key. */
export function treeId(key: string): CID {
  return idFromBytes(Uint8Array.of(0x01, 0x71, 0x12, 0x20, ...treeKeyBytes(key)));
}

/**
 * A set of ids as a Merkle radix tree of fan-out 16 over their digests, so that two nodes find how their sets differ
 * by comparing a few subtrees. Shape and digests depend on the set alone, never on the order of adding and deleting.
 *
 * Nodes are immutable: a snapshot costs nothing and stays as it is. Digests are computed when they are asked for.
 */
export class IdTree {
  #root: Node;

  constructor(ids: Iterable<CID> = []) {
    this.#root = EMPTY;
    for (const id of ids) this.add(id);
  }

  get size(): number {
    return this.#root.size;
  }

  has(id: CID): boolean {
    return this.hasKey(treeKey(id));
  }

  /** @param key - as `treeKey` gives it */
  hasKey(key: string): boolean {
    let node: Node | undefined = this.#root;
    for (let depth = 0; node !== undefined && 'children' in node; depth++) node = node.children[nibble(key, depth)];
    return node?.keys.includes(key) ?? false;
  }

  /** False when it was there. */
  add(id: CID): boolean {
    const key = treeKey(id);
    if (this.hasKey(key)) return false;
    this.#root = added(this.#root, key, 0);
    return true;
  }

  /** False when it was not there. */
  delete(id: CID): boolean {
    const key = treeKey(id);
    if (!this.hasKey(key)) return false;
    this.#root = removed(this.#root, key, 0) ?? EMPTY;
    return true;
  }

  /** This set as it is now, unchanged by what comes. */
  snapshot(): IdTree {
    const copy = new IdTree();
    copy.#root = this.#root;
    return copy;
  }

  /**
   * The subtree of the ids whose digests begin with a prefix.
   *
   * @param prefix - half bytes as lower-case hex digits, at most 64; the whole set when empty
   */
  at(prefix = ''): IdSubtree {
    let node = this.#root;
    for (let depth = 0; depth < prefix.length; depth++) {
      if ('children' in node) node = node.children[Number.parseInt(prefix[depth]!, 16)] ?? EMPTY;
      else return view(leaf(node.keys.filter((key) => startsWith(key, prefix))));
    }
    return view(node);
  }
}

/** A tree that only its owner changes. */
export type Ids = Omit<IdTree, 'add' | 'delete'>;

const EMPTY: Leaf = leaf([]);

function leaf(keys: readonly string[]): Leaf {
  return { keys, size: keys.length, digest: undefined };
}

function branch(children: readonly (Node | undefined)[], size: number): Branch {
  return { children, size, digest: undefined };
}

function view(node: Node): IdSubtree {
  return {
    size: node.size,
    isLeaf: !('children' in node),
    get digest() {
      return digestOf(node);
    },
    keys: () => keysOf(node),
  };
}

/** The half byte at a depth. */
function nibble(key: string, depth: number): number {
  const byte = key.charCodeAt(depth >> 1);
  return depth % 2 === 0 ? byte >> 4 : byte & 15;
}

function startsWith(key: string, prefix: string): boolean {
  for (let depth = 0; depth < prefix.length; depth++) {
    if (nibble(key, depth) !== Number.parseInt(prefix[depth]!, 16)) return false;
  }
  return true;
}

function added(node: Node | undefined, key: string, depth: number): Node {
  if (node === undefined) return leaf([key]);
  if ('children' in node) {
    const place = nibble(key, depth);
    return branch(node.children.with(place, added(node.children[place], key, depth + 1)), node.size + 1);
  }
  const keys = [...node.keys, key].sort();
  return keys.length <= MAX_LEAF_IDS ? leaf(keys) : split(keys, depth);
}

function split(keys: readonly string[], depth: number): Node {
  if (keys.length <= MAX_LEAF_IDS) return leaf(keys);
  const parts = Array.from({ length: FAN_OUT }, (): string[] => []);
  for (const key of keys) parts[nibble(key, depth)]!.push(key);
  const children = parts.map((part) => (part.length === 0 ? undefined : split(part, depth + 1)));
  return branch(children, keys.length);
}

function removed(node: Node, key: string, depth: number): Node | undefined {
  if (node.size === 1) return undefined;
  if (!('children' in node)) return leaf(node.keys.filter((other) => other !== key));
  const place = nibble(key, depth);
  const rest = branch(node.children.with(place, removed(node.children[place]!, key, depth + 1)), node.size - 1);
  return rest.size <= MAX_LEAF_IDS ? leaf([...keysOf(rest)]) : rest;
}

function* keysOf(node: Node): Generator<string> {
  if (!('children' in node)) yield* node.keys;
  else for (const child of node.children) if (child !== undefined) yield* keysOf(child);
}

/** Of a leaf its ids, of a branch which children there are and their digests. */
function digestOf(node: Node): Uint8Array {
  if (node.digest === undefined) {
    if ('children' in node) {
      const parts: Uint8Array[] = [];
      let present = 0;
      for (const [place, child] of node.children.entries()) {
        if (child === undefined) continue;
        present |= 1 << place;
        parts.push(digestOf(child));
      }
      node.digest = sha256(BRANCH, Uint8Array.of(present >> 8, present & 255), ...parts);
    } else {
      node.digest = sha256(LEAF, treeKeyBytes(node.keys.join('')));
    }
  }
  return node.digest;
}
