import type { CID } from 'multiformats/cid';
import type { BlobStore, BlobWriter } from '../../node/stores/blob-store.ts';
import { BLOCK_BYTES, blockSize, idOf, type Manifest } from '../../src/log/index.ts';

/** What the nodes have on their disks. Equal content is in memory once, whoever holds it. */
export class SharedContent {
  readonly #content = new Map<string, Uint8Array>();

  /** The one copy of these bytes. */
  intern(id: CID, bytes: Uint8Array): Uint8Array {
    const key = id.toString();
    const known = this.#content.get(key);
    if (known !== undefined) return known;
    this.#content.set(key, bytes);
    return bytes;
  }

  get(key: string): Uint8Array | undefined {
    return this.#content.get(key);
  }
}

/** Manifests, in memory. */
export class MemoryObjects {
  readonly #objects = new Map<string, Uint8Array>();

  async put(id: CID, bytes: Uint8Array): Promise<void> {
    this.#objects.set(id.toString(), bytes);
  }

  async get(id: CID): Promise<Uint8Array | undefined> {
    return this.#objects.get(id.toString());
  }

  async getVerified(id: CID): Promise<Uint8Array | undefined> {
    const bytes = this.#objects.get(id.toString());
    return bytes !== undefined && idOf(bytes).equals(id) ? bytes : undefined;
  }

  async delete(id: CID): Promise<void> {
    this.#objects.delete(id.toString());
  }
}

/** Payloads, in memory. A "path" is the id's text: what measures payloads finds their bytes by it. */
export class MemoryBlobs implements Pick<BlobStore, 'path' | 'has' | 'put' | 'writer' | 'readBlock' | 'delete'> {
  readonly #shared: SharedContent;
  readonly #blobs = new Map<string, Uint8Array>();
  /** Blocks of payloads that are not whole. */
  readonly #parts = new Map<string, Map<number, Uint8Array>>();

  constructor(components: { shared: SharedContent }) {
    this.#shared = components.shared;
  }

  path(id: CID): string {
    return id.toString();
  }

  async has(id: CID, size: number): Promise<boolean> {
    return this.#blobs.get(id.toString())?.length === size;
  }

  async put(id: CID, bytes: Uint8Array): Promise<void> {
    this.#blobs.set(id.toString(), this.#shared.intern(id, bytes));
  }

  async readBlock(id: CID, manifest: Manifest, index: number): Promise<Uint8Array | undefined> {
    if (index < 0 || index >= manifest.blocks.length) return undefined;
    const start = index * BLOCK_BYTES;
    return this.#blobs.get(id.toString())?.subarray(start, start + blockSize(manifest, index));
  }

  async delete(id: CID): Promise<void> {
    this.#blobs.delete(id.toString());
  }

  async writer(id: CID, manifest: Manifest): Promise<BlobWriter> {
    const key = id.toString();
    const blocks = this.#parts.get(key) ?? new Map<number, Uint8Array>();
    this.#parts.set(key, blocks);
    return {
      has: (index) => blocks.has(index),
      write: async (index, bytes) => {
        blocks.set(index, new Uint8Array(bytes));
      },
      commit: async () => {
        const whole = manifest.blocks.map((_, index) => blocks.get(index) ?? new Uint8Array());
        this.#parts.delete(key);
        await this.put(id, new Uint8Array(Buffer.concat(whole)));
      },
      close: async () => {},
    };
  }
}
