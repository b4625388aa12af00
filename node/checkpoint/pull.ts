import { resolve } from 'node:path';
import type { JoinLine } from '../../protocols/index.ts';
import { logSource } from '../../protocols/index.ts';
import type { Charter } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { NodeError } from '../errors.ts';
import { exists } from '../files.ts';
import { visit } from '../net/visitor.ts';
import { agree, type PullComponents } from './agree.ts';
import { copyCheckpoint, damagedCheckpoint, type OwnCheckpoint } from './copy.ts';
import { download } from './download.ts';
import { filesToTake } from './files.ts';
import { encodeSidecar, type Pullable } from './sidecar.ts';

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

function describePulled({ recipeId, accepted, provisional, seal, without }: Pullable & { provisional: boolean }) {
  return {
    recipe: recipeId.toString(),
    updates: accepted.length,
    provisional,
    seal: seal?.number ?? null,
    without: without?.toString() ?? null,
  };
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
