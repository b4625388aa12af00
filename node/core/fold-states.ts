import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { removeWhole } from '../../src/durable.ts';
import { exists } from '../files.ts';
import { DEFAULT_FOLD_STATES, MIN_FOLD_STATES } from './limits.ts';

export interface FoldStatesOptions {
  readonly directory: string;
  /** What makes states of different rules differ: community and merge parameters, canonical bytes. */
  readonly rule: Uint8Array;
  /** Most that are kept. Default `DEFAULT_FOLD_STATES`. */
  readonly most?: number;
}

/** The states of the fold on disk, each named by the order of updates that it is the sum of. */
export class FoldStates {
  readonly #directory: string;
  readonly #rule: Uint8Array;
  readonly #most: number;

  constructor({ directory, rule, most = DEFAULT_FOLD_STATES }: FoldStatesOptions) {
    this.#directory = directory;
    this.#rule = rule;
    this.#most = Math.max(MIN_FOLD_STATES, most);
  }

  /** Names of the states after each update: a hash chain, so that equal prefixes share their states. */
  keys(updates: readonly { readonly id: string }[]): string[] {
    let previous = createHash('sha256').update(this.#rule).digest();
    return updates.map(({ id }) => {
      previous = createHash('sha256').update(previous).update(id).digest();
      return previous.toString('hex');
    });
  }

  path(key: string): string {
    return join(this.#directory, key);
  }

  /** After how many of the updates there is a state to go on from. */
  async longestPrefix(keys: readonly string[]): Promise<number> {
    for (let length = keys.length; length > 0; length--) {
      if (await exists(this.path(keys[length - 1]!))) return length;
    }
    return 0;
  }

  /**
   * Keeps the states that `statesToKeep` names, of those that there are.
   *
   * @param keys - of all updates
   * @param at - how many of them are folded, and how many the last seal covers
   */
  async thin(keys: readonly string[], at: { folded: number; sealed: number }): Promise<void> {
    const names = await readdir(this.#directory);
    const lengths = names.map((name) => keys.indexOf(name) + 1).filter((length) => length > 0);
    const kept = new Set(statesToKeep({ lengths, ...at }, this.#most).map((length) => keys[length - 1]));
    await this.#remove(names.filter((name) => !kept.has(name)));
  }

  /** Keeps the state after the most updates, and that of the last seal. */
  async shed(keys: readonly string[], { sealed }: { sealed: number }): Promise<void> {
    const names = await readdir(this.#directory);
    const newest = Math.max(0, ...names.map((name) => keys.indexOf(name) + 1));
    const needed = new Set([keys[newest - 1], keys[sealed - 1]]);
    await this.#remove(names.filter((name) => !needed.has(name)));
  }

  async dropAll(): Promise<void> {
    await this.#remove(await readdir(this.#directory));
  }

  async #remove(names: readonly string[]): Promise<void> {
    for (const name of names) await removeWhole(this.path(name));
  }
}

/**
 * Which states to keep of those after so many updates: the newest, the one before it (a late update usually lands right before
 * the end), that of the last seal (nothing before it moves), and of the others one in each doubling of the distance to the
 * end, the furthest first: what lands anywhere costs about as much again as what follows it.
 */
export function statesToKeep(
  { lengths, folded, sealed }: { lengths: readonly number[]; folded: number; sealed: number },
  most: number,
): number[] {
  const needed = new Set([folded, folded - 1, sealed]);
  const kept = lengths.filter((length) => needed.has(length));
  const oldest = new Map<number, number>();
  for (const length of lengths) {
    if (needed.has(length) || length > folded) continue;
    const bucket = Math.floor(Math.log2(folded - length));
    oldest.set(bucket, Math.min(oldest.get(bucket) ?? length, length));
  }
  const sparse = [...oldest.values()].sort((a, b) => a - b);
  return [...kept, ...sparse.slice(0, Math.max(0, most - kept.length))];
}
