import { idKey } from './canonical.ts';
import { IdTree } from './id-tree.ts';
import type { Past } from './past.ts';
import type { SignedRecord } from './record-types.ts';
import type { ChainTotals } from './validity.ts';

/** A record that is held or waits. */
export interface Entry {
  readonly key: string;
  readonly signed: SignedRecord;
  held: boolean;
  /** Null until the record is known to be valid. */
  totals: ChainTotals | null;
  /** The past of what names it as a parent; null while it or an ancestor cannot be judged. */
  past: Past | null;
}

/** All records in memory, held and waiting ones, and which of them name a record as a parent. */
export class Entries {
  /** Ids of all of them. */
  readonly ids = new IdTree();
  readonly #entries = new Map<string, Entry>();
  /** Children by parent, held and waiting ones, also of parents never seen. Most have one: a set would be ten times its size. */
  readonly #children = new Map<string, string | Set<string>>();

  has(key: string): boolean {
    return this.#entries.has(key);
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  /** Keys of the records that name this one as a parent. */
  children(key: string): Iterable<string> {
    const children = this.#children.get(key);
    return typeof children === 'string' ? [children] : (children ?? []);
  }

  add(entry: Entry): void {
    this.#entries.set(entry.key, entry);
    this.ids.add(entry.signed.id);
    for (const parent of entry.signed.record.parents) {
      const parentKey = idKey(parent);
      const children = this.#children.get(parentKey);
      if (children === undefined) this.#children.set(parentKey, entry.key);
      else if (typeof children !== 'string') children.add(entry.key);
      else if (children !== entry.key) this.#children.set(parentKey, new Set([children, entry.key]));
    }
  }

  remove(entry: Entry): void {
    this.#entries.delete(entry.key);
    this.ids.delete(entry.signed.id);
    for (const parent of entry.signed.record.parents) {
      const parentKey = idKey(parent);
      const children = this.#children.get(parentKey);
      if (children === entry.key) this.#children.delete(parentKey);
      if (children === undefined || typeof children === 'string') continue;
      children.delete(entry.key);
      if (children.size === 0) this.#children.delete(parentKey);
    }
  }
}
