import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import type { Manifest } from '../../src/log/index.ts';
import { encodeCheckpoint, idOf, manifestOf, parseId } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { readBlockOf } from '../stores/blob-store.ts';
import type { FoldedCheckpoint } from './fold-loop.ts';

/** Checkpoints that are offered to peers at a time: what is sealed, the newest, and one of each that peers may still be fetching. */
export const MAX_SHELVED = 4;

interface ShelvedFile {
  readonly path: string;
  readonly manifest: Manifest;
}

interface Shelved {
  readonly recipe: string;
  readonly document: CID;
  /** Small objects by id: the document and the manifests. */
  readonly objects: ReadonlyMap<string, Uint8Array>;
  readonly files: ReadonlyMap<string, ShelvedFile>;
}

/** Merged checkpoints on disk, offered to peers block by block without a second copy. */
export class CheckpointShelf {
  #shelved: readonly Shelved[] = [];

  /** The document of a recipe's checkpoint, while that is offered. */
  document(recipe: string): CID | undefined {
    return this.#shelved.find((one) => one.recipe === recipe)?.document;
  }

  /**
   * Hashes a finished checkpoint directory and offers it. Of the others those of `needed` recipes stay before newer ones.
   *
   * @returns the id of its checkpoint document
   */
  async put(
    checkpoint: FoldedCheckpoint,
    needed: ReadonlySet<string> = new Set(),
    options: RunOptions = {},
  ): Promise<CID> {
    const known = this.#shelved.find(({ recipe }) => recipe === checkpoint.recipe);
    if (known !== undefined) return known.document;
    const objects = new Map<string, Uint8Array>();
    const files = new Map<string, ShelvedFile>();
    const listed: { name: string; size: number; manifest: CID }[] = [];
    // Node sorts names by UTF-16 code units, the document by code points: the same for the ASCII names it allows.
    for (const name of (await readdir(checkpoint.path)).sort()) {
      const path = join(checkpoint.path, name);
      const { size } = await stat(path);
      const { manifest, bytes, id } = await manifestOf(createReadStream(path, { highWaterMark: 1 << 20 }), options);
      objects.set(id.toString(), bytes);
      files.set(id.toString(), { path, manifest });
      listed.push({ name, size, manifest: id });
    }
    const bytes = encodeCheckpoint({ version: 1, recipe: parseId(checkpoint.recipe), files: listed });
    const document = idOf(bytes);
    objects.set(document.toString(), bytes);
    const before = [true, false].flatMap((wanted) =>
      this.#shelved.filter(({ recipe }) => needed.has(recipe) === wanted),
    );
    this.#shelved = [{ recipe: checkpoint.recipe, document, objects, files }, ...before].slice(0, MAX_SHELVED);
    return document;
  }

  object(id: CID): Uint8Array | undefined {
    const key = id.toString();
    for (const { objects } of this.#shelved) {
      const found = objects.get(key);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  async block(manifest: CID, index: number): Promise<Uint8Array | undefined> {
    const key = manifest.toString();
    for (const { files } of this.#shelved) {
      const file = files.get(key);
      if (file !== undefined) return readBlockOf(file.path, file.manifest, index);
    }
    return undefined;
  }
}
