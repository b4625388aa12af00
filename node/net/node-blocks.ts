import type { CID } from 'multiformats/cid';
import type { BlockSource } from '../../protocols/index.ts';
import type { Manifest } from '../../src/log/index.ts';
import type { NetworkBook, NetworkShelf } from './network-book.ts';

/** Manifests kept in memory while their blocks are served: one for each peer that is being served, and some more. */
export const MAX_CACHED_MANIFESTS = 64;

/** What the blocks protocol serves: the charter, manifests, payloads, and the newest checkpoints. */
export class NodeBlocks implements BlockSource {
  readonly #charterId: CID;
  readonly #charter: Uint8Array;
  readonly #book: NetworkBook;
  readonly #shelf: NetworkShelf;
  readonly #manifests = new Map<string, Manifest>();

  constructor(
    options: { charterId: CID; charterBytes: Uint8Array },
    components: { book: NetworkBook; shelf: NetworkShelf },
  ) {
    this.#charterId = options.charterId;
    this.#charter = options.charterBytes;
    this.#book = components.book;
    this.#shelf = components.shelf;
  }

  async object(id: CID): Promise<Uint8Array | undefined> {
    if (id.equals(this.#charterId)) return this.#charter;
    return this.#shelf.object(id) ?? (await this.#book.payloads.manifestBytes(id));
  }

  async block(manifestId: CID, index: number): Promise<Uint8Array | undefined> {
    const shelved = await this.#shelf.block(manifestId, index);
    if (shelved !== undefined) return shelved;
    const manifest = await this.#manifest(manifestId);
    return manifest && this.#book.payloads.block(manifestId, manifest, index);
  }

  async #manifest(id: CID): Promise<Manifest | undefined> {
    const key = id.toString();
    const cached = this.#manifests.get(key);
    if (cached !== undefined) return cached;
    const manifest = await this.#book.payloads.manifest(id);
    if (manifest === undefined) return undefined;
    this.#manifests.set(key, manifest);
    if (this.#manifests.size > MAX_CACHED_MANIFESTS) this.#manifests.delete(this.#manifests.keys().next().value!);
    return manifest;
  }
}
