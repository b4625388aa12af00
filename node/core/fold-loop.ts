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
}

export interface FoldListener {
  /** `done` of `total` updates are folded. */
  onStep(done: number, total: number): void;
  /** Offers a finished checkpoint to peers; returns the id of its document. The fold is not done until it is offered. */
  offer(checkpoint: FoldedCheckpoint): Promise<CID>;
  onCheckpoint(checkpoint: FoldedCheckpoint, document: CID): void;
  onProblem(problem: { code: string; message: string } | null): void;
}

/**
 * Brings the merged checkpoint up to the newest recipe, in the background. One fold at a time; targets that arrive
 * meanwhile coalesce into the newest; a new order starts from the longest prefix whose state is still on disk.
 */
export class FoldLoop {
  readonly #options: FoldLoopOptions;
  readonly #worker: WorkerThread<MergeCalls>;
  readonly #files: PayloadFiles;
  readonly #listener: FoldListener;
  readonly #logger: Logger;
  readonly #stopping = new AbortController();
  #target: FoldTarget | undefined;
  #done: FoldedCheckpoint | undefined;
  #step: { readonly key: string; readonly controller: AbortController } | undefined;
  #running: Promise<void> | undefined;
  #wake: () => void = () => {};
  #failures = 0;

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

  /** The newest finished checkpoint. */
  get checkpoint(): FoldedCheckpoint | undefined {
    return this.#done;
  }

  /** Asks for this recipe's checkpoint; replaces whatever was asked before. Asking again changes nothing. */
  aim(target: FoldTarget): void {
    if (this.#target?.recipe.toString() === target.recipe.toString()) return;
    this.#target = target;
    if (this.#step !== undefined && !this.#keys(target).includes(this.#step.key)) this.#step.controller.abort();
    this.#wake();
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
      const target = this.#target;
      if (target === undefined || target.recipe.toString() === this.#done?.recipe) {
        await this.#sleep();
        continue;
      }
      try {
        await this.#reach(target);
        this.#failures = 0;
        this.#listener.onProblem(null);
      } catch (error) {
        if (this.#stopping.signal.aborted || this.#target !== target) continue;
        await this.#report(error);
      }
    }
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

  async #reach(target: FoldTarget): Promise<void> {
    const path = join(this.#options.checkpointDirectory, target.recipe.toString());
    if (!(await exists(path))) {
      const state = await this.#fold(target);
      if (this.#target !== target) return;
      await this.#export(target, state, path);
    }
    const checkpoint = { recipe: target.recipe.toString(), path };
    const document = await this.#listener.offer(checkpoint);
    this.#done = checkpoint;
    this.#listener.onCheckpoint(checkpoint, document);
    await keepNewest(this.#options.checkpointDirectory, KEPT_CHECKPOINTS, target.recipe.toString());
  }

  /** Folds what is missing; returns the state directory, or null when nothing is accepted. */
  async #fold(target: FoldTarget): Promise<string | null> {
    const keys = this.#keys(target);
    let folded = await this.#longestPrefix(keys);
    this.#listener.onStep(folded, target.updates.length);
    while (folded < target.updates.length && this.#target === target) {
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
      this.#listener.onStep(folded, target.updates.length);
      await this.#dropStates(keys, folded);
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

  /**
   * Keeps the newest state, the one before it (a late update usually lands right before the end) and the largest power of two
   * below it: three states, whatever the number of updates.
   */
  async #dropStates(keys: readonly string[], folded: number): Promise<void> {
    const wanted = new Set([folded, folded - 1, largestPowerOfTwoBelow(folded)]);
    const kept = new Set([...wanted].filter((length) => length > 0).map((length) => keys[length - 1]));
    for (const name of await readdir(this.#options.foldDirectory)) {
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

function largestPowerOfTwoBelow(value: number): number {
  return value < 2 ? 0 : 2 ** Math.floor(Math.log2(value - 1));
}

async function keepNewest(directory: string, count: number, newest: string): Promise<void> {
  const names = (await readdir(directory)).filter((name) => name !== newest);
  const aged = await Promise.all(
    names.map(async (name) => ({ name, age: (await stat(join(directory, name))).mtimeMs })),
  );
  aged.sort((a, b) => b.age - a.age);
  for (const { name } of aged.slice(count - 1)) await removeWhole(join(directory, name));
}
