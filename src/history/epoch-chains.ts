import { authorKey, idKey, type SignedRecord } from '../log/index.ts';

/** Which authors have signed two records with one `seq`, among the records of some sections: a later proof changes nothing there. */
export class EpochChains {
  readonly #authors = new Map<string, { readonly bySeq: Map<number, string>; fork: number }>();

  add(records: Iterable<SignedRecord>): void {
    for (const { id, record } of records) {
      const key = authorKey(record.author);
      let chain = this.#authors.get(key);
      if (chain === undefined) {
        chain = { bySeq: new Map(), fork: Number.POSITIVE_INFINITY };
        this.#authors.set(key, chain);
      }
      const known = chain.bySeq.get(record.seq);
      if (known === undefined) chain.bySeq.set(record.seq, idKey(id));
      else if (known !== idKey(id)) chain.fork = Math.min(chain.fork, record.seq);
    }
  }

  /** A copy that goes its own way. */
  fork(): EpochChains {
    const copy = new EpochChains();
    for (const [key, { bySeq, fork }] of this.#authors) copy.#authors.set(key, { bySeq: new Map(bySeq), fork });
    return copy;
  }

  isEquivocated({ record }: SignedRecord): boolean {
    const chain = this.#authors.get(authorKey(record.author));
    return chain !== undefined && record.seq >= chain.fork;
  }
}
