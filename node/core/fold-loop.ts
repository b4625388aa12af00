import { mkdir } from 'node:fs/promises';
import type { CID } from 'multiformats/cid';
import { removeTempSiblings } from '../../src/durable.ts';
import { errorCode } from '../../src/errors.ts';
import { exists } from '../files.ts';
import type { Logger } from '../logger.ts';
import type { MergeCalls } from '../work/merge-calls.ts';
import type { WorkerThread } from '../work/rpc.ts';
import { FinishedCheckpoints, type FoldedCheckpoint } from './finished-checkpoints.ts';
import { FoldStates } from './fold-states.ts';
import { FoldSteps, type FoldStepsOptions } from './fold-steps.ts';
import type { PayloadFiles } from './judge.ts';

export type { FoldedCheckpoint } from './finished-checkpoints.ts';

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

export interface FoldLoopOptions extends FoldStepsOptions {
  /** What makes states of different rules differ: community and merge parameters, canonical bytes. */
  readonly rule: Uint8Array;
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
  readonly #listener: FoldListener;
  readonly #logger: Logger;
  readonly #states: FoldStates;
  readonly #steps: FoldSteps;
  readonly #checkpoints: FinishedCheckpoints;
  readonly #stopping = new AbortController();
  #targets: FoldTargets | undefined;
  #running: Promise<void> | undefined;
  #wake: () => void = () => {};
  #failures = 0;
  /** Whether the last step that was told has others to follow. */
  #behind = false;

  constructor(
    options: FoldLoopOptions,
    components: { worker: WorkerThread<MergeCalls>; files: PayloadFiles; listener: FoldListener; logger: Logger },
  ) {
    const { foldDirectory, checkpointDirectory, rule, states } = options;
    this.#options = options;
    this.#states = new FoldStates({ directory: foldDirectory, rule, ...(states !== undefined && { most: states }) });
    this.#checkpoints = new FinishedCheckpoints({ directory: checkpointDirectory });
    const { worker, files, listener, logger } = components;
    this.#steps = new FoldSteps(options, { worker, files, states: this.#states });
    this.#listener = listener;
    this.#logger = logger;
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
    return (newest === undefined ? undefined : this.#checkpoints.get(newest)) ?? this.#checkpoints.last;
  }

  /** The finished checkpoint of one of the recipes that were asked for. */
  finished(recipe: string): FoldedCheckpoint | undefined {
    return this.#checkpoints.get(recipe);
  }

  /** Asks for the checkpoints of these recipes; replaces whatever was asked before. Asking again changes nothing. */
  aim(targets: FoldTargets): void {
    const before = this.#targets;
    if (before !== undefined && isSame(before.newest, targets.newest) && isSame(before.sealed, targets.sealed)) return;
    this.#targets = targets;
    const wanted = [targets.newest, targets.sealed].some((target) => target !== null && this.#needs(target));
    if (!wanted) this.#steps.abort();
    this.#wake();
  }

  /** Removes the checkpoints and states that only save work: all but the newest, and those of the last seal. */
  async shed(): Promise<void> {
    const targets = this.#targets;
    if (targets === undefined || this.#steps.underWay !== undefined) return;
    await this.#checkpoints.keepNewest(1, recipesOf(targets));
    await this.#states.shed(this.#states.keys(targets.newest.updates), { sealed: sealedOf(targets) });
  }

  /** Ends the work under way and waits until nothing of it runs any more. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    this.#steps.abort();
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
    return [sealed, newest].find((target) => target !== null && !this.finished(target.recipe.toString())) ?? undefined;
  }

  /** Whether the step under way is one of the target's. */
  #needs(target: FoldTarget): boolean {
    const { underWay } = this.#steps;
    if (underWay === undefined) return false;
    return [...this.#states.keys(target.updates), target.recipe.toString()].includes(underWay);
  }

  async #report(error: unknown): Promise<void> {
    const message = error instanceof Error ? error.message : String(error);
    this.#listener.onProblem({ code: errorCode(error), message });
    this.#logger.error({ err: error }, 'the fold failed and will be tried again');
    const wait = Math.min(FOLD_RETRY_MAX_MS, FOLD_RETRY_FIRST_MS * 2 ** Math.min(this.#failures, 16));
    this.#failures++;
    // A state that cannot be used is derived data, and is made again. Any other trouble says nothing against the states.
    if (errorCode(error).startsWith('STATE_')) {
      await this.#states.dropAll().catch((cause: unknown) => {
        this.#logger.error({ err: cause }, 'the damaged states of the fold cannot be removed');
      });
    }
    await this.#sleep(wait);
  }

  async #reach(target: FoldTarget, targets: FoldTargets): Promise<void> {
    const checkpoint = this.#checkpoints.at(target.recipe.toString());
    if (!(await exists(checkpoint.path))) {
      const state = await this.#fold(target, targets);
      if (this.#targets !== targets) return;
      await this.#steps.export(checkpoint, state);
    }
    const wanted = recipesOf(targets);
    const document = await this.#listener.offer(checkpoint, wanted);
    this.#checkpoints.add(checkpoint, wanted);
    this.#listener.onCheckpoint(checkpoint, document);
    await this.#checkpoints.keepNewest(KEPT_CHECKPOINTS, new Set([...wanted, checkpoint.recipe]));
  }

  /** Folds what is missing; returns the key of the state, or null when nothing is accepted. */
  async #fold({ updates }: FoldTarget, targets: FoldTargets): Promise<string | null> {
    const keys = this.#states.keys(updates);
    let folded = await this.#states.longestPrefix(keys);
    this.#tellStep(folded, updates.length);
    while (folded < updates.length && this.#targets === targets) {
      this.#stopping.signal.throwIfAborted();
      await this.#steps.fold(keys[folded - 1] ?? null, keys[folded]!, updates[folded]!.payload);
      folded++;
      this.#tellStep(folded, updates.length);
      const all = this.#states.keys(targets.newest.updates);
      await this.#states.thin(all, { folded, sealed: sealedOf(targets) });
    }
    return keys[folded - 1] ?? null;
  }

  #sleep(milliseconds?: number): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = milliseconds === undefined ? undefined : setTimeout(resolve, milliseconds);
    this.#wake = resolve;
    if (this.#stopping.signal.aborted) resolve();
    return promise.finally(() => clearTimeout(timer));
  }
}

function isSame(a: FoldTarget | null, b: FoldTarget | null): boolean {
  return a === null || b === null ? a === b : a.recipe.equals(b.recipe);
}

function recipesOf({ sealed, newest }: FoldTargets): Set<string> {
  return new Set([newest, sealed].flatMap((target) => (target === null ? [] : [target.recipe.toString()])));
}

/** How many updates the last seal covers. */
function sealedOf({ sealed }: FoldTargets): number {
  return sealed?.updates.length ?? 0;
}
