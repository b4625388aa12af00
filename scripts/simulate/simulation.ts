import pino from 'pino';
import { simulatedCommunity } from './charter.ts';
import { VirtualClock } from './clock.ts';
import { Convergence } from './convergence.ts';
import { Faults } from './faults.ts';
import { LIARS } from './liars.ts';
import { Links } from './links.ts';
import { SharedContent } from './memory-stores.ts';
import { authorKey, type NodeParts, SimNode } from './node.ts';
import type { GossipObserver } from './observation.ts';
import type { SimulationOptions } from './options.ts';
import { SyntheticPayloads } from './payloads.ts';
import { Propagation } from './propagation.ts';
import { sample, seededRandom } from './random.ts';
import { Trace, type Traffic, trafficSince } from './trace.ts';
import { Workload } from './workload.ts';
import type { World } from './world.ts';

/** Milliseconds between two nodes that begin, and share of the warm-up that all of them take at most. */
const JOIN_INTERVAL_MS = 100;
const JOIN_SHARE = 0.4;
/** Nodes that the operator of a new node has addresses of. */
const BOOTSTRAP_NODES = 2;
/** Milliseconds for which nothing may change before the nodes count as agreed; also the time of the idle traffic. */
export const SETTLE_MS = 10_000;

/** What a run showed. Times are in milliseconds of the run, from the first node's start. */
export interface SimulationReport {
  readonly options: SimulationOptions;
  readonly converged: boolean;
  /** The recipe that all honest nodes have; null while they differ. */
  readonly recipe: string | null;
  /** Different states (held records and recipe) of the honest nodes at the end. */
  readonly states: number;
  readonly firstUpdateAt: number;
  readonly lastUpdateAt: number;
  /**
   * When the partition ended, the different states of the honest nodes then, and the milliseconds until all of them had
   * decided on everything that was contributed before.
   */
  readonly healed: { readonly at: number; readonly states: number; readonly reunitedMs: number } | null;
  /** When the last node came to what all have. */
  readonly agreedAt: number;
  /** Milliseconds from the last update, or the heal when that was later, until all agreed. */
  readonly convergenceMs: number;
  /** Milliseconds from a contribution until a share of the honest nodes held it, over all updates. */
  readonly propagation: { readonly half: number; readonly most: number; readonly all: number; readonly worst: number };
  /** Of one honest node at the end: records held, updates among them, and those in the recipe. */
  readonly records: number;
  readonly held: number;
  readonly accepted: number;
  readonly revoked: number;
  readonly pending: number;
  /** Number of the last seal that is applied. */
  readonly seals: number;
  readonly stops: number;
  /** All that was sent from the first update until all agreed. */
  readonly traffic: Traffic;
  /** All that was sent in `SETTLE_MS` afterwards, when nothing happened. */
  readonly idle: Traffic;
  /** SHA-256 over everything that happened, and how many events that is. */
  readonly digest: string;
  readonly events: number;
  readonly timers: number;
}

/** Runs one simulation. The whole process is on virtual time meanwhile: one at a time. */
export async function simulate(
  options: SimulationOptions,
  components: { observer?: GossipObserver } = {},
): Promise<SimulationReport> {
  const clock = new VirtualClock({ seed: options.seed });
  try {
    return await new Simulation(options, clock, components.observer).run();
  } finally {
    clock.stop();
  }
}

class Simulation {
  readonly #options: SimulationOptions;
  readonly #clock: VirtualClock;
  readonly #trace: Trace;
  readonly #nodes: SimNode[];
  readonly #convergence: Convergence;
  readonly #propagation: Propagation;
  readonly #faults: Faults;
  readonly #workload: Workload;
  readonly #observer: GossipObserver | undefined;
  #failure: unknown;

  constructor(options: SimulationOptions, clock: VirtualClock, observer: GossipObserver | undefined) {
    const { seed, nodes: count, latencyMs, uploadMbit, loss, liars, authors, seal } = options;
    const now = () => clock.now;
    this.#options = options;
    this.#observer = observer;
    this.#clock = clock;
    this.#trace = new Trace({ now });
    const links = new Links({ seed, latencyMs, bytesPerMs: (uploadMbit * 1_000) / 8, loss }, { now });
    const world: World = {
      links,
      trace: this.#trace,
      after: (milliseconds, run) => clock.after(milliseconds, run),
      hosts: new Map(),
      wires: new Set(),
      parsed: new Map(),
      observer,
    };
    const shared = new SharedContent();
    const parts: NodeParts = {
      seed,
      community: simulatedCommunity(seed, seal > 0 ? [authorKey(seed, 0).publicKey] : []),
      world,
      shared,
      payloads: new SyntheticPayloads({ shared }),
      logger: pino({ level: 'silent' }),
    };
    const random = seededRandom(`${seed} roles`);
    const indices = Array.from({ length: count }, (_, index) => index);
    // The first nodes are those that others join through: honest, as whoever hands out addresses is.
    const lying = sample(indices.slice(BOOTSTRAP_NODES), liars, random);
    const listener = { onChange: (node: SimNode) => this.#changed(node) };
    this.#nodes = indices.map((index) => {
      const kind = lying.indexOf(index);
      return new (kind < 0 ? SimNode : LIARS[kind % LIARS.length]!)(index, parts, listener);
    });
    if (seal > 0) this.#nodes[0]!.sealEvery(seal);
    this.#convergence = new Convergence({ nodes: this.#nodes, now });
    this.#propagation = new Propagation({ nodes: this.#nodes, now });
    this.#faults = new Faults({ seed }, { world, nodes: this.#nodes, states: () => this.#convergence.states });
    // Liars contribute too: what they do wrong is seen in updates.
    const others = this.#nodes.filter((node) => node.honest);
    const writing = [...this.#nodes.filter((node) => !node.honest), ...sample(others, authors, random)];
    this.#workload = new Workload(options, { authors: writing, now });
  }

  async run(): Promise<SimulationReport> {
    const clock = this.#clock;
    this.#begin();
    await clock.runUntil(() => this.#elapsed(this.#options.warmUpMs), Number.POSITIVE_INFINITY);
    const firstUpdateAt = clock.now;
    const before = this.#trace.traffic();
    this.#observer?.begin();
    const during = this.#workload.begin();
    this.#faults.begin(this.#options, during);
    const { partition, patienceMs } = this.#options;
    const limit = firstUpdateAt + Math.max(during, partition?.toMs ?? 0) + patienceMs;
    let agreed = before;
    let agreedSince: number | null = null;
    const converged = await clock.runUntil(() => {
      if (!this.#agrees()) agreedSince = null;
      else if (agreedSince === null) {
        agreedSince = clock.now;
        agreed = this.#trace.traffic();
      }
      return agreedSince !== null && clock.now >= agreedSince + SETTLE_MS;
    }, limit);
    const report = this.#report(converged, firstUpdateAt, before, converged ? agreed : this.#trace.traffic());
    await this.#end();
    return report;
  }

  /** Starts the nodes one after another; each knows some that began before. */
  #begin(): void {
    const random = seededRandom(`${this.#options.seed} joining`);
    const interval = Math.min(JOIN_INTERVAL_MS, (JOIN_SHARE * this.#options.warmUpMs) / this.#nodes.length);
    for (const node of this.#nodes) {
      setTimeout(() => {
        // Those with a number below that run by now: who began in the same moment has no address yet.
        const there = this.#nodes.slice(0, node.index).filter((other) => other.online && other.honest);
        node.joinThrough(sample(there, BOOTSTRAP_NODES, random));
        node.start().catch((error: unknown) => {
          this.#failure ??= error;
        });
      }, node.index * interval);
    }
  }

  /** Whether the run is that old. @throws whatever the start of a node failed with */
  #elapsed(milliseconds: number): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#clock.now >= milliseconds;
  }

  #agrees(): boolean {
    if (!this.#workload.isOver() || !this.#faults.over) return false;
    const { contributed } = this.#workload;
    return this.#convergence.agreed(contributed.filter(({ author }) => author.honest).length);
  }

  #changed(node: SimNode): void {
    const { view } = node.community ?? {};
    this.#trace.note('view', node.index, view?.recipeId.toString() ?? '-', view?.records.length ?? 0);
    this.#convergence.changed(node);
    this.#propagation.changed(node);
  }

  #report(converged: boolean, firstUpdateAt: number, before: Traffic, agreed: Traffic): SimulationReport {
    const convergence = this.#convergence;
    const { contributed } = this.#workload;
    const honest = this.#nodes.filter((node) => node.honest);
    const view = honest[0]?.community?.view;
    const lastUpdateAt = contributed.at(-1)?.at ?? firstUpdateAt;
    const { healed } = this.#faults;
    return {
      options: this.#options,
      converged,
      recipe: convergence.recipe ?? null,
      states: convergence.states,
      firstUpdateAt,
      lastUpdateAt,
      healed: healed && { ...healed, reunitedMs: this.#propagation.reunion(contributed, healed.at) },
      agreedAt: convergence.changedAt,
      convergenceMs: convergence.changedAt - Math.max(lastUpdateAt, healed?.at ?? 0),
      propagation: this.#propagation.summary(contributed),
      records: view?.records.length ?? 0,
      held: view?.updates.length ?? 0,
      accepted: view?.accepted.length ?? 0,
      revoked: view?.takenOut.size ?? 0,
      seals: view?.seals.length ?? 0,
      pending: honest[0]?.community?.book.log.pendingSize ?? 0,
      stops: this.#faults.stops,
      traffic: trafficSince(agreed, before),
      idle: trafficSince(this.#trace.traffic(), agreed),
      digest: this.#trace.digest(),
      events: this.#trace.events,
      timers: this.#clock.fired,
    };
  }

  /** Stops the nodes, so that nothing of them is left on the real clock. */
  async #end(): Promise<void> {
    let running = this.#nodes.length;
    for (const node of this.#nodes) void node.stop().finally(() => running--);
    await this.#clock.runUntil(() => running === 0, Number.POSITIVE_INFINITY);
  }
}
