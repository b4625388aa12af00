// Not the whole of `compute`: this thread needs no runtime.
import { describeEigensolver, type EigensolverStatus } from '../../src/compute/eigen/index.ts';
import { encodeRecipe, idOf, keyToText, MERGE_ALGORITHM } from '../../src/log/index.ts';
import type { Community } from '../core/community.ts';
import type { View } from '../core/view.ts';
import type { Network } from '../net/network.ts';
import { VERSION } from '../version.ts';
import { listWaiting } from './describe.ts';
import { describeRules, describeSealed } from './describe-seals.ts';
import type { EngineStatus, StatusDocument } from './documents.ts';

/** What a status tells of besides the community. */
export interface StatusParts {
  /** Undefined before the first admission. */
  readonly view: View | undefined;
  /** Undefined without a daemon. */
  readonly network: Network | undefined;
  /** Null while it is not known. */
  readonly engine: EngineStatus | null;
}

export function describeStatus(community: Community, parts: StatusParts): StatusDocument {
  const { view, network, engine } = parts;
  const { charter, charterId: id } = community.options;
  const { log } = community.book;
  return {
    version: VERSION,
    community: {
      id: id.toString(),
      name: charter.name,
      membership: (view?.rules.open ?? charter.membership === 'open') ? 'open' : 'members',
    },
    daemon:
      network === undefined
        ? null
        : { pid: process.pid, peerId: network.peerId, addresses: network.addresses(), join: network.joinLines() },
    author: keyToText(community.author.publicKey),
    peers: network?.connected().length ?? 0,
    log: {
      held: log.size,
      pending: log.pendingSize,
      accepted: view?.accepted.length ?? 0,
      declined: view === undefined ? 0 : [...view.decisions.values()].filter(({ accepted }) => !accepted).length,
    },
    waiting: listWaiting(community, (payload) => network?.tries(payload)),
    recipe: {
      id: view?.recipeId.toString() ?? emptyRecipe(community),
      updates: view?.accepted.length ?? 0,
      provisional: view?.sealed === null || view?.sealed.recipeId.equals(view.recipeId) !== true,
    },
    sealed: view === undefined ? null : describeSealed(view),
    rules: describeRules(community, view),
    deciding: community.deciding,
    folding: community.folding && { updates: community.folding.done, target: community.folding.total },
    checkpoint: community.checkpoint ?? null,
    problem: community.problem,
    device: engine?.description ?? null,
    eigensolver: describeSolver(community, parts),
  };
}

/** The daemon's; without one, what a fold would take here. */
function describeSolver(community: Community, { network, engine }: StatusParts): EigensolverStatus | null {
  if (engine !== null) return engine.eigensolver;
  return network === undefined ? describeEigensolver(community.options.engine.eigensolver) : null;
}

function emptyRecipe(community: Community): string {
  const { charter, charterId } = community.options;
  const { merge } = charter;
  const empty = { version: 1, charter: charterId, algorithm: MERGE_ALGORITHM, updates: [], merge } as const;
  return idOf(encodeRecipe(empty)).toString();
}
