import { lstat, mkdir, readdir, realpath, rm, rmdir } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { fsyncDir, recoverReplaced, renameDurably, replaceDirectoryDurably, tempSibling } from '../durable.ts';
import type { RunOptions } from '../run-options.ts';
import { asCheckpointError, CheckpointError, quote } from './errors.ts';
import type { TensorInfo } from './header.ts';
import type { TensorPlan } from './layout.ts';
import { MAX_SIDE_FILE_BYTES, MAX_SIDE_FILES } from './limits.ts';
import { INDEX_FILE, SINGLE_FILE } from './open.ts';
import { isPlainName } from './shard-index.ts';
import { copySideFile, writeNewFile } from './side-files.ts';
import { type CheckpointWriter, createSafetensors } from './writer.ts';

export interface CheckpointDirectoryWriter extends CheckpointWriter {
  /** Adds a small file beside the weights, e.g. a recipe. @throws CheckpointError INVALID_FILE_NAME, SIDE_FILE_LIMIT */
  addFile(name: string, bytes: Uint8Array): Promise<void>;
}

export interface CheckpointDirectoryPlan {
  readonly tensors: readonly TensorPlan[];
  readonly metadata?: Readonly<Record<string, string>>;
  /** Files to copy, e.g. the `sideFiles` of the base. */
  readonly sideFiles?: readonly { readonly name: string; readonly path: string }[];
  /** Replace an existing checkpoint directory instead of refusing it. Nothing else is ever replaced. */
  readonly overwrite?: boolean;
}

/**
 * Starts a checkpoint directory in Hugging Face layout: `model.safetensors` and side files. It is built in a hidden
 * directory beside `target` and appears whole at `commit`; whatever fails leaves nothing behind and the old one intact.
 *
 * @throws CheckpointError TARGET_EXISTS, TARGET_NOT_CHECKPOINT, PARENT_MISSING
 */
export async function createCheckpointDirectory(
  target: string,
  plan: CheckpointDirectoryPlan,
  options: RunOptions = {},
): Promise<CheckpointDirectoryWriter> {
  options.signal?.throwIfAborted();
  const path = await realTarget(target);
  const overwrite = plan.overwrite ?? false;
  await checkTarget(path, overwrite);
  const staging = tempSibling(path);
  try {
    await mkdir(staging);
    const weights = await createSafetensors(join(staging, SINGLE_FILE), plan.tensors, {
      metadata: plan.metadata ?? {},
    });
    const writer = new DirectoryWriter(path, staging, weights, overwrite);
    try {
      for (const { name, path: from } of plan.sideFiles ?? []) {
        await copySideFile(from, writer.claim(name), options);
      }
    } catch (error) {
      await writer.abort();
      throw error;
    }
    return writer;
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw asCheckpointError(error, path);
  }
}

class DirectoryWriter implements CheckpointDirectoryWriter {
  readonly #path: string;
  readonly #staging: string;
  readonly #weights: CheckpointWriter;
  readonly #overwrite: boolean;
  readonly #names = new Set<string>();

  constructor(path: string, staging: string, weights: CheckpointWriter, overwrite: boolean) {
    this.#path = path;
    this.#staging = staging;
    this.#weights = weights;
    this.#overwrite = overwrite;
  }

  get tensors(): readonly TensorInfo[] {
    return this.#weights.tensors;
  }

  write(name: string, bytes: Uint8Array): Promise<void> {
    return this.#weights.write(name, bytes);
  }

  writeChunks(
    name: string,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options?: RunOptions,
  ): Promise<void> {
    return this.#weights.writeChunks(name, chunks, options);
  }

  async addFile(name: string, bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength > MAX_SIDE_FILE_BYTES) {
      const text = `${quote(name)}: ${bytes.byteLength} bytes, above the ${MAX_SIDE_FILE_BYTES} of a side file.`;
      throw new CheckpointError('SIDE_FILE_LIMIT', text, { name, size: bytes.byteLength, limit: MAX_SIDE_FILE_BYTES });
    }
    const path = this.claim(name);
    await writeNewFile(path, bytes).catch((error: unknown) => {
      throw asCheckpointError(error, path);
    });
  }

  /** The path of a new side file in the staging directory. */
  claim(name: string): string {
    // Some file systems fold case: names that differ only by it would be one file there.
    const folded = name.toLowerCase();
    const reserved = folded === SINGLE_FILE || folded === INDEX_FILE;
    if (!isPlainName(name) || reserved || this.#names.has(folded)) {
      const why = this.#names.has(folded) ? 'taken already' : 'not a plain, free file name';
      throw new CheckpointError('INVALID_FILE_NAME', `side file ${quote(name)}: ${why}.`, { name });
    }
    if (this.#names.size === MAX_SIDE_FILES) {
      const text = `more than ${MAX_SIDE_FILES} side files. Leave some out.`;
      throw new CheckpointError('SIDE_FILE_LIMIT', text, { name, limit: MAX_SIDE_FILES });
    }
    this.#names.add(folded);
    return join(this.#staging, name);
  }

  async commit(): Promise<void> {
    await this.#weights.commit();
    try {
      await fsyncDir(this.#staging);
      const found = await checkTarget(this.#path, this.#overwrite);
      if (found === 'full') {
        await replaceDirectoryDurably(this.#staging, this.#path);
        return;
      }
      // POSIX renames over an empty directory, Windows does not.
      if (found === 'empty') await rmdir(this.#path);
      await renameDurably(this.#staging, this.#path);
    } catch (error) {
      await this.abort();
      throw asCheckpointError(error, this.#path);
    }
  }

  async abort(): Promise<void> {
    await this.#weights.abort();
    await rm(this.#staging, { recursive: true, force: true });
  }
}

/** The target with links resolved, so that the directory is replaced and not the link to it. */
async function realTarget(target: string): Promise<string> {
  const path = resolve(target);
  try {
    const parent = await realpath(dirname(path));
    await recoverReplaced(path);
    return await realpath(path).catch(() => join(parent, basename(path)));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw asCheckpointError(error, path);
    const text = `${path}: the directory that should hold it is not there. Create it first.`;
    throw new CheckpointError('PARENT_MISSING', text, { path }, { cause: error });
  }
}

/** What is at the target; throws where it must not be replaced. */
async function checkTarget(path: string, overwrite: boolean): Promise<'absent' | 'empty' | 'full'> {
  const info = await lstat(path).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw asCheckpointError(error, path);
  });
  if (info === undefined) return 'absent';
  const names = info.isDirectory() ? await readdir(path) : undefined;
  if (names?.length === 0) return 'empty';
  if (!overwrite) {
    const text = `${path}: exists already and is not an empty directory. Choose another one, or ask to overwrite it.`;
    throw new CheckpointError('TARGET_EXISTS', text, { path });
  }
  // Overwriting deletes a whole directory: only what is plainly a checkpoint, never somebody's home.
  if (!names?.some((name) => name === SINGLE_FILE || name === INDEX_FILE)) {
    const text = `${path}: not a checkpoint directory, so it is not overwritten. Choose another one.`;
    throw new CheckpointError('TARGET_NOT_CHECKPOINT', text, { path });
  }
  return 'full';
}
