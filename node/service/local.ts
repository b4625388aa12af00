import { keyToText } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { checkOut, otherRecipe, type Pulled, type PullOptions, pullLocal } from '../checkpoint/pull.ts';
import type { Community } from '../core/community.ts';
import { contribute } from '../core/contribute.ts';
import type { FoldedCheckpoint } from '../core/fold-loop.ts';
import type { View } from '../core/view.ts';
import { NodeError } from '../errors.ts';
import type { Network } from '../net/network.ts';
import { VERSION } from '../version.ts';
import { describeUpdates, findUpdate, listWaiting } from './describe.ts';
import type {
  ContributeDocument,
  ContributeRequest,
  NodeEvent,
  PeerDocument,
  StatusDocument,
  UpdateDocument,
  WhyDocument,
} from './documents.ts';
import { EventStream } from './event-stream.ts';
import { describePeers } from './peers.ts';
import type { NodeService } from './service.ts';

/** The node in this process: the community, and its network when a daemon runs one. */
export class LocalService implements NodeService {
  readonly community: Community;
  readonly #events = new EventStream();
  #network: Network | undefined;
  #device: string | null = null;

  constructor(components: { community: Community }) {
    this.community = components.community;
    const { community } = this;
    const tell = (...events: NodeEvent[]) => this.#events.push(events);
    community.on('held', (records) => {
      const held = community.book.log.size;
      tell(...records.map(({ id }): NodeEvent => ({ type: 'update', id: id.toString(), held })));
    });
    community.on('view', ({ recipeId, accepted }) =>
      tell({ type: 'recipe', id: recipeId.toString(), updates: accepted.length }),
    );
    community.on('fold', (updates, target) => tell({ type: 'fold', updates, target }));
    community.on('checkpoint', ({ recipe }) => tell({ type: 'checkpoint', recipe }));
    community.on('problem', (problem) => {
      if (problem !== null) tell({ type: 'problem', ...problem });
    });
  }

  /** The daemon's network, once it runs. */
  set network(network: Network) {
    this.#network = network;
  }

  set device(device: string) {
    this.#device = device;
  }

  peerChanged(id: string, connected: boolean): void {
    this.#events.push([{ type: 'peer', id, connected }]);
  }

  async status(): Promise<StatusDocument> {
    const { community } = this;
    const { charter, charterId: id } = community.options;
    const view = community.view ?? (await community.settled());
    const { log } = community.book;
    const network = this.#network;
    return {
      version: VERSION,
      community: {
        id: id.toString(),
        name: charter.name,
        membership: charter.membership === 'open' ? 'open' : 'members',
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
        accepted: view.accepted.length,
        declined: view.updates.length - view.accepted.length,
      },
      waiting: listWaiting(community),
      recipe: { id: view.recipeId.toString(), updates: view.accepted.length, provisional: true },
      deciding: community.deciding,
      folding: community.folding && { updates: community.folding.done, target: community.folding.total },
      checkpoint: community.checkpoint ?? null,
      problem: community.problem,
      device: this.#device,
    };
  }

  async peers(): Promise<readonly PeerDocument[]> {
    return this.#network === undefined ? [] : describePeers(this.#network);
  }

  async log(): Promise<readonly UpdateDocument[]> {
    await this.community.settled();
    return describeUpdates(this.community);
  }

  async show(id: string): Promise<UpdateDocument> {
    await this.community.settled();
    return findUpdate(this.community, id);
  }

  async why(id: string): Promise<WhyDocument> {
    const update = await this.show(id);
    const decision = this.community.view?.decisions.get(update.id);
    const { verdict, gate, provisional } = update;
    return { update: update.id, verdict, gate, provisional, gates: decision?.gates ?? [] };
  }

  async contribute(request: ContributeRequest, options: RunOptions = {}): Promise<ContributeDocument> {
    const done = await contribute(this.community, request, options);
    if (done.signed !== null) await this.#network?.publish(done.signed, done.inline);
    return done.document;
  }

  async pull(request: PullOptions, options: RunOptions = {}): Promise<Pulled> {
    const out = await checkOut(request.out);
    const { view, checkpoint } = await this.#finished(options);
    if (request.recipe !== undefined && request.recipe !== checkpoint.recipe)
      throw otherRecipe(checkpoint.recipe, request.recipe);
    return pullLocal(checkpoint, { ...request, out }, { view });
  }

  /** The checkpoint of the current recipe, waiting for the fold when it lags. */
  async #finished({ signal, onProgress }: RunOptions): Promise<{ view: View; checkpoint: FoldedCheckpoint }> {
    const finished = new AbortController();
    const signals = [finished.signal, this.community.stopping, ...(signal === undefined ? [] : [signal])];
    const events = this.#events.subscribe(AbortSignal.any(signals));
    try {
      const current = await this.#upToDate();
      if (current !== undefined) return current;
      for await (const event of events) {
        if (event.type === 'fold') {
          onProgress?.({ phase: 'folding', done: event.updates, total: event.target, unit: 'updates' });
        }
        if (event.type === 'problem') throw new NodeError('FOLD_FAILED', event.message, { reason: event.code });
        const now = await this.#upToDate();
        if (now !== undefined) return now;
      }
      signal?.throwIfAborted();
      throw new NodeError('DAEMON_UNREACHABLE', 'the node is shutting down');
    } finally {
      finished.abort();
    }
  }

  events(signal: AbortSignal): AsyncIterable<NodeEvent> {
    return this.#events.subscribe(signal);
  }

  /** The checkpoint on disk, if it is that of the current recipe. */
  async #upToDate(): Promise<{ view: View; checkpoint: FoldedCheckpoint } | undefined> {
    const view = await this.community.settled();
    const { checkpoint } = this.community;
    return checkpoint?.recipe === view.recipeId.toString() ? { view, checkpoint } : undefined;
  }
}
