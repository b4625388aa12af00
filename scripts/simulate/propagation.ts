import type { SimNode } from './node.ts';
import type { Contributed } from './workload.ts';

/** Notes when each honest node has decided on each update. */
export class Propagation {
  readonly #nodes: number;
  readonly #now: () => number;
  /** By update: when nodes first had it in their view, in order. */
  readonly #times = new Map<string, number[]>();
  readonly #known = new Map<number, Set<string>>();

  constructor(components: { nodes: readonly SimNode[]; now: () => number }) {
    this.#nodes = components.nodes.filter((node) => node.honest).length;
    this.#now = components.now;
  }

  changed(node: SimNode): void {
    const records = node.community?.view?.records;
    if (!node.honest || records === undefined) return;
    const known = this.#known.get(node.index) ?? new Set<string>();
    this.#known.set(node.index, known);
    if (known.size >= records.length) return;
    for (const { id: cid } of records) {
      const id = cid.toString();
      if (known.has(id)) continue;
      known.add(id);
      const times = this.#times.get(id) ?? [];
      times.push(this.#now());
      this.#times.set(id, times);
    }
  }

  /** Medians over the updates that came to all, of the time until half, 95 % and all had decided; and the longest. */
  summary(contributed: readonly Contributed[]): { half: number; most: number; all: number; worst: number } {
    const reached = contributed.flatMap(({ signed, at }) => {
      const times = this.#times.get(signed.id.toString()) ?? [];
      return times.length < this.#nodes ? [] : [times.map((time) => time - at)];
    });
    const median = (share: number) => {
      const values = reached.map((times) => times[Math.ceil(share * times.length) - 1]!).sort((a, b) => a - b);
      return values[Math.floor(values.length / 2)] ?? Number.NaN;
    };
    const worst = reached.length === 0 ? Number.NaN : Math.max(...reached.map((times) => times.at(-1)!));
    return { half: median(0.5), most: median(0.95), all: median(1), worst };
  }

  /** Milliseconds after a heal until all nodes had decided on everything that was contributed before; NaN if never. */
  reunion(contributed: readonly Contributed[], healedAt: number): number {
    let last = healedAt;
    for (const { signed, at, author } of contributed) {
      if (at > healedAt || !author.honest) continue;
      const times = this.#times.get(signed.id.toString()) ?? [];
      if (times.length < this.#nodes) return Number.NaN;
      last = Math.max(last, times.at(-1)!);
    }
    return last - healedAt;
  }
}
