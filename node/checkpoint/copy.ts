import { createWriteStream } from 'node:fs';
import type { FileHandle } from 'node:fs/promises';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { fsyncDir, renameDurably, writeFileDurably } from '../../src/durable.ts';
import type { Charter } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import { checkpointNames, checkSideFiles } from './files.ts';
import { encodeSidecar, type Pullable, SIDECAR_FILE } from './sidecar.ts';
import { freshStaging } from './staging.ts';

/** A node's own finished checkpoint. */
export interface OwnCheckpoint {
  readonly view: Pullable;
  readonly checkpoint: { readonly path: string; readonly recipe: string };
}

/** Bytes read at a time. */
const COPY_CHUNK_BYTES = 1 << 20;

/**
 * Copies a node's own finished checkpoint: the charter's files, each flushed, and the sidecar. `out` appears whole.
 *
 * @returns bytes copied, or undefined when the node removed the checkpoint meanwhile, as it does with old ones
 * @throws NodeError `VERIFY_FAILED` when a side file is not the charter's: the base's was changed
 */
export async function copyCheckpoint(
  { view, checkpoint }: OwnCheckpoint,
  out: string,
  charter: Charter,
  run: RunOptions = {},
): Promise<number | undefined> {
  const files = await openAll(checkpoint.path, checkpointNames(charter));
  if (files === undefined) return undefined;
  try {
    const staging = await freshStaging(out);
    try {
      const bytes = await copyAll(files, staging, run);
      await checkSideFiles(staging, charter, run);
      await writeFileDurably(join(staging, SIDECAR_FILE), encodeSidecar(view));
      await fsyncDir(staging);
      await renameDurably(staging, out);
      return bytes;
    } catch (error) {
      await rm(staging, { recursive: true, force: true });
      throw error;
    }
  } finally {
    await closeAll(files);
  }
}

/** What is told when a finished checkpoint lacks files and nothing replaces it. */
export function damagedCheckpoint({ path, recipe }: OwnCheckpoint['checkpoint']): NodeError {
  return new NodeError('OBJECT_CORRUPT', `${path} lacks files: remove it and start the node again, it merges anew`, {
    path,
    recipe,
  });
}

/** All of the files, or undefined when one is gone. An open file stays readable whatever becomes of its name. */
async function openAll(directory: string, names: readonly string[]): Promise<Map<string, FileHandle> | undefined> {
  const files = new Map<string, FileHandle>();
  try {
    for (const name of names) files.set(name, await open(join(directory, name), 'r'));
    return files;
  } catch (error) {
    await closeAll(files);
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

async function copyAll(files: ReadonlyMap<string, FileHandle>, to: string, run: RunOptions): Promise<number> {
  const sizes = await Promise.all([...files.values()].map(async (file) => (await file.stat()).size));
  const total = sizes.reduce((sum, size) => sum + size, 0);
  let done = 0;
  for (const [name, file] of files) {
    const source = file.createReadStream({ autoClose: false, highWaterMark: COPY_CHUNK_BYTES });
    source.on('data', (chunk) => {
      done += chunk.length;
      run.onProgress?.({ phase: 'copying checkpoint', done, total, unit: 'bytes' });
    });
    const target = createWriteStream(join(to, name), { flags: 'wx', flush: true });
    await pipeline(source, target, { ...(run.signal && { signal: run.signal }) });
  }
  return total;
}

async function closeAll(files: ReadonlyMap<string, FileHandle>): Promise<void> {
  await Promise.allSettled([...files.values()].map((file) => file.close()));
}
