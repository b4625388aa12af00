import type { CID } from 'multiformats/cid';
import { treeKey, treeKeyBytes } from '../../src/log/index.ts';
import { MAX_WANT_ITEMS, MAX_WANTED, MAX_WHOLE } from './constants.ts';
import { type Choice, packChoices, packPrefixes, type Tagger } from './packing.ts';
import type { SyncRequest } from './schema.ts';

/** What a client wants of one peer, and what of it has come. Ids are known by prefix and tag until they come. */
export class Wanted {
  readonly #tag: Tagger;
  #choices: Choice[] = [];
  /** Prefixes of which everything is wanted. */
  readonly #whole = new Set<string>();
  /** Tags wanted from leaves by prefix; what has come is taken out. */
  readonly #some = new Map<string, Set<number>>();
  readonly #named = new Map<string, CID>();
  readonly #lengths = new Set<number>();
  /** Prefixes of `#whole` of which something has come. */
  readonly #begun = new Set<string>();
  #size = 0;

  constructor(tag: Tagger) {
    this.#tag = tag;
  }

  get isEmpty(): boolean {
    return this.#size === 0;
  }

  /** Tags and ids, and prefixes of which nothing came, that the peer has said it has and has not given. */
  get owed(): number {
    let owed = this.#named.size + this.#whole.size - this.#begun.size;
    for (const tags of this.#some.values()) owed += tags.size;
    return owed;
  }

  addWhole(prefix: string): void {
    if (this.#whole.has('')) return;
    this.#whole.add(prefix);
    this.#lengths.add(prefix.length);
    this.#size++;
    if (this.#whole.size > MAX_WHOLE) this.#wantAll();
  }

  /** @param tags - of the whole leaf */
  addSome(choice: Choice, tags: readonly number[]): void {
    if (this.#whole.has('')) return;
    this.#choices.push(choice);
    this.#some.set(choice.prefix, new Set(choice.places.map((place) => tags[place]!)));
    this.#lengths.add(choice.prefix.length);
    this.#size += choice.places.length;
    if (this.#size > MAX_WANTED) this.#wantAll();
  }

  addNamed(id: CID): void {
    this.#named.set(treeKey(id), id);
    this.#size++;
  }

  /** Whether the id was asked for; from then on it has come. */
  take(id: CID): boolean {
    const key = treeKey(id);
    if (this.#named.delete(key)) return true;
    const digest = treeKeyBytes(key);
    const digits = Buffer.from(digest).toString('hex');
    for (const length of this.#lengths) {
      const prefix = digits.slice(0, length);
      if (this.#some.get(prefix)?.delete(this.#tag(digest))) return true;
      if (!this.#whole.has(prefix)) continue;
      this.#begun.add(prefix);
      return true;
    }
    return false;
  }

  /** The requests that say it. */
  *requests(): Generator<SyncRequest & { kind: 'want' }> {
    const whole = [...this.#whole];
    const ids = Array.from(this.#named.keys(), treeKeyBytes);
    let from = 0;
    do {
      const to = from + MAX_WANT_ITEMS;
      yield {
        kind: 'want',
        whole: packPrefixes(whole.slice(from, to)),
        some: packChoices(this.#choices.slice(from, to)),
        // As many as fit into one request.
        ids: from === 0 ? new Uint8Array(Buffer.concat(ids)) : new Uint8Array(),
        last: to >= whole.length && to >= this.#choices.length,
      };
      from = to;
    } while (from < whole.length || from < this.#choices.length);
  }

  /** So much differs that choosing costs more than getting some of it twice. */
  #wantAll(): void {
    this.#choices = [];
    this.#some.clear();
    this.#whole.clear();
    this.#lengths.clear();
    this.#whole.add('');
    this.#lengths.add(0);
  }
}
