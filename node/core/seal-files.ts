import type { SealSet, SignedSeal } from '../../src/log/index.ts';
import { decodeSignedSeal, encodeSignedSeal, idFromDigest } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import { digestOfKey, type HomeContent, keyOf } from '../stores/home-journal.ts';
import type { Journal } from '../stores/journal.ts';
import { KIND } from '../stores/journal-format.ts';
import { removal } from '../stores/journal-reading.ts';

/** The known seals on disk. The caller runs everything that changes something one after another. */
export class SealFiles {
  readonly #journal: Journal;
  readonly #logger: Logger;

  constructor(components: { journal: Journal; logger: Logger }) {
    this.#journal = components.journal;
    this.#logger = components.logger;
  }

  /** Fills the set. What is damaged is passed over with a warning: peers have it. */
  read(content: HomeContent, seals: SealSet): void {
    const found: SignedSeal[] = [];
    for (const [key, bytes] of content.seals) {
      try {
        const signed = decodeSignedSeal(bytes);
        if (keyOf(signed.id.multihash.digest) === key) found.push(signed);
      } catch (error) {
        const seal = idFromDigest(digestOfKey(key)).toString();
        this.#logger.warn({ seal, err: error }, 'a stored seal is damaged; it will be fetched again');
      }
    }
    for (const signed of found.sort((a, b) => a.seal.number - b.seal.number)) seals.add(signed);
  }

  /** Durable when it returns: `signed`, and that `dropped` counts no more. */
  async put(signed: SignedSeal, dropped?: SignedSeal): Promise<void> {
    const entries = dropped === undefined ? [] : [removal(KIND.seal, dropped.id.multihash.digest)];
    await this.#journal.append([
      ...entries,
      { kind: KIND.seal, digest: signed.id.multihash.digest, body: encodeSignedSeal(signed) },
    ]);
  }
}
