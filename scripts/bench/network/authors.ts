/** Signed updates as a community makes them: several authors, each record naming what its author had seen. */
import type { CID } from 'multiformats/cid';
import { compareBytes, generateKey, type SignedRecord, type SigningKey, signRecord } from '../../../src/log/index.ts';

interface Author {
  readonly key: SigningKey;
  last: SignedRecord | null;
}

/** Authors who publish in turn. */
export class Authors {
  readonly #charterId: CID;
  readonly #authors: Author[];
  #published = 0;

  constructor(options: { charterId: CID; authors: number }) {
    this.#charterId = options.charterId;
    this.#authors = Array.from({ length: options.authors }, () => ({ key: generateKey(), last: null }));
  }

  /**
   * The next author's record.
   *
   * @param seen - heads of the log that the author has; its own last record is named in any case
   */
  publish(payload: CID, seen: readonly SignedRecord[]): SignedRecord {
    const author = this.#authors[this.#published++ % this.#authors.length]!;
    const parents = new Map([...seen, ...(author.last === null ? [] : [author.last])].map(({ id }) => [`${id}`, id]));
    const signed = signRecord(
      {
        version: 1,
        kind: 'update',
        author: author.key.publicKey,
        charter: this.#charterId,
        seq: author.last === null ? 0 : author.last.record.seq + 1,
        prev: author.last?.id ?? null,
        parents: [...parents.values()].sort((a, b) => compareBytes(a.bytes, b.bytes)),
        payload,
        title: `update ${this.#published}`,
        license: 'Apache-2.0',
        note: '',
      },
      author.key,
    );
    author.last = signed;
    return signed;
  }
}
