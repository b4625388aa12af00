import type { CID } from 'multiformats/cid';
import { type RateLimit, RateLimiter, type Verdict } from '../../protocols/index.ts';
import type { Head, SealedHead, SignedHead, SigningKey } from '../../src/log/index.ts';
import {
  decodeSignedHead,
  encodeSignedHead,
  frontierOf,
  keyToText,
  LogError,
  sha256,
  signHead,
  treeKeyOf,
} from '../../src/log/index.ts';
import type { View } from '../core/view.ts';

/** Peers' heads kept at most; the oldest of the peer that brought the most makes room. */
export const MAX_HEADS = 256;
/** Nodes whose head made room and whose counter is still known, so that an old head is no news. */
export const MAX_FORGOTTEN_HEADS = 4_096;
/** Heads that one peer may pass on: those of a full table, and then as many as that many nodes can have news. */
export const HEADS_PER_SOURCE: RateLimit = { perSecond: 32, burst: 512 };
/** Nodes never heard of whose heads one peer may bring: a mesh's share of a large community, then a trickle. */
export const NEW_NODES_PER_SOURCE: RateLimit = { perSecond: 0.2, burst: 64 };
/** Heads of one node: it makes two a second at most, and they may arrive close together. */
export const HEADS_PER_NODE: RateLimit = { perSecond: 2, burst: 8 };

/** The own head and the newest ones of the peers. */
export class Heads {
  readonly #charterId: CID;
  readonly #key: SigningKey;
  readonly #heads = new Map<
    string,
    { readonly signed: SignedHead; readonly source: string; readonly digest: string }
  >();
  /** sha2-256 of the heads as they travel. */
  readonly #digests = new Set<string>();
  /** Counters of nodes whose head made room. */
  readonly #forgotten = new Map<string, number>();
  readonly #perSource: RateLimiter;
  readonly #newPerSource: RateLimiter;
  readonly #perNode: RateLimiter;
  #own: { readonly head: Head; readonly bytes: Uint8Array } | null = null;
  #counter = 0;

  constructor(options: { charterId: CID }, components: { key: SigningKey; now?: () => number }) {
    this.#charterId = options.charterId;
    this.#key = components.key;
    const clock = components.now === undefined ? {} : { now: components.now };
    this.#perSource = new RateLimiter(HEADS_PER_SOURCE, clock);
    this.#newPerSource = new RateLimiter(NEW_NODES_PER_SOURCE, clock);
    this.#perNode = new RateLimiter(HEADS_PER_NODE, clock);
  }

  /** The own head as it travels; null before the first view. */
  get own(): Uint8Array | null {
    return this.#own?.bytes ?? null;
  }

  /** Nodes whose head was ever seen and is not long forgotten. */
  get known(): number {
    return this.#heads.size + this.#forgotten.size;
  }

  /** Newest heads of other nodes that say the same as the own one. */
  get alike(): number {
    const own = this.#own?.head;
    if (own === undefined) return 0;
    let count = 0;
    for (const { signed } of this.#heads.values()) if (saysTheSame(signed.head, own)) count++;
    return count;
  }

  /**
   * Signs what this node holds and has made of it.
   *
   * @param offered - the document of a recipe's finished checkpoint
   */
  sign(view: View, offered: (recipe: CID) => CID | undefined): Uint8Array {
    // The clock makes the counter grow across restarts without a write for every head.
    this.#counter = Math.max(this.#counter + 1, Date.now());
    const head: Head = {
      version: 1,
      node: this.#key.publicKey,
      charter: this.#charterId,
      recipe: view.recipeId,
      ...frontierOf(view.frontier),
      accepted: view.accepted.length,
      held: view.records.length,
      checkpoint: offered(view.recipeId) ?? null,
      sealed: sealedHead(view, offered),
      counter: this.#counter,
    };
    const bytes = encodeSignedHead(signHead(head, this.#key));
    this.#own = { head, bytes };
    return bytes;
  }

  /**
   * Judges a head for relay, and keeps it when it is news. What comes faster than honest nodes make it goes no further:
   * anybody can sign heads with as many keys as he likes.
   *
   * @param source - the peer that passed it on
   */
  judge(bytes: Uint8Array, source: string): Verdict {
    if (this.#perSource.take(source) > 0) return 'ignore';
    try {
      const signed = this.#read(bytes);
      const node = keyToText(signed.head.node);
      if (!this.#isNews(node, signed)) return 'ignore';
      if (!this.#heads.has(node) && this.#newPerSource.take(source) > 0) return 'ignore';
      if (this.#perNode.take(node) > 0) return 'ignore';
      this.#keep(node, signed, source, bytes);
      return 'accept';
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      return error.code === 'VERSION_UNKNOWN' ? 'ignore' : 'reject';
    }
  }

  /**
   * Keeps a peer's own head when it is newer than the one known from that node.
   *
   * @returns the head, or undefined when it is old news
   * @throws LogError when it is invalid or of another community
   */
  take(bytes: Uint8Array, source: string): Head | undefined {
    const signed = this.#read(bytes);
    const node = keyToText(signed.head.node);
    if (!this.#isNews(node, signed)) return undefined;
    this.#keep(node, signed, source, bytes);
    return signed.head;
  }

  /** Whether a peer's head with this sha2-256 is here. */
  has(digest: Uint8Array): boolean {
    return this.#digests.has(treeKeyOf(digest));
  }

  all(): Head[] {
    return Array.from(this.#heads.values(), ({ signed }) => signed.head);
  }

  #read(bytes: Uint8Array): SignedHead {
    const signed = decodeSignedHead(bytes);
    if (!signed.head.charter.equals(this.#charterId)) {
      throw new LogError('OUT_OF_RANGE', 'the head belongs to another community', {});
    }
    return signed;
  }

  #isNews(node: string, { head }: SignedHead): boolean {
    const known = this.#heads.get(node)?.signed.head.counter ?? this.#forgotten.get(node);
    return known === undefined || known < head.counter;
  }

  #keep(node: string, signed: SignedHead, source: string, bytes: Uint8Array): void {
    this.#drop(node);
    this.#forgotten.delete(node);
    const digest = treeKeyOf(sha256(bytes));
    this.#heads.set(node, { signed, source, digest });
    this.#digests.add(digest);
    if (this.#heads.size > MAX_HEADS) this.#forgetOne();
  }

  #drop(node: string): void {
    const known = this.#heads.get(node);
    if (known !== undefined) this.#digests.delete(known.digest);
    this.#heads.delete(node);
  }

  /** The oldest head of the source that brought the most: who floods the table empties his own share of it. */
  #forgetOne(): void {
    const shares = new Map<string, number>();
    for (const { source } of this.#heads.values()) shares.set(source, (shares.get(source) ?? 0) + 1);
    const most = Math.max(...shares.values());
    for (const [node, { signed, source }] of this.#heads) {
      if (shares.get(source) !== most) continue;
      this.#drop(node);
      this.#forgotten.set(node, signed.head.counter);
      if (this.#forgotten.size > MAX_FORGOTTEN_HEADS) this.#forgotten.delete(this.#forgotten.keys().next().value!);
      return;
    }
  }
}

function sealedHead({ sealed }: View, offered: (recipe: CID) => CID | undefined): SealedHead | null {
  if (sealed === null || sealed.seal === null) return null;
  const { id, number } = sealed.seal;
  return { seal: id, number, recipe: sealed.recipeId, checkpoint: offered(sealed.recipeId) ?? null };
}

/** Whether two nodes hold the same records, have made the same recipe of them, and offer the same checkpoint. */
function saysTheSame(a: Head, b: Head): boolean {
  return (
    a.held === b.held &&
    a.recipe.equals(b.recipe) &&
    String(a.checkpoint) === String(b.checkpoint) &&
    String(a.sealed?.seal) === String(b.sealed?.seal) &&
    String(a.sealed?.checkpoint) === String(b.sealed?.checkpoint) &&
    a.frontier.length === b.frontier.length &&
    a.frontier.every((id, place) => id.equals(b.frontier[place]!))
  );
}
