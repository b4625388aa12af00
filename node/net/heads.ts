import type { CID } from 'multiformats/cid';
import type { Verdict } from '../../protocols/index.ts';
import type { Head, SignedHead, SigningKey } from '../../src/log/index.ts';
import { decodeSignedHead, encodeSignedHead, frontierOf, keyToText, LogError, signHead } from '../../src/log/index.ts';
import type { View } from '../core/view.ts';

/** Peers' heads kept at most; the one that was renewed the longest ago makes room. */
export const MAX_HEADS = 256;

/** The own head and the newest ones of the peers. */
export class Heads {
  readonly #charterId: CID;
  readonly #key: SigningKey;
  readonly #heads = new Map<string, SignedHead>();
  #own: Uint8Array | null = null;
  #counter = 0;

  constructor(options: { charterId: CID }, components: { key: SigningKey }) {
    this.#charterId = options.charterId;
    this.#key = components.key;
  }

  /** The own head as it travels; null before the first view. */
  get own(): Uint8Array | null {
    return this.#own;
  }

  /** Signs what this node holds and has made of it. */
  sign(view: View, checkpoint: CID | null): Uint8Array {
    // The clock makes the counter grow across restarts without a write for every head.
    this.#counter = Math.max(this.#counter + 1, Date.now());
    const head: Head = {
      version: 1,
      node: this.#key.publicKey,
      charter: this.#charterId,
      recipe: view.recipeId,
      ...frontierOf(view.frontier),
      accepted: view.accepted.length,
      held: view.updates.length,
      checkpoint,
      counter: this.#counter,
    };
    this.#own = encodeSignedHead(signHead(head, this.#key));
    return this.#own;
  }

  /** Judges a peer's head for relay, and keeps it when it is news. */
  judge(bytes: Uint8Array): Verdict {
    try {
      return this.take(bytes) === undefined ? 'ignore' : 'accept';
    } catch (error) {
      if (!(error instanceof LogError)) throw error;
      return error.code === 'VERSION_UNKNOWN' ? 'ignore' : 'reject';
    }
  }

  /**
   * Keeps a head when it is newer than the one known from that node.
   *
   * @returns the head, or undefined when it is old news
   * @throws LogError when it is invalid or of another community
   */
  take(bytes: Uint8Array): Head | undefined {
    const signed = decodeSignedHead(bytes);
    if (!signed.head.charter.equals(this.#charterId)) {
      throw new LogError('OUT_OF_RANGE', 'the head belongs to another community', {});
    }
    const node = keyToText(signed.head.node);
    const known = this.#heads.get(node);
    if (known !== undefined && known.head.counter >= signed.head.counter) return undefined;
    this.#heads.delete(node);
    this.#heads.set(node, signed);
    if (this.#heads.size > MAX_HEADS) this.#heads.delete(this.#heads.keys().next().value!);
    return signed.head;
  }

  all(): Head[] {
    return [...this.#heads.values()].map(({ head }) => head);
  }
}
