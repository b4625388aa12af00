import { EventEmitter } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import type { CID } from 'multiformats/cid';
import type { Historian } from '../../src/history/index.ts';
import type { Charter, Seal, SignedRecord, SignedSeal, SigningKey } from '../../src/log/index.ts';
import { payloadOf } from '../../src/log/index.ts';
import type { MergeEngineOptions } from '../../src/merge/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { siblingModule } from '../../src/worker-url.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import type { MergeCalls } from '../work/merge-calls.ts';
import type { PayloadCalls } from '../work/payload-calls.ts';
import { WorkerThread } from '../work/rpc.ts';
import { CheckpointShelf } from './checkpoint-shelf.ts';
import { collectable } from './collectable.ts';
import { createFold, foldTargets } from './community-fold.ts';
import { Deciding } from './deciding.ts';
import { DiskCap } from './disk-cap.ts';
import type { FoldedCheckpoint, FoldLoop } from './fold-loop.ts';
import type { GoverningKeys } from './governing.ts';
import { Judge } from './judge.ts';
import { PairFile } from './pair-file.ts';
import { type Problem, Problems } from './problems.ts';
import { RecordBook, type RecordBookListener } from './record-book.ts';
import { Scrubber } from './scrubber.ts';
import { Serial } from './serial.ts';
import { VerdictFile } from './verdict-file.ts';
import type { View } from './view.ts';

/** What a community's node tells its network part and its API. */
export interface CommunityEvents {
  held: [records: readonly SignedRecord[]];
  /** A seal is known and on disk. */
  seal: [seal: SignedSeal];
  /** Something is to be fetched from peers. */
  missing: [];
  /** Admission has caught up with the log. */
  view: [view: View];
  fold: [done: number, total: number];
  /** A checkpoint is on disk and offered to peers as `document`. */
  checkpoint: [checkpoint: FoldedCheckpoint, document: CID];
  problem: [problem: Problem | null];
}

export interface CommunityOptions {
  readonly home: HomePaths;
  readonly charter: Charter;
  readonly charterId: CID;
  /** Path of the base; null in a home that only pulls, which then folds nothing. */
  readonly base: string | null;
  /** What does the matrix work of the fold. */
  readonly engine: MergeEngineOptions;
  /** Fold in the background, as a daemon does. */
  readonly fold: boolean;
  /** States of the fold to keep; see `FoldLoopOptions`. */
  readonly foldStates?: number | undefined;
  /** Bytes that the home may take; no cap when undefined. */
  readonly diskLimit?: number | undefined;
  /** Take the decisions of sealers as they are first, and replay them when there is time. */
  readonly adopt?: boolean | undefined;
}

/**
 * One home's part in a community, without any network: the log, admission, and the fold that follows them. Heavy work
 * runs in worker threads.
 */
export class Community extends EventEmitter<CommunityEvents> {
  readonly options: CommunityOptions;
  readonly author: SigningKey;
  readonly keys: GoverningKeys;
  readonly book: RecordBook;
  readonly judge: Judge;
  readonly shelf = new CheckpointShelf();
  /** Measures and compares payloads for admission. */
  readonly payloads: WorkerThread<PayloadCalls>;
  /** Encodes contributions: a thread of its own, so that a long one does not hold up admission. */
  readonly encoder: WorkerThread<PayloadCalls>;
  readonly merges: WorkerThread<MergeCalls>;
  /** Contributions run one after another: each continues the author's chain. */
  readonly contributions = new Serial();
  readonly #logger: Logger;
  readonly #deciding: Deciding;
  readonly #fold: FoldLoop | null;
  readonly #stopping = new AbortController();
  readonly #scrubber: Scrubber;
  readonly #disk: DiskCap;
  readonly #problems = new Problems({ onChange: (problem) => this.emit('problem', problem) });
  #folding: { done: number; total: number } | null = null;

  constructor(options: CommunityOptions, components: { author: SigningKey; keys?: GoverningKeys; logger: Logger }) {
    super();
    this.options = options;
    this.author = components.author;
    this.keys = components.keys ?? { owner: null, sealers: [components.author] };
    this.#logger = components.logger;
    const { home, charter, charterId } = options;
    const payloadWorker = siblingModule(import.meta.url, '../work/payload-worker');
    this.payloads = new WorkerThread<PayloadCalls>(payloadWorker, { charter: home.charter });
    this.encoder = new WorkerThread<PayloadCalls>(payloadWorker, { charter: home.charter });
    this.merges = new WorkerThread<MergeCalls>(siblingModule(import.meta.url, '../work/merge-worker'), {
      charter: home.charter,
      engine: options.engine,
    });
    this.book = new RecordBook(
      { home, charter, charterId },
      { logger: components.logger, listener: this.#bookListener() },
    );
    const { payloads } = this.book;
    this.#scrubber = new Scrubber({ note: home.scrub }, { payloads, logger: components.logger });
    const pairs = new PairFile({ path: home.pairs }, { logger: components.logger });
    const verdicts = new VerdictFile({ path: home.verdicts }, { logger: components.logger });
    this.judge = new Judge({ worker: this.payloads, files: payloads.blobs, pairs, verdicts });
    this.#deciding = new Deciding(
      { charter, adoption: { enabled: options.adopt !== false, path: home.replayed } },
      {
        book: this.book,
        judge: this.judge,
        problems: this.#problems,
        onView: (view) => {
          this.emit('view', view);
          this.#fold?.aim(foldTargets(view));
        },
        stopping: this.stopping,
        logger: components.logger,
      },
    );
    this.#fold = options.fold && options.base !== null ? this.#createFold(options.base) : null;
    this.#disk = new DiskCap(
      { root: home.root, limit: options.diskLimit },
      {
        payloads,
        shed: async () => this.#fold?.shed(),
        collectable: () => (this.view === undefined ? () => false : collectable(this.view)),
        onProblem: (problem) => this.#problems.set('disk', problem),
        logger: components.logger,
      },
    );
  }

  /** Reads the home and starts the background work. */
  async open(): Promise<void> {
    const { home } = this.options;
    await rm(home.tmp, { recursive: true, force: true });
    await mkdir(home.tmp, { recursive: true });
    await this.book.open();
    await this.book.payloads.dropOrphans();
    await this.#fold?.start();
    if (this.options.fold) this.#scrubber.start();
    this.#disk.start();
    // Before the first decisions nothing is known that may be given up.
    this.once('view', () => this.#disk.start());
    await this.#deciding.open();
  }

  /** Ends all work; nothing of it runs any more when it returns, and nothing is half-written. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await this.contributions.idle();
    await this.#fold?.stop();
    await Promise.all([this.#scrubber.stop(), this.#disk.stop()]);
    await this.#deciding.idle();
    await this.book.close();
    await Promise.all([this.payloads.close(), this.encoder.close(), this.merges.close()]);
  }

  /** Aborted when the node shuts down. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** The newest finished view; undefined until admission ran once. */
  get view(): View | undefined {
    return this.#deciding.view;
  }

  /** Whether admission still lags behind what is held, on disk or on its way there. */
  get deciding(): boolean {
    return this.#deciding.busy;
  }

  get folding(): { done: number; total: number } | null {
    return this.#folding;
  }

  get checkpoint(): FoldedCheckpoint | undefined {
    return this.#fold?.checkpoint;
  }

  get problem(): Problem | null {
    return this.#problems.first;
  }

  /** The finished checkpoint of a recipe, if it is one of the last. */
  finished(recipe: CID): FoldedCheckpoint | undefined {
    return this.#fold?.finished(recipe.toString());
  }

  /** The document of a recipe's finished checkpoint, which peers can fetch now. */
  offered(recipe: CID): CID | undefined {
    return this.shelf.document(recipe.toString());
  }

  /** Does without a payload that nobody has, where the next seal declines every update that names it. */
  renounceDeclined(payload: CID): void {
    const declined = new Set(this.#deciding.historian.declinedAhead().map(({ id }) => id.toString()));
    const naming = this.book.log.pending().filter(({ signed }) => payloadOf(signed.record)?.equals(payload));
    if (naming.length === 0 || !naming.every(({ signed }) => declined.has(signed.id.toString()))) return;
    this.#logger.info({ payload: payload.toString() }, 'nobody has a payload that a seal declined: done without it');
    this.book.payloads.renounce(payload).catch((error: unknown) => {
      if (!this.stopping.aborted) this.#logger.error({ err: error }, 'a payload could not be done without');
    });
  }

  /** What would be decided on an update at the end of the order, by what is decided now. */
  get historian(): Pick<Historian, 'stepsSoFar'> {
    return this.#deciding.historian;
  }

  /** The seal of what is in the tail; null when it is empty. Nothing is signed. */
  proposeSeal(run: RunOptions = {}): Promise<Seal | null> {
    return this.#deciding.proposeSeal(run);
  }

  /** Waits until admission has caught up with what is held now. @throws whatever stopped admission */
  settled(): Promise<View> {
    return this.#deciding.settled();
  }

  #bookListener(): RecordBookListener {
    return {
      onHolding: () => this.#deciding.refresh(),
      onHeld: (records) => this.emit('held', records),
      onMissing: () => this.emit('missing'),
      onSeal: (seal) => {
        this.emit('seal', seal);
        this.#deciding.refresh();
      },
      onEquivocations: (found) => {
        for (const { author, seq } of found) {
          this.#logger.warn(
            { author: Buffer.from(author).toString('hex'), seq },
            'an author signed two updates with one seq',
          );
        }
      },
    };
  }

  #createFold(base: string): FoldLoop {
    return createFold(
      { ...this.options, base },
      {
        worker: this.merges,
        files: this.book.payloads.blobs,
        logger: this.#logger,
        listener: {
          onStep: (done, total) => {
            this.#folding = done < total ? { done, total } : null;
            this.emit('fold', done, total);
          },
          offer: (checkpoint, needed) => this.shelf.put(checkpoint, needed, { signal: this.stopping }),
          onCheckpoint: (checkpoint, document) => {
            this.#folding = null;
            this.emit('checkpoint', checkpoint, document);
          },
          onProblem: (problem) => this.#problems.set('fold', problem),
        },
      },
    );
  }
}
