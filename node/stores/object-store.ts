import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { CID } from 'multiformats/cid';
import { sha256 } from 'multiformats/hashes/sha2';
import { removeTempSiblings, writeFileDurably, writeFilesDurably } from '../../src/durable.ts';
import { NodeError } from '../errors.ts';
import { cidNames, removeDurably } from '../files.ts';

/**
 * Small immutable objects on disk, one file each, named by CID. A put is durable when it returns: the file appears
 * whole or not at all.
 */
export class ObjectStore {
  readonly #directory: string;

  constructor(options: { directory: string }) {
    this.#directory = options.directory;
  }

  /** Makes the directory and drops what a crash left half-written. */
  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true });
    await removeTempSiblings(this.#directory);
  }

  /** The caller has checked that `id` is the CID of `bytes`, or of a part of them (signed records). */
  async put(id: CID, bytes: Uint8Array): Promise<void> {
    await writeFileDurably(this.#path(id), bytes);
  }

  /** The same for several at once: all are durable when it returns. */
  async putAll(objects: readonly (readonly [CID, Uint8Array])[]): Promise<void> {
    await writeFilesDurably(objects.map(([id, bytes]) => [this.#path(id), bytes]));
  }

  async get(id: CID): Promise<Uint8Array | undefined> {
    try {
      return await readFile(this.#path(id));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** @throws NodeError `OBJECT_CORRUPT` when the stored bytes do not hash to `id` */
  async getVerified(id: CID): Promise<Uint8Array | undefined> {
    const bytes = await this.get(id);
    if (bytes === undefined) return undefined;
    const digest = await sha256.digest(bytes);
    if (!CID.createV1(id.code, digest).equals(id)) {
      throw new NodeError('OBJECT_CORRUPT', `stored object ${id} is damaged: it will be fetched again`, {
        id: String(id),
      });
    }
    return bytes;
  }

  async delete(id: CID): Promise<void> {
    await removeDurably(this.#path(id));
  }

  /** Ids of everything stored, in no particular order. Foreign files are passed over. */
  async list(): Promise<CID[]> {
    return cidNames(this.#directory);
  }

  #path(id: CID): string {
    return join(this.#directory, id.toString());
  }
}
