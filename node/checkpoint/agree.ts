import { setTimeout as sleep } from 'node:timers/promises';
import type { CID } from 'multiformats/cid';
import type { Blocks, FetchedPayload } from '../../protocols/index.ts';
import { ProtocolError } from '../../protocols/index.ts';
import type { Snapshot } from '../../src/history/index.ts';
import type { CheckpointDocument, Head, LogEntry } from '../../src/log/index.ts';
import { decodeCheckpoint, decodeSignedHead, isSealEntry, MAX_CHECKPOINT_BYTES } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Community } from '../core/community.ts';
import type { View } from '../core/view.ts';
import { NodeError } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { Fetcher } from '../net/fetcher.ts';
import type { Visit } from '../net/visitor.ts';
import { Patience } from './patience.ts';

/** How often a peer that still merges is asked again, in milliseconds. */
export const PULL_POLL_MS = 500;
/**
 * How long a pull waits for its peer while nothing new comes: no update, no block of one, no other head. In
 * milliseconds. The download of the checkpoint has no such limit.
 */
export const PULL_PATIENCE_MS = 600_000;
/** Times in a row that a peer whose connection was lost is dialled again, and milliseconds before each: a router that restarts. */
export const MAX_REDIALS = 5;
export const REDIAL_WAIT_MS = 1_000;

export interface PullComponents {
  readonly community: Community;
  readonly signal: AbortSignal;
  readonly logger: Logger;
  /** Default: `PULL_PATIENCE_MS`. */
  readonly patienceMs?: number;
}

type AgreeComponents = PullComponents & { readonly tail: boolean };

/** Syncs until the own view and the peer's finished checkpoint are of the same recipe. */
export async function agree(
  visited: Visit,
  components: AgreeComponents,
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
  components: AgreeComponents & { patience: Patience },
  run: RunOptions,
): Promise<{ view: PulledModel; document: CheckpointDocument }> {
  const { community, logger, patience } = components;
  const { book } = community;
  const signal = AbortSignal.any([components.signal, patience.signal]);
  const fetcher = new Fetcher({ book, blocks: watched(blocks, () => patience.reset()), peers: () => [peer], logger });
  const take = async (entries: readonly LogEntry[]) => {
    for (const entry of entries) {
      if (isSealEntry(entry)) await book.takeSeal(entry.sealed);
      else await book.take(entry, null, peer.toString());
    }
    fetcher.poke();
  };
  const redialling = redialler(signal);
  let most = 0;
  let lastHead = '';
  try {
    for (;;) {
      const pulled = await redialling(() => sync.pull(peer, take, { signal }));
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
          const id = theirs.checkpoint;
          return { view: own, document: await redialling(() => fetchDocument(blocks, peer, id, own, signal)) };
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

/**
 * Runs what asks the peer, and again when the connection was lost: but not the first time, for who was never reached is none
 * that comes back.
 */
function redialler(signal: AbortSignal) {
  let reached = false;
  return async <T>(ask: () => Promise<T>): Promise<T> => {
    for (let redials = 0; ; redials++) {
      try {
        const answer = await ask();
        reached = true;
        return answer;
      } catch (error) {
        if (!reached || !isLost(error) || redials >= MAX_REDIALS) throw error;
        await sleep(REDIAL_WAIT_MS, undefined, { signal });
      }
    }
  };
}

function isLost(error: unknown): boolean {
  return error instanceof ProtocolError && (error.code === 'TRUNCATED' || error.code === 'UNREACHABLE');
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

function sameIds(a: readonly CID[], b: readonly CID[]): boolean {
  const known = new Set(a.map(String));
  return a.length === b.length && b.every((id) => known.has(id.toString()));
}
