import { cp, mkdir, rm } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CID } from 'multiformats/cid';
import type { Blocks, JoinLine } from '../../protocols/index.ts';
import { logSource } from '../../protocols/index.ts';
import { fsyncDir, fsyncFile, renameDurably, tempSibling, writeFileDurably } from '../../src/durable.ts';
import type { CheckpointDocument } from '../../src/log/index.ts';
import { decodeCheckpoint, decodeSignedHead, MAX_CHECKPOINT_BYTES } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Community } from '../core/community.ts';
import type { View } from '../core/view.ts';
import { NodeError } from '../errors.ts';
import { exists } from '../files.ts';
import type { Logger } from '../logger.ts';
import { Fetcher } from '../net/fetcher.ts';
import { type Visit, visit } from '../net/visitor.ts';
import { BlobStore } from '../stores/blob-store.ts';
import { encodeSidecar, SIDECAR_FILE } from './sidecar.ts';

/** How often a peer that still merges is asked again, in milliseconds. */
export const PULL_POLL_MS = 500;
/** How long a pull waits for its peer to finish merging and to give what its log names, in milliseconds. */
export const PULL_TIMEOUT_MS = 600_000;

export interface PullOptions {
  readonly out: string;
  /** Only this recipe will do. */
  readonly recipe: string | undefined;
}

export interface Pulled {
  readonly out: string;
  readonly recipe: string;
  readonly updates: number;
  readonly bytes: number;
}

/** @throws NodeError `OUT_EXISTS` */
export async function checkOut(out: string): Promise<string> {
  const path = resolve(out);
  if (await exists(path)) throw new NodeError('OUT_EXISTS', `${path} exists: choose another --out`, { path });
  return path;
}

/**
 * Pulls the merged checkpoint from a peer: brings the log of this home up to date, decides on it by the charter's
 * rules, and takes only the checkpoint whose recipe is what came out. Every block is checked against its hash. That the
 * weights are what the recipe makes is for `verify` to say.
 *
 * @throws NodeError `RECIPE_MISMATCH` when the peer merged otherwise than the log says, `RECIPE_UNKNOWN`,
 *   `NETWORK_UNREACHABLE`. Nothing is left at `out` then.
 */
export async function pullFromPeer(
  line: Pick<JoinLine, 'address' | 'community'>,
  options: PullOptions,
  components: { community: Community; signal: AbortSignal; logger: Logger },
  run: RunOptions = {},
): Promise<Pulled> {
  const out = await checkOut(options.out);
  const { community } = components;
  const { charterId } = community.options;
  const timeout = AbortSignal.timeout(PULL_TIMEOUT_MS);
  const signal = AbortSignal.any([components.signal, timeout]);
  const source = logSource({ log: community.book.log, charter: charterId, head: () => null });
  try {
    return await visit(line, { signal, source }, async (peer) => {
      const { view, document } = await agree(peer, { ...components, signal }, run);
      if (options.recipe !== undefined && options.recipe !== view.recipeId.toString()) {
        throw otherRecipe(view.recipeId.toString(), options.recipe);
      }
      const sidecar = encodeSidecar(view);
      const bytes = await download(document, peer, sidecar, out, { ...run, signal });
      return { out, recipe: view.recipeId.toString(), updates: view.accepted.length, bytes };
    });
  } catch (error) {
    if (!timeout.aborted) throw error;
    throw new NodeError(
      'NETWORK_UNREACHABLE',
      'the peer did not come up with a finished checkpoint in time: try another',
      {
        address: line.address.toString(),
      },
    );
  }
}

/** Syncs until the own view and the peer's finished checkpoint are of the same recipe. */
async function agree(
  { peer, sync, blocks }: Visit,
  components: { community: Community; signal: AbortSignal; logger: Logger },
  run: RunOptions,
): Promise<{ view: View; document: CheckpointDocument }> {
  const { community, signal, logger } = components;
  const { book } = community;
  const fetcher = new Fetcher({ book, blocks, peers: () => [peer], logger });
  try {
    for (;;) {
      const pulled = await sync.pull(
        peer,
        async (records) => {
          for (const signed of records) await book.take(signed, null, peer.toString());
          fetcher.poke();
        },
        { signal },
      );
      run.onProgress?.({
        phase: 'fetching updates',
        done: book.log.size,
        total: book.log.size + book.log.pendingSize,
        unit: 'updates',
      });
      const head = pulled.head === null ? undefined : decodeSignedHead(pulled.head).head;
      if (pulled.complete && pulled.missing.length === 0 && book.log.pendingSize === 0 && head !== undefined) {
        const view = await community.settled();
        const same = head.recipe.toString() === view.recipeId.toString();
        if (same && head.checkpoint !== null) {
          return { view, document: await fetchDocument(blocks, peer, head.checkpoint, view, signal) };
        }
        const sameLog = !head.truncated && sameIds(head.frontier, view.frontier);
        if (!same && sameLog) {
          throw new NodeError(
            'RECIPE_MISMATCH',
            `${peer} says its recipe is ${head.recipe}, but its updates make ${view.recipeId}: pull from another node`,
            { peer: peer.toString(), claimed: head.recipe.toString(), derived: view.recipeId.toString() },
          );
        }
      }
      await sleep(PULL_POLL_MS, undefined, { signal });
    }
  } finally {
    await fetcher.stop();
  }
}

async function fetchDocument(
  blocks: Blocks,
  peer: Visit['peer'],
  id: CID,
  view: View,
  signal: AbortSignal,
): Promise<CheckpointDocument> {
  const bytes = await blocks.fetchObject([peer], id, { signal, maxBytes: MAX_CHECKPOINT_BYTES });
  const document = decodeCheckpoint(bytes);
  if (document.recipe.toString() !== view.recipeId.toString()) {
    throw new NodeError('RECIPE_MISMATCH', `${peer} offers a checkpoint of another recipe than its head names`, {
      peer: peer.toString(),
    });
  }
  return document;
}

/** Fetches the files into a hidden directory beside `out`, which then appears whole. */
async function download(
  document: CheckpointDocument,
  { peer, blocks }: Visit,
  sidecar: Uint8Array,
  out: string,
  run: RunOptions & { signal: AbortSignal },
): Promise<number> {
  const staging = tempSibling(out);
  await mkdir(dirname(out), { recursive: true });
  await mkdir(staging);
  try {
    const total = document.files.reduce((sum, file) => sum + file.size, 0);
    let done = 0;
    for (const { name, size, manifest } of document.files) {
      const partial = new BlobStore({ directory: staging });
      let writer: Awaited<ReturnType<BlobStore['writer']>> | undefined;
      try {
        await blocks.fetchBlob(
          [peer],
          manifest,
          {
            has: (index) => writer!.has(index),
            write: (index, bytes) => {
              done += bytes.length;
              run.onProgress?.({ phase: 'pulling checkpoint', done, total, unit: 'bytes' });
              return writer!.write(index, bytes);
            },
          },
          {
            signal: run.signal,
            maxBytes: size,
            onManifest: async (found) => {
              writer = await partial.writer(manifest, found);
            },
          },
        );
        await writer!.commit();
      } finally {
        await writer?.close();
      }
      await renameDurably(partial.path(manifest), join(staging, name));
    }
    await writeFileDurably(join(staging, SIDECAR_FILE), sidecar);
    await fsyncDir(staging);
    await renameDurably(staging, out);
    return total;
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
}

/** Copies a node's own finished checkpoint. */
export async function pullLocal(
  checkpoint: { readonly path: string; readonly recipe: string },
  options: PullOptions,
  components: { view: View },
): Promise<Pulled> {
  const out = await checkOut(options.out);
  const staging = tempSibling(out);
  await mkdir(dirname(out), { recursive: true });
  try {
    await cp(checkpoint.path, staging, { recursive: true });
    await writeFileDurably(join(staging, SIDECAR_FILE), encodeSidecar(components.view));
    await fsyncFile(join(staging, 'model.safetensors'));
    await renameDurably(staging, out);
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    throw error;
  }
  return { out, recipe: checkpoint.recipe, updates: components.view.accepted.length, bytes: 0 };
}

export function otherRecipe(current: string, asked: string): NodeError {
  return new NodeError('RECIPE_UNKNOWN', `the current recipe is ${current}; ${asked} is not offered`, {
    current,
    asked,
  });
}

function sameIds(a: readonly CID[], b: readonly CID[]): boolean {
  const known = new Set(a.map(String));
  return a.length === b.length && b.every((id) => known.has(id.toString()));
}
