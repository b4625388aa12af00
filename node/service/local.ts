import { setTimeout as sleep } from 'node:timers/promises';
import { leaveOut } from '../../src/history/index.ts';
import { parseId } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { type Pulled, type PullOptions, pullLocal } from '../checkpoint/pull.ts';
import type { Community } from '../core/community.ts';
import { contribute } from '../core/contribute.ts';
import { withFork } from '../core/fork.ts';
import { amend, revoke, seal } from '../core/governing.ts';
import type { View } from '../core/view.ts';
import { NodeError } from '../errors.ts';
import type { Network } from '../net/network.ts';
import { describeUpdates, findUpdate } from './describe.ts';
import { describeChanges } from './describe-record.ts';
import { describeStatus } from './describe-status.ts';
import type {
  AmendmentDocument,
  AmendRequest,
  ContributeDocument,
  ContributeRequest,
  DryRunDocument,
  EngineStatus,
  NodeEvent,
  PeerDocument,
  RevokeDocument,
  RevokeRequest,
  RulesDocument,
  SealDocument,
  StatusDocument,
  UpdateDocument,
  WhyDocument,
} from './documents.ts';
import { EventStream } from './event-stream.ts';
import { finishedModel } from './finished-model.ts';
import { describeRulesInEffect, dryRun, readChanges } from './governing.ts';
import { describePeers } from './peers.ts';
import type { NodeService } from './service.ts';

/**
 * How long a daemon's answer waits for admission that is nearly done, in milliseconds: a question right after a
 * contribution finds it decided. After that the last view answers and says `deciding`; a client waits ten times as long.
 */
export const DECIDING_GRACE_MS = 1_000;

/** The node in this process: the community, and its network when a daemon runs one. */
export class LocalService implements NodeService {
  readonly community: Community;
  readonly #events = new EventStream();
  #network: Network | undefined;
  #engine: EngineStatus | null = null;

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
    community.on('seal', ({ id, seal }) => tell({ type: 'seal', id: id.toString(), number: seal.number }));
    community.on('checkpoint', ({ recipe }) => tell({ type: 'checkpoint', recipe }));
    community.on('problem', (problem) => {
      if (problem !== null) tell({ type: 'problem', ...problem });
    });
  }

  /** The daemon's network, once it runs. */
  set network(network: Network) {
    this.#network = network;
  }

  /** What the daemon's fold runs on, once it is known. */
  get engine(): EngineStatus | null {
    return this.#engine;
  }

  set engine(engine: EngineStatus | null) {
    this.#engine = engine;
  }

  peerChanged(id: string, connected: boolean): void {
    this.#events.push([{ type: 'peer', id, connected }]);
  }

  async status(): Promise<StatusDocument> {
    const view = this.community.view ?? (await this.#lastView());
    return describeStatus(this.community, { view, network: this.#network, engine: this.#engine });
  }

  async peers(): Promise<readonly PeerDocument[]> {
    return this.#network === undefined ? [] : describePeers(this.#network);
  }

  async log(): Promise<readonly UpdateDocument[]> {
    await this.#lastView();
    return describeUpdates(this.community);
  }

  async show(id: string): Promise<UpdateDocument> {
    await this.#lastView();
    return findUpdate(this.community, id);
  }

  async why(id: string): Promise<WhyDocument> {
    const update = await this.show(id);
    const decision = this.community.view?.decisions.get(update.id);
    const { kind, verdict, gate, takenOut, revocation, epoch, provisional, deciding } = update;
    const gates = decision?.gates ?? [];
    return { update: update.id, kind, verdict, gate, takenOut, revocation, epoch, provisional, deciding, gates };
  }

  async contribute(request: ContributeRequest, options: RunOptions = {}): Promise<ContributeDocument> {
    const done = await contribute(this.community, request, options);
    if (done.signed !== null) await this.#network?.publish(done.signed, done.inline);
    return done.document;
  }

  async rules(): Promise<RulesDocument> {
    return describeRulesInEffect(this.community);
  }

  async amend({ changes, note = '' }: AmendRequest): Promise<AmendmentDocument> {
    const signed = await amend(this.community, { changes: readChanges(changes), note });
    await this.#network?.publish(signed, null);
    const { id, record } = signed;
    return { id: id.toString(), number: record.number, note: record.note, changes: describeChanges(record) };
  }

  async dryRun(changes: AmendRequest['changes'], options: RunOptions = {}): Promise<DryRunDocument> {
    return dryRun(this.community, readChanges(changes), options);
  }

  async revoke({ update, note = '' }: RevokeRequest): Promise<RevokeDocument> {
    const { id } = await this.show(update);
    const { signed, already } = await revoke(this.community, { target: parseId(id), note });
    if (!already) await this.#network?.publish(signed, null);
    const { accepted, recipeId } = await this.community.settled();
    const effective = accepted.some((update) => update.id === id) ? 'at the next seal' : 'now';
    return { revocation: signed.id.toString(), update: id, already, effective, recipe: recipeId.toString() };
  }

  async seal(options: RunOptions = {}): Promise<SealDocument | null> {
    if (this.#network?.maySeal === false) {
      const text = 'this node has not caught up with any of its peers since it started: seal again in half a minute';
      throw new NodeError('SEAL_STOPPED', text);
    }
    const signed = await seal(this.community, options);
    if (signed === null) return null;
    await this.#network?.publishSeal(signed);
    const { number, decisions, amendments, revocations, recipe, accepted } = signed.seal;
    return {
      seal: signed.id.toString(),
      number,
      records: decisions.length,
      amendments: amendments.map(String),
      revocations: revocations.map(String),
      recipe: recipe.toString(),
      updates: accepted,
    };
  }

  async pull(request: PullOptions, options: RunOptions = {}): Promise<Pulled> {
    const { base, charter } = this.community.options;
    if (base === null) {
      throw new NodeError(
        'HOME_LOCKED',
        'this home has no base, so its daemon merges nothing: stop the daemon and pull from another node, or pull with another --home',
      );
    }
    if (request.without !== undefined) return this.#pullFork(request, request.without, options);
    const parts = { community: this.community, events: this.#events };
    const finished = () => finishedModel(parts, request.tail === true, options);
    return pullLocal(request, { charter, finished }, options);
  }

  /** Folds a fork for this pull alone. */
  async #pullFork(request: PullOptions, update: string, options: RunOptions): Promise<Pulled> {
    const { charter } = this.community.options;
    const { id } = await this.show(update);
    const view = await this.community.settled();
    const whole = request.tail === true ? view : (view.sealed ?? view);
    const fork = { ...leaveOut(whole, parseId(id)), without: parseId(id) };
    return withFork(this.community, fork, options, (checkpoint) => {
      const finished = async () => ({ view: fork, checkpoint, provisional: whole === view });
      return pullLocal(request, { charter, finished }, options);
    });
  }

  /**
   * What admission came to: all of it without a daemon, because there is nobody to ask again; with one, what is there
   * after a moment.
   */
  async #lastView(): Promise<View | undefined> {
    const settled = this.community.settled();
    if (this.#network === undefined) return settled;
    const over = new AbortController();
    // A failed admission is told by the status; the last view still answers.
    const grace = sleep(DECIDING_GRACE_MS, undefined, { signal: over.signal }).catch(() => {});
    await Promise.race([settled.catch(() => {}), grace]);
    over.abort();
    return this.community.view;
  }

  events(signal: AbortSignal): AsyncIterable<NodeEvent> {
    return this.#events.subscribe(signal);
  }
}
