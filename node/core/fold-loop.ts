import { createHash } from 'node:crypto';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CID } from 'multiformats/cid';
import { removeTempSiblings, removeWhole } from '../../src/durable.ts';
import { errorCode } from '../../src/errors.ts';
import { exists } from '../files.ts';
import type { Logger } from '../logger.ts';
import type { MergeCalls } from '../work/merge-calls.ts';
import type { WorkerThread } from '../work/rpc.ts';
import type { PayloadFiles } from './judge.ts';
import { DEFAULT_FOLD_STATES, MIN_FOLD_STATES } from './limits.ts';

/** First wait before a failed fold is tried again, in milliseconds; it doubles up to the last value. */
export const FOLD_RETRY_FIRST_MS = 1_000;
export const FOLD_RETRY_MAX_MS = 60_000;
/** Merged checkpoints kept: the newest, and the one before it, which peers may still be fetching. */
export const KEPT_CHECKPOINTS = 2;

/** A recipe to fold: what its checkpoint is named by, and the accepted updates in order. */
export interface FoldTarget {
  readonly recipe: CID;
  readonly updates: readonly { readonly id: string; readonly payload: CID }[];
}

export interface FoldedCheckpoint {
  readonly recipe: string;
  readonly path: string;
}

export interface FoldLoopOptions {
  /** What makes states of different rules differ: community and merge parameters, canonical bytes. */
  readonly rule: Uint8Array;
  /** The base checkpoint. */
  readonly base: string;
  /** The charter's factor on the merged task vector. */
  readonly scale: number;
  readonly community: string;
  readonly foldDirectory: string;
  readonly checkpointDirectory: string;
  /** Default `DEFAULT_FOLD_STATES`. */
  readonly states?: number;
}

/** What to bring up to date: what is sealed, where that is another recipe, and everything. */
export interface FoldTargets {
  readonly sealed: FoldTarget | null;
  readonly newest: FoldTarget;
}

export interface FoldListener {
  /** `done` of `total` updates are folded. */
  onStep(done: number, total: number): void;
  /**
   * Offers a finished checkpoint to peers, besides those of the `needed` recipes; returns the id of its document. The fold is
   * not done until it is offered.
   */
  offer(checkpoint: FoldedCheckpoint, needed: ReadonlySet<string>): Promise<CID>;
  onCheckpoint(checkpoint: FoldedCheckpoint, document: CID): void;
  onProblem(problem: { code: string; message: string } | null): void;
}

/**
 * Brings the merged checkpoints up to the sealed and the newest recipe, in the background. One fold at a time; targets that
 * arrive meanwhile coalesce into the newest; a new order starts from the longest prefix whose state is still on disk.
 */
export class FoldLoop {
  readonly #options: FoldLoopOptions;
  readonly #worker: WorkerThread<MergeCalls>;
  readonly #files: PayloadFiles;
  readonly #listener: FoldListener;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #targets: FoldTargets | undefined;
  /** The finished checkpoints of the targets, by recipe. */
  #done = new Map<string, FoldedCheckpoint>();
  #step: { readonly key: string; readonly controller: AbortController } | undefined;
  #running: Promise<void> | undefined;
  #wake: () => void = () => {};
  #failures = 0;
  /** Whether the last step that was told has others to follow. */
  #behind = false;

  constructor(
    options: FoldLoopOptions,
    components: { worker: WorkerThread<MergeCalls>; files: PayloadFiles; listener: FoldListener; logger: Logger },
  ) {
    this.#options = options;
    this.#worker = components.worker;
    this.#files = components.files;
    this.#listener = components.listener;
    this.#logger = components.logger;
  }

  async start(): Promise<void> {
    for (const directory of [this.#options.foldDirectory, this.#options.checkpointDirectory]) {
      await mkdir(directory, { recursive: true });
      await removeTempSiblings(directory);
    }
    this.#running = this.#run();
  }

  /** The finished checkpoint of the newest recipe; until there is one, that which was made last. */
  get checkpoint(): FoldedCheckpoint | undefined {
    const newest = this.#targets?.newest.recipe.toString();
    return (newest === undefined ? undefined : this.#done.get(newest)) ?? [...this.#done.values()].at(-1);
  }

  /** The finished checkpoint of one of the recipes that were asked for. */
  finished(recipe: string): FoldedCheckpoint | undefined {
    return this.#done.get(recipe);
  }

  /** Asks for the checkpoints of these recipes; replaces whatever was asked before. Asking again changes nothing. */
  aim(targets: FoldTargets): void {
    const before = this.#targets;
    if (before !== undefined && isSame(before.newest, targets.newest) && isSame(before.sealed, targets.sealed)) return;
    this.#targets = targets;
    const wanted = [targets.newest, targets.sealed].some((target) => target !== null && this.#needs(target));
    if (this.#step !== undefined && !wanted) this.#step.controller.abort();
    this.#wake();
  }

  /** Removes the checkpoints and states that only save work: all but the newest, and those of the last seal. */
  async shed(): Promise<void> {
    const targets = this.#targets;
    if (targets === undefined || this.#step !== undefined) return;
    await keepNewest(this.#options.checkpointDirectory, 1, recipesOf(targets));
    const keys = this.#keys(targets.newest);
    const names = await readdir(this.#options.foldDirectory);
    const newest = Math.max(0, ...names.map((name) => keys.indexOf(name) + 1));
    const needed = new Set([keys[newest - 1], keys[(targets.sealed?.updates.length ?? 0) - 1]]);
    for (const name of names) {
      if (!needed.has(name)) await removeWhole(this.#statePath(name));
    }
  }

  /** Ends the work under way and waits until nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#step?.controller.abort();
    this.#wake();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      const targets = this.#targets;
      const target = this.#next();
      if (targets === undefined || target === undefined) {
        if (targets !== undefined) this.#tellIdle(targets);
        await this.#sleep();
        continue;
      }
      try {
        await this.#reach(target, targets);
        this.#failures = 0;
        this.#listener.onProblem(null);
      } catch (error) {
        if (this.#stopping.signal.aborted || this.#targets !== targets) continue;
        await this.#report(error);
      }
    }
  }

  /** Work that was given up because an earlier recipe came back has no end of its own that could be told. */
  #tellIdle({ newest }: FoldTargets): void {
    const { length } = newest.updates;
    if (this.#behind) this.#tellStep(length, length);
    if (this.#failures > 0) this.#listener.onProblem(null);
    this.#failures = 0;
  }

  #tellStep(done: number, total: number): void {
    this.#behind = done < total;
    this.#listener.onStep(done, total);
  }

  /** What is sealed first: it is a beginning of the rest, and final. */
  #next(): FoldTarget | undefined {
    if (this.#targets === undefined) return undefined;
    const { sealed, newest } = this.#targets;
    return [sealed, newest].find((target) => target !== null && !this.#done.has(target.recipe.toString())) ?? undefined;
  }

  /** Whether the step under way is one of the target's. */
  #needs(target: FoldTarget): boolean {
    return this.#step !== undefined && [...this.#keys(target), target.recipe.toString()].includes(this.#step.key);
  }

  async #report(error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    this.#listener.onProblem({ code: errorCode(error), message });
    this.#logger.error({ err: error }, 'the fold failed and will be tried again');
    const wait = Math.min(FOLD_RETRY_MAX_MS, FOLD_RETRY_FIRST_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    // A state that cannot be used is derived data, and is made again. Any other trouble says nothing against the states.
    if (errorCode(error).startsWith('STATE_')) {
      await this.#dropAllStates().catch((cause: unknown) => {
        this.#logger.error({ err: cause }, 'the damaged states of the fold cannot be removed');
      });
    }
    await this.#sleep(wait);
  }

  async #reach(target: FoldTarget, targets: FoldTargets): Promise<void> {
    const path = join(this.#options.checkpointDirectory, target.recipe.toString());
    if (!(await exists(path))) {
      const state = await this.#fold(target, targets);
      if (this.#targets !== targets) return;
      await this.#export(target, state, path);
    }
    const checkpoint = { recipe: target.recipe.toString(), path };
    const wanted = recipesOf(targets);
    const document = await this.#listener.offer(checkpoint, wanted);
    this.#done.delete(checkpoint.recipe);
    this.#done.set(checkpoint.recipe, checkpoint);
    for (const recipe of this.#done.keys())
      if (!wanted.has(recipe) && recipe !== checkpoint.recipe) this.#done.delete(recipe);
    this.#listener.onCheckpoint(checkpoint, document);
    await keepNewest(this.#options.checkpointDirectory, KEPT_CHECKPOINTS, new Set([...wanted, checkpoint.recipe]));
  }

  /** Folds what is missing; returns the state directory, or null when nothing is accepted. */
  async #fold(target: FoldTarget, targets: FoldTargets): Promise<string | null> {
    const keys = this.#keys(target);
    let folded = await this.#longestPrefix(keys);
    this.#tellStep(folded, target.updates.length);
    while (folded < target.updates.length && this.#targets === targets) {
      this.#stopping.signal.throwIfAborted();
      const controller = new AbortController();
      this.#step = { key: keys[folded]!, controller };
      try {
        await this.#worker.call(
          'fold',
          {
            from: folded === 0 ? null : this.#statePath(keys[folded - 1]!),
            to: this.#statePath(keys[folded]!),
            payload: this.#files.path(target.updates[folded]!.payload),
          },
          { signal: controller.signal },
        );
      } finally {
        this.#step = undefined;
      }
      folded++;
      this.#tellStep(folded, target.updates.length);
      await this.#dropStates(targets, folded);
    }
    return folded === 0 ? null : this.#statePath(keys[folded - 1]!);
  }

  async #export(target: FoldTarget, state: string | null, out: string): Promise<void> {
    const controller = new AbortController();
    this.#step = { key: target.recipe.toString(), controller };
    const { base, scale, community } = this.#options;
    const metadata = { 'kinmerge.community': community, 'kinmerge.recipe': target.recipe.toString() };
    try {
      await this.#worker.call('export', { state, base, scale, out, metadata }, { signal: controller.signal });
    } finally {
      this.#step = undefined;
    }
  }

  /** Names of the states after each update: a hash chain, so that equal prefixes share their states. */
  #keys(target: FoldTarget): string[] {
    let previous = createHash('sha256').update(this.#options.rule).digest();
    return target.updates.map(({ id }) => {
      previous = createHash('sha256').update(previous).update(id).digest();
      return previous.toString('hex');
    });
  }

  async #longestPrefix(keys: readonly string[]): Promise<number> {
    for (let length = keys.length; length > 0; length--) {
      if (await exists(this.#statePath(keys[length - 1]!))) return length;
    }
    return 0;
  }

  /** Keeps the states that `statesToKeep` names, of those that there are. */
  async #dropStates({ sealed, newest }: FoldTargets, folded: number): Promise<void> {
    const keys = this.#keys(newest);
    const names = await readdir(this.#options.foldDirectory);
    const lengths = names.map((name) => keys.indexOf(name) + 1).filter((length) => length > 0);
    const most = Math.max(MIN_FOLD_STATES, this.#options.states ?? DEFAULT_FOLD_STATES);
    const kept = new Set(
      statesToKeep({ lengths, folded, sealed: sealed?.updates.length ?? 0 }, most).map((length) => keys[length - 1]),
    );
    for (const name of names) {
      if (!kept.has(name)) await removeWhole(this.#statePath(name));
    }
  }

  async #dropAllStates(): Promise<void> {
    for (const name of await readdir(this.#options.foldDirectory)) await removeWhole(this.#statePath(name));
  }

  #statePath(key: string): string {
    return join(this.#options.foldDirectory, key);
  }

  #sleep(milliseconds?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = milliseconds === undefined ? undefined : setTimeout(resolve, milliseconds);
    this.#wake = resolve;
    if (this.#stopping.signal.aborted) resolve();
    return promise.finally(() => clearTimeout(timer));
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

function isSame(a: FoldTarget | null, b: FoldTarget | null): boolean {
  return a === null || b === null ? a === b : a.recipe.equals(b.recipe);
}

function recipesOf({ sealed, newest }: FoldTargets): Set<string> {
  return new Set([newest, sealed].flatMap((target) => (target === null ? [] : [target.recipe.toString()])));
}

/** Removes all but the newest checkpoints, and those that are needed. */
async function keepNewest(directory: string, count: number, needed: ReadonlySet<string>): Promise<void> {
  const names = (await readdir(directory)).filter((name) => !needed.has(name));
  const aged = await Promise.all(
    names.map(async (name) => ({ name, age: (await stat(join(directory, name))).mtimeMs })),
  );
  aged.sort((a, b) => b.age - a.age);
  for (const { name } of aged.slice(Math.max(0, count - 1))) await removeWhole(join(directory, name));
}
