import type { CID } from 'multiformats/cid';
import { type Ids, IdTree } from '../../src/log/index.ts';

/** Ids remembered at most; then the oldest are asked for again. */
export const MAX_PASSED_OVER = 4_096;

/**
 * Entries that came, cannot be used and are not to come again in every round: those that only a newer program reads, and
 * further ones of a proven equivocator.
 */
export class PassedOver {
  readonly #tree = new IdTree();
  /** By id, whether it is unreadable, in order of arrival. */
  readonly #reasons = new Map<string, { readonly id: CID; readonly unreadable: boolean }>();

  get ids(): Ids {
    return this.#tree;
  }

  add(id: CID, reason: 'unreadable' | 'superfluous'): void {
    if (!this.#tree.add(id)) return;
    this.#reasons.set(id.toString(), { id, unreadable: reason === 'unreadable' });
    if (this.#reasons.size > MAX_PASSED_OVER) this.#forget(this.#reasons.values().next().value!.id);
  }

  /**
   * Whether an entry depends on an unreadable one: it is passed over too. A superfluous one that another builds on is
   * wanted after all.
   */
  covers(parents: readonly CID[]): boolean {
    for (const parent of parents) {
      const reason = this.#reasons.get(parent.toString());
      if (reason?.unreadable) return true;
      if (reason !== undefined) this.#forget(parent);
    }
    return false;
  }

  #forget(id: CID): void {
    this.#reasons.delete(id.toString());
    this.#tree.delete(id);
  }
}
