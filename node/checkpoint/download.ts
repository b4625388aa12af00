import { copyFile, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ProtocolError } from '../../protocols/index.ts';
import { fsyncDir, fsyncFile, renameDurably, writeFileDurably } from '../../src/durable.ts';
import type { Charter, CheckpointFile, Manifest } from '../../src/log/index.ts';
import { BLOCK_BYTES, blockSize, decodeManifest } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import type { Visit } from '../net/visitor.ts';
import { BlobStore } from '../stores/blob-store.ts';
import { checkSideFiles } from './files.ts';
import { SIDECAR_FILE } from './sidecar.ts';
import { claimStaging, keepBlobs } from './staging.ts';

/** Bytes of an encoded manifest for each block, and beside them. */
const MANIFEST_BLOCK_BYTES = 34;
const MANIFEST_REST_BYTES = 64;

export interface DownloadOptions {
  /** Must not exist; appears whole. */
  readonly out: string;
  readonly recipe: string;
  readonly files: readonly CheckpointFile[];
  readonly sidecar: Uint8Array;
  readonly charter: Charter;
}

/**
 * Fetches the files into a hidden directory beside `out`, which then appears whole. There is no total time limit: the
 * protocol gives up on a peer that sends nothing. What came before that stays, and the next pull goes on from it.
 *
 * @returns bytes of the checkpoint
 * @throws NodeError `VERIFY_FAILED` when a file is not what the charter says; ProtocolError; the signal's reason
 */
export async function download(
  { peer, blocks }: Pick<Visit, 'peer' | 'blocks'>,
  options: DownloadOptions,
  run: RunOptions & { signal: AbortSignal; logger: Logger },
): Promise<number> {
  const { files, out } = options;
  const staging = await claimStaging(out, options.recipe);
  const store = new BlobStore({ directory: staging });
  const total = files.reduce((sum, file) => sum + file.size, 0);
  let done = 0;
  const came = (bytes: number) => {
    done += bytes;
    run.onProgress?.({ phase: 'pulling checkpoint', done, total, unit: 'bytes' });
  };
  try {
    await keepBlobs(
      staging,
      files.map(({ manifest }) => manifest.toString()),
    );
    for (const file of files) {
      if (await store.has(file.manifest, file.size)) came(file.size);
      else await fetchFile(file, { peer, blocks, store }, came, run.signal);
    }
    await nameFiles(files, store, staging);
    await checkSideFiles(staging, options.charter, run);
    await writeFileDurably(join(staging, SIDECAR_FILE), options.sidecar);
    await fsyncDir(staging);
    await renameDurably(staging, out);
    return total;
  } catch (error) {
    const interrupted = run.signal.aborted || error instanceof ProtocolError;
    if (interrupted && (await readdir(staging)).length > 0) {
      run.logger.warn({ kept: staging }, 'the pull is not finished; the same command goes on from what came');
    } else {
      await rm(staging, { recursive: true, force: true });
    }
    throw error;
  }
}

async function fetchFile(
  { name, size, manifest: id }: CheckpointFile,
  { peer, blocks, store }: Pick<Visit, 'peer' | 'blocks'> & { store: BlobStore },
  came: (bytes: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const manifest = await fetchManifest();
  const writer = await store.writer(id, manifest);
  try {
    for (let index = 0; index < manifest.blocks.length; index++) {
      if (writer.has(index)) came(blockSize(manifest, index));
    }
    const sink = {
      has: (index: number) => writer.has(index),
      write: async (index: number, bytes: Uint8Array) => {
        await writer.write(index, bytes);
        came(bytes.length);
      },
    };
    await blocks.fetchBlob([peer], id, sink, { manifest, signal, redial: true });
    await writer.commit();
  } finally {
    await writer.close();
  }

  async function fetchManifest(): Promise<Manifest> {
    const maxBytes = Math.ceil(size / BLOCK_BYTES) * MANIFEST_BLOCK_BYTES + MANIFEST_REST_BYTES;
    const found = decodeManifest(await blocks.fetchObject([peer], id, { signal, maxBytes }), size);
    if (found.size === size) return found;
    throw new NodeError('VERIFY_FAILED', `${peer} offers ${found.size} bytes as ${name}, and said ${size}`, {
      peer: peer.toString(),
      name,
    });
  }
}

/** Gives the blobs their names. Files of the same content are one blob. */
async function nameFiles(files: readonly CheckpointFile[], store: BlobStore, staging: string): Promise<void> {
  const left = [...files];
  for (let file = left.shift(); file !== undefined; file = left.shift()) {
    const { manifest, name } = file;
    const target = join(staging, name);
    if (left.some((other) => other.manifest.equals(manifest))) {
      await copyFile(store.path(manifest), target);
      await fsyncFile(target);
    } else {
      await renameDurably(store.path(manifest), target);
    }
  }
}
