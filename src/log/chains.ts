import { authorKey } from './author-key.ts';
import type { SignedRecord } from './record-types.ts';

/** Two or more held records of one author with one `seq`; two are the proof that the author signed twice. */
export interface Equivocation {
  /** Raw public key, 32 bytes. */
  readonly author: Uint8Array;
  readonly seq: number;
  readonly records: readonly SignedRecord[];
}

interface Chain {
  readonly author: Uint8Array;
  readonly bySeq: Map<number, SignedRecord[]>;
  /** Largest held `seq`. Held chains have no gaps. */
  last: number;
  /** Smallest `seq` with two records. */
  fork: number;
  /** Held records, those of every branch. */
  updates: number;
  /** Sum of their payload sizes. */
  bytes: number;
}

/** The held records by author and `seq`. Everything it says follows from the set of records, not from their order. */
export class Chains {
  readonly #chains = new Map<string, Chain>();

  /**
   * Returns the equivocation that the record proves, if any. Further records of that `seq` prove nothing new.
   *
   * @param bytes - size of its payload
   */
  add(signed: SignedRecord, bytes: number): Equivocation | null {
    const { author, seq } = signed.record;
    const key = authorKey(author);
    let chain = this.#chains.get(key);
    if (chain === undefined) {
      chain = { author, bySeq: new Map(), last: 0, fork: Number.POSITIVE_INFINITY, updates: 0, bytes: 0 };
      this.#chains.set(key, chain);
    }
    chain.last = Math.max(chain.last, seq);
    chain.updates++;
    chain.bytes += bytes;
    const records = chain.bySeq.get(seq);
    if (records === undefined) {
      chain.bySeq.set(seq, [signed]);
      return null;
    }
    records.push(signed);
    chain.fork = Math.min(chain.fork, seq);
    return records.length === 2 ? { author, seq, records: [...records] } : null;
  }

  /** True for the records of an author from its first equivocation on. */
  flagged(signed: SignedRecord): boolean {
    const chain = this.#chains.get(authorKey(signed.record.author));
    return chain !== undefined && signed.record.seq >= chain.fork;
  }

  /** What all branches of the author's chain use together. */
  used(author: Uint8Array): { readonly updates: number; readonly bytes: number } {
    const chain = this.#chains.get(authorKey(author));
    return { updates: chain?.updates ?? 0, bytes: chain?.bytes ?? 0 };
  }

  /** The author's records in ascending `seq`; several with one `seq` in order of arrival. */
  of(author: Uint8Array): SignedRecord[] {
    const chain = this.#chains.get(authorKey(author));
    const records: SignedRecord[] = [];
    for (let seq = 0; chain !== undefined && seq <= chain.last; seq++) records.push(...(chain.bySeq.get(seq) ?? []));
    return records;
  }

  /** The author's newest record; `fork` when it has equivocated, `undefined` when it has none. */
  tip(author: Uint8Array): SignedRecord | 'fork' | undefined {
    const chain = this.#chains.get(authorKey(author));
    if (chain === undefined) return undefined;
    return chain.fork === Number.POSITIVE_INFINITY ? chain.bySeq.get(chain.last)![0] : 'fork';
  }

  authors(): Uint8Array[] {
    return [...this.#chains.values()].map((chain) => chain.author);
  }

  *equivocations(): Generator<Equivocation> {
    for (const { author, bySeq, fork } of this.#chains.values()) {
      if (fork === Number.POSITIVE_INFINITY) continue;
      for (const [seq, records] of bySeq) if (records.length > 1) yield { author, seq, records: [...records] };
    }
  }
}
