import type { CID } from 'multiformats/cid';
import { authorKey } from './author-key.ts';
import { idKey, sortedIds } from './canonical.ts';
import { Chains, type Equivocation } from './chains.ts';
import { LogError } from './errors.ts';
import { IdTree } from './id-tree.ts';
import { MAX_PARENTS } from './record.ts';
import type { SignedRecord } from './record-types.ts';

/** The held records, which of them are heads, and their authors' chains. A record enters after all its parents. */
export class HeldSet {
  /** Ids of the held records. */
  readonly ids = new IdTree();
  readonly #records = new Map<string, SignedRecord>();
  /** Held records without held children, in the order in which they became held. */
  readonly #heads = new Map<string, SignedRecord>();
  readonly #chains = new Chains();

  get size(): number {
    return this.#records.size;
  }

  /** The same records by author and `seq`. */
  get chains(): Omit<Chains, 'add'> {
    return this.#chains;
  }

  has(id: CID): boolean {
    return this.#records.has(idKey(id));
  }

  hasAll(ids: readonly CID[]): boolean {
    return ids.every((id) => this.has(id));
  }

  get(id: CID): SignedRecord | undefined {
    return this.#records.get(idKey(id));
  }

  /** Parents before children. */
  values(): IterableIterator<SignedRecord> {
    return this.#records.values();
  }

  /**
   * Returns the equivocation that the record proves, if any.
   *
   * @param bytes - size of its payload
   */
  add(key: string, signed: SignedRecord, bytes: number): Equivocation | null {
    this.#records.set(key, signed);
    this.ids.add(signed.id);
    for (const parent of signed.record.parents) this.#heads.delete(idKey(parent));
    this.#heads.set(key, signed);
    return this.#chains.add(signed, bytes);
  }

  /** Ids of the held ones among these keys, ascending by bytes. */
  among(keys: Iterable<string>): CID[] {
    const ids: CID[] = [];
    for (const key of keys) {
      const signed = this.#records.get(key);
      if (signed !== undefined) ids.push(signed.id);
    }
    return sortedIds(ids);
  }

  /** Ascending by bytes. */
  heads(): CID[] {
    return sortedIds([...this.#heads.values()].map(({ id }) => id));
  }

  /** Those among the ids and their ancestors, each once, in no order that means anything. */
  *ancestors(ids: Iterable<CID>): Generator<SignedRecord> {
    const seen = new Set<string>();
    const stack: CID[] = [...ids];
    for (let id = stack.pop(); id !== undefined; id = stack.pop()) {
      const key = idKey(id);
      const signed = this.#records.get(key);
      if (signed === undefined || seen.has(key)) continue;
      seen.add(key);
      yield signed;
      stack.push(...signed.record.parents);
    }
  }

  /** Those that are neither among the ids nor their ancestors, parents before children. */
  *except(ids: Iterable<CID>): Generator<SignedRecord> {
    const theirs = new Set<string>();
    for (const { id } of this.ancestors(ids)) theirs.add(idKey(id));
    for (const [key, signed] of this.#records) if (!theirs.has(key)) yield signed;
  }

  /** The chain fields of the author's next record, as `Log.nextLink` describes them. @throws LogError */
  nextLink(author: Uint8Array): { seq: number; prev: CID | null; parents: CID[] } {
    const tip = this.#chains.tip(author);
    if (tip === 'fork') {
      throw new LogError(
        'AUTHOR_EQUIVOCATED',
        'this author key has signed two records with one seq, so all its further updates are declined: contribute with a new key',
        { author: authorKey(author) },
      );
    }
    const parents = new Map<string, CID>();
    if (tip !== undefined) parents.set(idKey(tip.id), tip.id);
    for (const [key, head] of this.#heads) {
      if (parents.size >= MAX_PARENTS) break;
      if (!this.#chains.flagged(head)) parents.set(key, head.id);
    }
    return {
      seq: tip === undefined ? 0 : tip.record.seq + 1,
      prev: tip?.id ?? null,
      parents: sortedIds([...parents.values()]),
    };
  }
}
