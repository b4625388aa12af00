import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { open, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import { fsyncDir, fsyncFile, makeDirectoryDurably, removeTempSiblings, tempSibling } from '../../src/durable.ts';
import { idText } from '../../src/log/index.ts';
import type { Manifest } from '../../src/log/manifest.ts';
import { BLOCK_BYTES, blockSize } from '../../src/log/manifest.ts';
import { NodeError } from '../errors.ts';
import { cidNames, exists, ignoreMissing, removeDurably } from '../files.ts';

const PART_SUFFIX = '.part';

/** A blob on its way in: blocks may come in any order and from any peer. */
export interface BlobWriter {
  /** Whether this block is already on disk, from this or an earlier try. */
  has(index: number): boolean;
  /** Writes a block whose hash the caller has checked against the manifest. */
  write(index: number, bytes: Uint8Array): Promise<void>;
  /** Makes the blob durable and visible, its name after the store's `flush`; every block must be there. */
  commit(): Promise<void>;
  /** Keeps what came for a later try. */
  close(): Promise<void>;
}

/**
 * Large immutable byte strings on disk, named by the CID of their manifest. A blob is visible only when whole and
 * checked; a partial one lies beside it as `.part` and is picked up by the next writer.
 */
export class BlobStore {
  readonly #directory: string;
  /** Blobs of which a part may be here. */
  readonly #parts = new Set<string>();
  /** Names in the directory changed since it was flushed. */
  #renamed = false;

  constructor(options: { directory: string }) {
    this.#directory = options.directory;
  }

  async open(): Promise<void> {
    await makeDirectoryDurably(this.#directory);
    await removeTempSiblings(this.#directory);
    for (const id of await cidNames(this.#directory, PART_SUFFIX)) this.#parts.add(idText(id));
  }

  /** The file of a blob, whether it exists or not. */
  path(id: CID): string {
    return join(this.#directory, idText(id));
  }

  /** Whether the blob is stored whole, judged by its size: its content was checked before it got its name. */
  async has(id: CID, size: number): Promise<boolean> {
    return (await stat(this.path(id)).catch(ignoreMissing))?.size === size;
  }

  /** Takes a finished file (same file system) into the store. Its content is durable when this returns, its name after `flush`. */
  async adopt(id: CID, file: string): Promise<void> {
    await fsyncFile(file);
    await this.#rename(file, id);
  }

  /** Stores content whose manifest id the caller has computed, as durably as `adopt`. */
  async put(id: CID, bytes: Uint8Array): Promise<void> {
    const temp = tempSibling(this.path(id));
    try {
      await writeFile(temp, bytes, { flag: 'wx', flush: true });
      await this.#rename(temp, id);
    } catch (error) {
      await rm(temp, { force: true });
      throw error;
    }
  }

  /** Makes the names of all blobs durable that came since the last call: one flush for many. */
  async flush(): Promise<void> {
    if (!this.#renamed) return;
    this.#renamed = false;
    try {
      await fsyncDir(this.#directory);
    } catch (error) {
      this.#renamed = true;
      throw error;
    }
  }

  async #rename(from: string, id: CID): Promise<void> {
    await rename(from, this.path(id));
    this.#renamed = true;
  }

  /** Names of the files: the ids of whole blobs, partial ones and what else lies there. */
  async names(): Promise<string[]> {
    return readdir(this.#directory);
  }

  /** The same for content that was fetched in one piece; what an earlier try left of it is removed. */
  async putWhole(id: CID, bytes: Uint8Array): Promise<void> {
    await this.put(id, bytes);
    if (this.#parts.has(idText(id))) await this.deletePart(id);
  }

  /** Ids of the whole blobs, in no particular order. */
  async list(): Promise<CID[]> {
    return cidNames(this.#directory);
  }

  /** Puts a blob that turned out damaged back among the partial ones: its good blocks are not fetched again. */
  async demote(id: CID): Promise<void> {
    await rename(this.path(id), this.#part(id)).catch(ignoreMissing);
  }

  async readBlock(id: CID, manifest: Manifest, index: number): Promise<Uint8Array | undefined> {
    return readBlockOf(this.path(id), manifest, index);
  }

  async delete(id: CID): Promise<void> {
    await removeDurably(this.path(id));
  }

  /** What is there of payloads that are not whole, with the time of the last write in milliseconds. */
  async parts(): Promise<{ id: CID; size: number; modified: number }[]> {
    const found: { id: CID; size: number; modified: number }[] = [];
    for (const id of await cidNames(this.#directory, PART_SUFFIX)) {
      const info = await stat(this.#part(id)).catch(ignoreMissing);
      if (info !== undefined) found.push({ id, size: info.size, modified: info.mtimeMs });
    }
    return found;
  }

  async hasPart(id: CID): Promise<boolean> {
    return exists(this.#part(id));
  }

  async deletePart(id: CID): Promise<void> {
    await removeDurably(this.#part(id));
    this.#parts.delete(idText(id));
  }

  /** Opens a blob for writing, resuming what an earlier try left. */
  async writer(id: CID, manifest: Manifest): Promise<BlobWriter> {
    const part = this.#part(id);
    this.#parts.add(idText(id));
    const file = await open(part, 'a+').then(async (handle) => {
      await handle.close();
      return open(part, 'r+');
    });
    try {
      const present = await presentBlocks(file, manifest);
      return new PartFile(file, manifest, present, () => this.#rename(part, id));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  #part(id: CID): string {
    return `${this.path(id)}${PART_SUFFIX}`;
  }
}

class PartFile implements BlobWriter {
  readonly #file: FileHandle;
  readonly #rename: () => Promise<void>;
  readonly #manifest: Manifest;
  readonly #present: Uint8Array;
  #missing: number;

  constructor(file: FileHandle, manifest: Manifest, present: Uint8Array, rename: () => Promise<void>) {
    this.#file = file;
    this.#rename = rename;
    this.#manifest = manifest;
    this.#present = present;
    this.#missing = present.reduce((count, flag) => count + (1 - flag), 0);
  }

  has(index: number): boolean {
    return this.#present[index] === 1;
  }

  async write(index: number, bytes: Uint8Array): Promise<void> {
    if (this.#present[index] === 1) return;
    // A disk that fills up takes a part and says so only the next time: what counts as present is there whole.
    for (let done = 0; done < bytes.length; ) {
      done += (await this.#file.write(bytes, done, bytes.length - done, index * BLOCK_BYTES + done)).bytesWritten;
    }
    this.#present[index] = 1;
    this.#missing--;
  }

  async commit(): Promise<void> {
    if (this.#missing > 0) {
      throw new NodeError('BLOB_INVALID', `${this.#missing} blocks are still missing`, { missing: this.#missing });
    }
    await this.#file.truncate(this.#manifest.size);
    await this.#file.sync();
    await this.#file.close();
    await this.#rename();
  }

  async close(): Promise<void> {
    await this.#file.close().catch(() => {});
  }
}

/** Reads one block of a file that a manifest describes; undefined when the file is missing or shorter. */
export async function readBlockOf(path: string, manifest: Manifest, index: number): Promise<Uint8Array | undefined> {
  if (!Number.isSafeInteger(index) || index < 0 || index >= manifest.blocks.length) return undefined;
  const length = blockSize(manifest, index);
  let file: FileHandle;
  try {
    file = await open(path, 'r');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const buffer = new Uint8Array(length);
    const { bytesRead } = await file.read(buffer, 0, length, index * BLOCK_BYTES);
    return bytesRead === length ? buffer : undefined;
  } finally {
    await file.close();
  }
}

/** Whether the bytes are what the manifest says of this block. */
export function isBlock(manifest: Manifest, index: number, bytes: Uint8Array): boolean {
  const expected = manifest.blocks[index];
  if (expected === undefined || bytes.length !== blockSize(manifest, index)) return false;
  return createHash('sha256').update(bytes).digest().equals(expected);
}

async function presentBlocks(file: FileHandle, manifest: Manifest): Promise<Uint8Array> {
  const present = new Uint8Array(manifest.blocks.length);
  const { size } = await file.stat();
  const buffer = new Uint8Array(BLOCK_BYTES);
  for (let index = 0; index < present.length && index * BLOCK_BYTES < size; index++) {
    const length = blockSize(manifest, index);
    const { bytesRead } = await file.read(buffer, 0, length, index * BLOCK_BYTES);
    if (bytesRead === length && isBlock(manifest, index, buffer.subarray(0, length))) present[index] = 1;
  }
  return present;
}
