import type { CID } from 'multiformats/cid';
import type { MergeCalls } from '../work/merge-calls.ts';
import type { WorkerThread } from '../work/rpc.ts';
import type { FoldedCheckpoint } from './finished-checkpoints.ts';
import type { FoldStates } from './fold-states.ts';
import type { PayloadFiles } from './judge.ts';

export interface FoldStepsOptions {
  /** The base checkpoint. */
  readonly base: string;
  /** The charter's factor on the merged task vector. */
  readonly scale: number;
  readonly community: string;
}

/** What the worker does for a fold, one step at a time: a state of one update more, or a checkpoint of a state. */
export class FoldSteps {
  readonly #options: FoldStepsOptions;
  readonly #worker: WorkerThread<MergeCalls>;
  readonly #files: PayloadFiles;
  readonly #states: FoldStates;
  #step: { readonly makes: string; readonly controller: AbortController } | undefined;

  constructor(
    options: FoldStepsOptions,
    components: { worker: WorkerThread<MergeCalls>; files: PayloadFiles; states: FoldStates },
  ) {
    this.#options = options;
    this.#worker = components.worker;
    this.#files = components.files;
    this.#states = components.states;
  }

  /** What the step under way makes: the key of a state, or the recipe of a checkpoint. */
  get underWay(): string | undefined {
    return this.#step?.makes;
  }

  /** Ends the step under way. */
  abort(): void {
    this.#step?.controller.abort();
  }

  /** Makes the state `to` of the state `from`, null for none, and a payload. */
  fold(from: string | null, to: string, payload: CID): Promise<void> {
    const job = {
      from: from === null ? null : this.#states.path(from),
      to: this.#states.path(to),
      payload: this.#files.path(payload),
    };
    return this.#take(to, (signal) => this.#worker.call('fold', job, { signal }));
  }

  /** Makes the checkpoint of a state; of null, that of the base alone. */
  export({ recipe, path: out }: FoldedCheckpoint, state: string | null): Promise<void> {
    const { base, scale, community } = this.#options;
    const metadata = { 'kinmerge.community': community, 'kinmerge.recipe': recipe };
    const job = { state: state === null ? null : this.#states.path(state), base, scale, out, metadata };
    return this.#take(recipe, (signal) => this.#worker.call('export', job, { signal }));
  }

  async #take(makes: string, work: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
    const controller = new AbortController();
    this.#step = { makes, controller };
    try {
      await work(controller.signal);
    } finally {
      this.#step = undefined;
    }
  }
}
