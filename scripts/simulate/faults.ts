import { PING_INTERVAL_MS, PING_TIMEOUT_MS } from '../../protocols/host.ts';
import type { SimNode } from './node.ts';
import type { SimulationOptions } from './options.ts';
import { exponential, sample, seededRandom } from './random.ts';
import type { World } from './world.ts';

/** Mean time for which a node that stopped is gone, in milliseconds. */
const DOWN_MS = 20_000;

/** What goes wrong in a run, planned from the seed: a partition, and nodes that stop and come back. */
export class Faults {
  readonly #world: World;
  readonly #nodes: readonly SimNode[];
  readonly #states: () => number;
  readonly #random: () => number;
  #pending = 0;
  /** Nodes that stopped. */
  stops = 0;
  /** When the partition healed, in milliseconds of the run, and in how many different states the nodes were. */
  healed: { readonly at: number; readonly states: number } | null = null;

  constructor(
    options: { seed: string },
    components: { world: World; nodes: readonly SimNode[]; states: () => number },
  ) {
    this.#states = components.states;
    this.#world = components.world;
    this.#nodes = components.nodes;
    this.#random = seededRandom(`${options.seed} faults`);
  }

  /** Whether nothing more will go wrong. */
  get over(): boolean {
    return this.#pending === 0;
  }

  /** Plans everything from now on. @param during - milliseconds in which nodes stop */
  begin({ partition, churn }: SimulationOptions, during: number): void {
    if (partition !== null) {
      this.#after(partition.fromMs, () => this.#cut(partition.share));
      this.#after(partition.toMs, () => this.#heal());
    }
    if (churn === 0) return;
    const honest = this.#nodes.filter((node) => node.honest);
    for (let at = exponential(60_000 / churn, this.#random); at < during; ) {
      const [node] = sample(honest, 1, this.#random);
      const down = exponential(DOWN_MS, this.#random);
      this.#after(at, () => this.#stop(node!, down));
      at += exponential(60_000 / churn, this.#random);
    }
  }

  #cut(share: number): void {
    const { links, trace, wires } = this.#world;
    const away = new Set(sample(this.#nodes, Math.round(share * this.#nodes.length), this.#random));
    const sides = this.#nodes.map((node) => Number(away.has(node)));
    links.cut((node) => sides[node]!);
    trace.note('cut', sides.join(''));
    for (const wire of wires) {
      if (links.reaches(...wire.nodes)) continue;
      // Nothing says that a connection is dead but a ping that stays without an answer.
      const noticed = PING_TIMEOUT_MS + this.#random() * PING_INTERVAL_MS;
      setTimeout(() => wire.break('no answer to a ping'), noticed);
    }
  }

  #heal(): void {
    const { links, trace } = this.#world;
    links.heal();
    trace.note('heal');
    this.healed = { at: links.now, states: this.#states() };
  }

  #stop(node: SimNode, down: number): void {
    if (!node.online) return;
    this.stops++;
    this.#pending++;
    this.#world.trace.note('stop', node.index);
    void node.stop().then(() => {
      setTimeout(() => {
        this.#world.trace.note('start', node.index);
        void node.start().then(() => this.#pending--);
      }, down);
    });
  }

  #after(milliseconds: number, run: () => void): void {
    this.#pending++;
    setTimeout(() => {
      this.#pending--;
      run();
    }, milliseconds);
  }
}
