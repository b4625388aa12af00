import type { CID } from 'multiformats/cid';
import { type Ids, treeKey } from '../../src/log/index.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_WANT_ITEMS, MAX_WANTED, MAX_WHOLE } from './constants.ts';
import { unpackChoices, unpackPrefixes } from './packing.ts';

/** Which of the ids of a snapshot a client wants. */
export class Choosing {
  readonly #ids: Ids;
  readonly #whole = new Set<string>();
  readonly #lengths = new Set<number>();
  readonly #keys = new Set<string>();
  #left = 0;

  constructor(ids: Ids) {
    this.#ids = ids;
  }

  /** At most so many of them are still to come. */
  get left(): number {
    return this.#left;
  }

  /**
   * Notes what one request names (packed); ids that are not in the snapshot count for nothing.
   *
   * @throws ProtocolError `MALFORMED`, `TOO_LARGE`
   */
  add(whole: Uint8Array, some: Uint8Array, keys: readonly string[]): void {
    for (const prefix of unpackPrefixes(whole, MAX_WANT_ITEMS)) {
      if (this.#whole.has(prefix)) continue;
      this.#whole.add(prefix);
      this.#lengths.add(prefix.length);
      this.#left += this.#ids.at(prefix).size;
    }
    for (const { prefix, places } of unpackChoices(some, MAX_WANT_ITEMS)) {
      const subtree = this.#ids.at(prefix);
      if (!subtree.isLeaf) throw new ProtocolError('MALFORMED', 'Only ids of a leaf can be chosen.', { prefix });
      const listed = [...subtree.keys()];
      for (const place of places) {
        const key = listed[place];
        if (key === undefined) throw new ProtocolError('MALFORMED', 'The leaf has no such place.', { prefix, place });
        this.#addKey(key);
      }
    }
    for (const key of keys) if (this.#ids.hasKey(key)) this.#addKey(key);
    if (this.#keys.size > MAX_WANTED || this.#whole.size > MAX_WHOLE) {
      throw new ProtocolError('TOO_LARGE', 'A stream wants more than it may choose: want it all.', {});
    }
  }

  /** Whether the id is wanted, once for each. */
  take(id: CID): boolean {
    const key = treeKey(id);
    if (!this.#keys.has(key) && !(this.#isUnderWhole(key) && this.#ids.hasKey(key))) return false;
    this.#left--;
    return true;
  }

  #addKey(key: string): void {
    if (this.#keys.has(key)) return;
    this.#keys.add(key);
    this.#left++;
  }

  #isUnderWhole(key: string): boolean {
    if (this.#whole.size === 0) return false;
    if (this.#whole.has('')) return true;
    const digits = Buffer.from(key, 'latin1').toString('hex');
    for (const length of this.#lengths) if (this.#whole.has(digits.slice(0, length))) return true;
    return false;
  }
}
