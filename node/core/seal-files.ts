import type { SealSet, SignedSeal } from '../../src/log/index.ts';
import { decodeSignedSeal, encodeSignedSeal } from '../../src/log/index.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { ObjectStore } from '../stores/object-store.ts';

/** The known seals on disk. The caller runs everything that changes something one after another. */
export class SealFiles {
  readonly #store: ObjectStore;
  readonly #logger: Logger;

  constructor(options: Pick<HomePaths, 'seals'>, components: { logger: Logger }) {
    this.#store = new ObjectStore({ directory: options.seals });
    this.#logger = components.logger;
  }

  async open(): Promise<void> {
    await this.#store.open();
  }

  /** Fills the set. What is damaged is passed over with a warning: peers have it. */
  async read(seals: SealSet): Promise<void> {
    const found: SignedSeal[] = [];
    for (const id of await this.#store.list().catch(() => [])) {
      try {
        const signed = decodeSignedSeal((await this.#store.get(id)) ?? new Uint8Array());
        if (signed.id.equals(id)) found.push(signed);
      } catch (error) {
        this.#logger.warn({ seal: id.toString(), err: error }, 'a stored seal is damaged; it will be fetched again');
      }
    }
    for (const signed of found.sort((a, b) => a.seal.number - b.seal.number)) seals.add(signed);
  }

  async put(signed: SignedSeal): Promise<void> {
    await this.#store.put(signed.id, encodeSignedSeal(signed));
  }

  async delete(signed: SignedSeal): Promise<void> {
    await this.#store.delete(signed.id);
  }
}
