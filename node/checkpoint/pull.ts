import { resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CID } from 'multiformats/cid';
import type { Blocks, FetchedPayload, JoinLine } from '../../protocols/index.ts';
import { logSource } from '../../protocols/index.ts';
import type { Snapshot } from '../../src/history/index.ts';
import type { Charter, CheckpointDocument, Head } from '../../src/log/index.ts';
import { decodeCheckpoint, decodeSignedHead, isSealEntry, MAX_CHECKPOINT_BYTES } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Community } from '../core/community.ts';
import type { View } from '../core/view.ts';
import { NodeError } from '../errors.ts';
import { exists } from '../files.ts';
import type { Logger } from '../logger.ts';
import { Fetcher } from '../net/fetcher.ts';
import { type Visit, visit } from '../net/visitor.ts';
import { copyCheckpoint, damagedCheckpoint, type OwnCheckpoint } from './copy.ts';
import { download } from './download.ts';
import { filesToTake } from './files.ts';
import { Patience } from './patience.ts';
import { encodeSidecar, type Pullable } from './sidecar.ts';

/** How often a peer that still merges is asked again, in milliseconds. */
export const PULL_POLL_MS = 500;
/**
 * How long a pull waits for its peer while nothing new comes: no update, no block of one, no other head. In
 * milliseconds. The download of the checkpoint has no such limit.
 */
export const PULL_PATIENCE_MS = 600_000;

export interface PullOptions {
  readonly out: string;
  /** Only this recipe will do. */
  readonly recipe?: string | undefined;
  /** The provisional model, also where something is sealed. */
  readonly tail?: boolean | undefined;
  /** Leave this accepted update out: a local fork, which the node that holds the home makes. */
  readonly without?: string | undefined;
}

export interface Pulled {
  readonly out: string;
  readonly recipe: string;
  readonly updates: number;
  readonly bytes: number;
  /** It is not what a seal makes final. */
  readonly provisional: boolean;
  /** Number of the last seal that is applied in it. */
  readonly seal: number | null;
  /** The update that a local fork leaves out. */
  readonly without: string | null;
}

interface PullComponents {
  readonly community: Community;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Default: `PULL_PATIENCE_MS`. */
  readonly patienceMs?: number;
}

/** @throws NodeError `OUT_EXISTS` */
export async function checkOut(out: string): Promise<string> {
  const path = resolve(out);
  if (await exists(path)) throw new NodeError('OUT_EXISTS', `${path} exists: choose another --out`, { path });
  return path;
}

/**
 * Pulls the merged checkpoint from a peer: brings the log of this home up to date, decides on it by the charter's
 * rules, and takes only the checkpoint whose recipe is what came out, and of that only the files that the charter knows:
 * the weights, and side files of the charter's content. That the weights are what the recipe makes is for `verify` to
 * say. A download that is cut off goes on where it was when the same `out` is pulled again.
 *
 * @throws NodeError `RECIPE_MISMATCH` when the peer merged otherwise than the log says, `VERIFY_FAILED` when its files
 *   cannot be the checkpoint's, `RECIPE_UNKNOWN`, `NETWORK_UNREACHABLE`; ProtocolError. Nothing is at `out` then.
 */
export async function pullFromPeer(
  line: Pick<JoinLine, 'address' | 'community'>,
  options: PullOptions,
  components: PullComponents,
  run: RunOptions = {},
): Promise<Pulled> {
  const out = await checkOut(options.out);
  const { community, signal, logger } = components;
  const { charterId, charter } = community.options;
  const source = logSource({ log: community.book.log, charter: charterId, head: () => null });
  return await visit(line, { signal, source }, async (visited) => {
    const { view, document } = await agree(visited, { ...components, tail: options.tail === true }, run);
    const recipe = view.recipeId.toString();
    if (options.recipe !== undefined && options.recipe !== recipe) throw otherRecipe(recipe, options.recipe);
    const files = filesToTake(document, charter, visited.peer.toString());
    const wanted = { out, recipe, files, sidecar: encodeSidecar(view), charter };
    const bytes = await download(visited, wanted, { ...run, signal, logger });
    return { out, bytes, ...describePulled(view) };
  });
}

/** Syncs until the own view and the peer's finished checkpoint are of the same recipe. */
async function agree(
  visited: Visit,
  components: PullComponents & { tail: boolean },
  run: RunOptions,
): Promise<{ view: PulledModel; document: CheckpointDocument }> {
  const patience = new Patience(components.patienceMs ?? PULL_PATIENCE_MS);
  try {
    return await untilAgreed(visited, { ...components, patience }, run);
  } catch (error) {
    components.signal.throwIfAborted();
    if (!patience.lost) throw error;
    throw new NodeError(
      'NETWORK_UNREACHABLE',
      `${visited.peer} comes up with no finished checkpoint and nothing new: try another node, or later`,
      { peer: visited.peer.toString() },
    );
  } finally {
    patience.pause();
  }
}

async function untilAgreed(
  { peer, sync, blocks }: Visit,
  components: PullComponents & { patience: Patience; tail: boolean },
  run: RunOptions,
): Promise<{ view: PulledModel; document: CheckpointDocument }> {
  const { community, logger, patience } = components;
  const { book } = community;
  const signal = AbortSignal.any([components.signal, patience.signal]);
  const fetcher = new Fetcher({ book, blocks: watched(blocks, () => patience.reset()), peers: () => [peer], logger });
  let most = 0;
  let lastHead = '';
  try {
    for (;;) {
      const pulled = await sync.pull(
        peer,
        async (entries) => {
          for (const entry of entries) {
            if (isSealEntry(entry)) await book.takeSeal(entry.sealed);
            else await book.take(entry, null, peer.toString());
          }
          fetcher.poke();
        },
        { signal },
      );
      const known = book.log.size + book.log.pendingSize;
      run.onProgress?.({ phase: 'fetching updates', done: book.log.size, total: known, unit: 'updates' });
      const head = pulled.head === null ? undefined : decodeSignedHead(pulled.head).head;
      const headNow = head === undefined ? '' : substance(head);
      if (known > most || headNow !== lastHead) patience.reset();
      most = Math.max(most, known);
      lastHead = headNow;
      if (pulled.complete && pulled.withheld === 0 && book.log.pendingSize === 0 && head !== undefined) {
        // Deciding is this node's own work, and no fault of the peer.
        patience.pause();
        const view = await community.settled();
        patience.resume();
        const { own, theirs, comparable } = models(view, head, components.tail);
        const same = own !== null && theirs?.recipe.equals(own.recipeId) === true;
        if (same && theirs?.checkpoint) {
          return { view: own, document: await fetchDocument(blocks, peer, theirs.checkpoint, own, signal) };
        }
        if (!same && comparable && own !== null && theirs !== null) {
          throw new NodeError(
            'RECIPE_MISMATCH',
            `${peer} says its recipe is ${theirs.recipe}, but its updates make ${own.recipeId}: pull from another node`,
            { peer: peer.toString(), claimed: theirs.recipe.toString(), derived: own.recipeId.toString() },
          );
        }
      }
      await sleep(PULL_POLL_MS, undefined, { signal });
    }
  } finally {
    await fetcher.stop();
  }
}

/** A model, and whether it is provisional. */
type PulledModel = Snapshot & { readonly provisional: boolean };

/**
 * The model that is asked for, as it follows here and as the peer's head names it; null while one of the two knows no seal that
 * the other knows. `comparable`: both are made of the same records and seals, so that they must be the same.
 */
function models(view: View, head: Head, tail: boolean) {
  const { sealed } = view;
  if (!tail && (sealed !== null || head.sealed !== null)) {
    const comparable = sealed?.seal?.id.equals(head.sealed?.seal) === true;
    return { own: sealed && { ...sealed, provisional: false }, theirs: head.sealed, comparable };
  }
  const sameSeal = (view.seal?.id.toString() ?? null) === (head.sealed?.seal.toString() ?? null);
  const comparable = sameSeal && !head.truncated && sameIds(head.frontier, view.frontier);
  return {
    own: { ...view, provisional: true },
    theirs: { recipe: head.recipe, checkpoint: head.checkpoint },
    comparable,
  };
}

function describePulled({ recipeId, accepted, provisional, seal, without }: Pullable & { provisional: boolean }) {
  return {
    recipe: recipeId.toString(),
    updates: accepted.length,
    provisional,
    seal: seal?.number ?? null,
    without: without?.toString() ?? null,
  };
}

/** What a head says, without the counter that grows with every signature. */
function substance({ recipe, checkpoint, held, accepted, sealed }: Head): string {
  return [recipe, checkpoint, held, accepted, sealed?.recipe, sealed?.checkpoint].map(String).join(' ');
}

/** The same blocks, telling of every one, and of every small payload, that came. */
function watched(blocks: Blocks, came: () => void): Blocks {
  return {
    protocol: blocks.protocol,
    start: () => blocks.start(),
    stop: () => blocks.stop(),
    fetchObject: (peers, id, options) => blocks.fetchObject(peers, id, options),
    fetchPayloads: (peer, ids, take, options) => {
      const taken = async (payload: FetchedPayload) => {
        await take(payload);
        came();
      };
      return blocks.fetchPayloads(peer, ids, taken, options);
    },
    fetchBlob: (peers, id, sink, options) => {
      const write = async (index: number, bytes: Uint8Array) => {
        await sink.write(index, bytes);
        came();
      };
      return blocks.fetchBlob(peers, id, { has: (index) => sink.has(index), write }, options);
    },
  };
}

async function fetchDocument(
  blocks: Blocks,
  peer: Visit['peer'],
  id: CID,
  view: Snapshot,
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

/**
 * Copies a node's own finished checkpoint.
 *
 * @param components - `finished`: the checkpoint of the current recipe; asked again when the node removed it meanwhile
 */
export async function pullLocal(
  options: PullOptions,
  components: { charter: Charter; finished: () => Promise<OwnCheckpoint & { provisional: boolean }> },
  run: RunOptions = {},
): Promise<Pulled> {
  const out = await checkOut(options.out);
  let gone: string | undefined;
  for (;;) {
    const own = await components.finished();
    const { recipe, path } = own.checkpoint;
    if (options.recipe !== undefined && options.recipe !== recipe) throw otherRecipe(recipe, options.recipe);
    const bytes = await copyCheckpoint(own, out, components.charter, run);
    if (bytes !== undefined) return { out, bytes, ...describePulled({ ...own.view, provisional: own.provisional }) };
    if (gone === path) throw damagedCheckpoint(own.checkpoint);
    gone = path;
  }
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
