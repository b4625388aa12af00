import type { SimNode } from './node.ts';

/**
 * Watches when the nodes agree: all honest nodes that run hold the same records, have decided on all of them, and have
 * the same recipe.
 */
export class Convergence {
  readonly #now: () => number;
  readonly #nodes: readonly SimNode[];
  /** What each honest node that runs has: recipe, last seal, and tips of its log, which name all that it holds. */
  readonly #states = new Map<number, string>();
  readonly #counts = new Map<string, number>();
  #changedAt = 0;

  constructor(components: { nodes: readonly SimNode[]; now: () => number }) {
    this.#nodes = components.nodes;
    this.#now = components.now;
  }

  /** A node began, stopped, or has another view. */
  changed(node: SimNode): void {
    if (!node.honest) return;
    const { view } = node.community ?? {};
    const seal = view?.seals.at(-1)?.id ?? '-';
    const next = node.online && view !== undefined ? `${view.recipeId} ${seal} ${view.frontier.join(' ')}` : undefined;
    const before = this.#states.get(node.index);
    if (next === before) return;
    this.#changedAt = this.#now();
    this.#count(before, -1);
    this.#count(next, 1);
    if (next === undefined) this.#states.delete(node.index);
    else this.#states.set(node.index, next);
  }

  /** When the last node changed what it has, in milliseconds of the run. */
  get changedAt(): number {
    return this.#changedAt;
  }

  /** Different states that honest nodes are in: 1 when they agree. */
  get states(): number {
    return this.#counts.size;
  }

  get recipe(): string | undefined {
    const [state] = this.#counts.keys();
    return this.#counts.size === 1 ? state!.split(' ')[0] : undefined;
  }

  /** Whether all honest nodes run, agree, and hold these updates. */
  agreed(updates: number): boolean {
    if (this.#counts.size !== 1) return false;
    const honest = this.#nodes.filter((node) => node.honest);
    return (
      this.#states.size === honest.length &&
      honest.every(({ community }) => community?.deciding === false && community.book.log.size >= updates)
    );
  }

  #count(state: string | undefined, change: 1 | -1): void {
    if (state === undefined) return;
    const count = (this.#counts.get(state) ?? 0) + change;
    if (count > 0) this.#counts.set(state, count);
    else this.#counts.delete(state);
  }
}
