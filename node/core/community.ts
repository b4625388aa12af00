import { EventEmitter } from 'node:events';
import { mkdir, rm } from 'node:fs/promises';
import type { CID } from 'multiformats/cid';
import { errorCode } from '../../src/errors.ts';
import { Historian, type SealAlarm } from '../../src/history/index.ts';
import type { Charter, Seal, SignedRecord, SignedSeal, SigningKey } from '../../src/log/index.ts';
import { encodeRecipe, MERGE_ALGORITHM, payloadOf } from '../../src/log/index.ts';
import type { MergeEngineOptions } from '../../src/merge/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { siblingModule } from '../../src/worker-url.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import type { MergeCalls } from '../work/merge-calls.ts';
import type { PayloadCalls } from '../work/payload-calls.ts';
import { WorkerThread } from '../work/rpc.ts';
import { Adoption } from './adoption.ts';
import { CheckpointShelf } from './checkpoint-shelf.ts';
import { collectable } from './collectable.ts';
import { DiskCap } from './disk-cap.ts';
import type { FoldedCheckpoint } from './fold-loop.ts';
import { FoldLoop } from './fold-loop.ts';
import type { GoverningKeys } from './governing.ts';
import { Judge } from './judge.ts';
import { PairFile } from './pair-file.ts';
import { RecordBook } from './record-book.ts';
import { Scrubber } from './scrubber.ts';
import { Serial } from './serial.ts';
import { VerdictFile } from './verdict-file.ts';
import type { View } from './view.ts';

/** Wait before a failed admission runs again, in milliseconds: a worker that died is started anew by then. */
export const ADMISSION_RETRY_MS = 1_000;

/** Why the node does not get on with something; it keeps trying. */
export interface Problem {
  readonly code: string;
  readonly message: string;
}

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
  /** Derivations run one after another. */
  readonly #deciding = new Serial();
  readonly #logger: Logger;
  readonly #fold: FoldLoop | null;
  readonly #stopping = new AbortController();
  readonly #historian: Historian;
  readonly #scrubber: Scrubber;
  readonly #disk: DiskCap;
  readonly #historySource: ConstructorParameters<typeof Historian>;
  readonly #adoption: Adoption;
  #view: View | undefined;
  #stale = true;
  #deriving: Promise<void> | undefined;
  #folding: { done: number; total: number } | null = null;
  readonly #problems: Record<'disk' | 'seal' | 'admission' | 'fold', Problem | null> = {
    disk: null,
    seal: null,
    admission: null,
    fold: null,
  };
  /** Why the last run of admission failed; null after a good one. */
  #failure: unknown = null;

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
      {
        logger: components.logger,
        listener: {
          onHeld: (records) => {
            this.emit('held', records);
            this.#refresh();
          },
          onMissing: () => this.emit('missing'),
          onSeal: (seal) => {
            this.emit('seal', seal);
            this.#refresh();
          },
          onEquivocations: (found) => {
            for (const { author, seq } of found) {
              this.#logger.warn(
                { author: Buffer.from(author).toString('hex'), seq },
                'an author signed two updates with one seq',
              );
            }
          },
        },
      },
    );
    this.#scrubber = new Scrubber({ note: home.scrub }, { payloads: this.book.payloads, logger: components.logger });
    const pairs = new PairFile({ path: home.pairs }, { logger: components.logger });
    const verdicts = new VerdictFile({ path: home.verdicts }, { logger: components.logger });
    this.judge = new Judge({ worker: this.payloads, files: this.book.payloads.blobs, pairs, verdicts });
    this.#adoption = new Adoption(
      { enabled: options.adopt !== false, path: home.replayed },
      { judge: this.judge, logger: components.logger },
    );
    this.#historySource = [
      {
        charter,
        charterId,
        adopts: (seal, before) => this.#adoption.adopts(seal, before),
        lacksPayload: (payload) => this.book.payloads.isCollected(payload),
      },
      { log: this.book.log, seals: this.book.log.seals, decide: (steps, run) => this.judge.decide(steps, run) },
    ];
    this.#historian = new Historian(...this.#historySource);
    this.#fold = options.fold && options.base !== null ? this.#createFold(options.base) : null;
    this.#disk = new DiskCap(
      { root: home.root, limit: options.diskLimit },
      {
        payloads: this.book.payloads,
        shed: async () => this.#fold?.shed(),
        collectable: () => (this.#view === undefined ? () => false : collectable(this.#view)),
        onProblem: (problem) => this.#setProblem('disk', problem),
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
    await this.#adoption.open();
    await this.#fold?.start();
    if (this.options.fold) this.#scrubber.start();
    this.#refresh();
    // By the first decisions: before them nothing is known that may be given up.
    const watchDisk = () => this.#disk.start();
    void this.settled().then(watchDisk, watchDisk);
  }

  /** Ends all work; nothing of it runs any more when it returns, and nothing is half-written. */
  async close(): Promise<void> {
    this.#stopping.abort();
    await this.contributions.idle();
    await this.#fold?.stop();
    await Promise.all([this.#scrubber.stop(), this.#disk.stop()]);
    await this.#deriving;
    await this.#adoption.idle();
    await this.book.close();
    await Promise.all([this.payloads.close(), this.encoder.close(), this.merges.close()]);
  }

  /** Aborted when the node shuts down. */
  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** The newest finished view; undefined until admission ran once. */
  get view(): View | undefined {
    return this.#view;
  }

  /** Whether admission still lags behind the log. */
  get deciding(): boolean {
    // What is held and not yet told, because it is on its way to the disk, is decided on too.
    if (this.#view !== undefined && this.#view.records.length !== this.book.log.size) this.#refresh();
    return this.#stale || this.#deriving !== undefined;
  }

  get folding(): { done: number; total: number } | null {
    return this.#folding;
  }

  get checkpoint(): FoldedCheckpoint | undefined {
    return this.#fold?.checkpoint;
  }

  get problem(): Problem | null {
    return this.#problems.disk ?? this.#problems.seal ?? this.#problems.admission ?? this.#problems.fold;
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
    const declined = new Set(this.#historian.declinedAhead().map(({ id }) => id.toString()));
    const naming = this.book.log.pending().filter(({ signed }) => payloadOf(signed.record)?.equals(payload));
    if (naming.length === 0 || !naming.every(({ signed }) => declined.has(signed.id.toString()))) return;
    this.#logger.info({ payload: payload.toString() }, 'nobody has a payload that a seal declined: done without it');
    this.book.payloads.renounce(payload).catch((error: unknown) => {
      if (!this.stopping.aborted) this.#logger.error({ err: error }, 'a payload could not be done without');
    });
  }

  /** What would be decided on an update at the end of the order, by what is decided now. */
  get historian(): Pick<Historian, 'stepsSoFar'> {
    return this.#historian;
  }

  /** The seal of what is in the tail; null when it is empty. Nothing is signed. */
  async proposeSeal(run: RunOptions = {}): Promise<Seal | null> {
    return this.#deciding.run(async () => this.#historian.propose(await this.#deriveNow(run), run));
  }

  /** Waits until admission has caught up with what is held now. @throws whatever stopped admission */
  async settled(): Promise<View> {
    while (this.deciding) {
      this.#stopping.signal.throwIfAborted();
      await this.#deriving;
      if (this.#failure !== null) throw this.#failure;
    }
    if (this.#failure !== null) throw this.#failure;
    if (this.#view === undefined) throw new Error('the community is not open');
    return this.#view;
  }

  #refresh(): void {
    this.#stale = true;
    this.#deriving ??= this.#derive().finally(() => {
      this.#deriving = undefined;
      if (this.#stale && !this.#stopping.signal.aborted) this.#refresh();
    });
  }

  async #derive(): Promise<void> {
    while (this.#stale && !this.#stopping.signal.aborted) {
      this.#stale = false;
      try {
        const { signal } = this.#stopping;
        const view = await this.#deciding.run(() => this.#deriveNow({ signal }));
        this.#view = view;
        this.#admissionFailed(null);
        this.#setProblem('seal', view.alarm === null ? null : sealProblem(view.alarm));
        this.#adoption.note(view, this.#historySource, () => this.#refresh(), signal);
        this.emit('view', view);
        const { sealed } = view;
        this.#fold?.aim({
          sealed: sealed === null ? null : { recipe: sealed.recipeId, updates: sealed.accepted },
          newest: { recipe: view.recipeId, updates: view.accepted },
        });
      } catch (error) {
        if (this.#stopping.signal.aborted) return;
        this.#logger.error({ err: error }, 'admission failed and will be tried again');
        this.#admissionFailed(error);
        // Unreferenced: a node that shuts down does not wait for it.
        setTimeout(() => this.#refresh(), ADMISSION_RETRY_MS).unref();
      }
    }
  }

  #deriveNow(run: RunOptions): Promise<View> {
    return this.#historian.derive(run);
  }

  #admissionFailed(error: unknown): void {
    this.#failure = error;
    const message = error instanceof Error ? error.message : String(error);
    this.#setProblem('admission', error === null ? null : { code: errorCode(error), message });
  }

  #setProblem(part: 'disk' | 'seal' | 'admission' | 'fold', problem: Problem | null): void {
    const before = this.#problems[part];
    if (before?.code === problem?.code && before?.message === problem?.message) return;
    this.#problems[part] = problem;
    this.emit('problem', this.problem);
  }

  #createFold(base: string): FoldLoop {
    const { home, charter, charterId } = this.options;
    // The recipe of no updates names the rule: community, algorithm and merge parameters.
    const rule = encodeRecipe({
      version: 1,
      charter: charterId,
      algorithm: MERGE_ALGORITHM,
      updates: [],
      merge: charter.merge,
    });
    return new FoldLoop(
      {
        rule,
        base,
        scale: charter.merge.scale,
        community: charterId.toString(),
        foldDirectory: home.fold,
        checkpointDirectory: home.checkpoints,
        ...(this.options.foldStates === undefined ? {} : { states: this.options.foldStates }),
      },
      {
        worker: this.merges,
        files: this.book.payloads.blobs,
        logger: this.#logger,
        listener: {
          onStep: (done, total) => {
            this.#folding = done < total ? { done, total } : null;
            this.emit('fold', done, total);
          },
          offer: (checkpoint, needed) => this.shelf.put(checkpoint, needed, { signal: this.#stopping.signal }),
          onCheckpoint: (checkpoint, document) => {
            this.#folding = null;
            this.emit('checkpoint', checkpoint, document);
          },
          onProblem: (problem) => this.#setProblem('fold', problem),
        },
      },
    );
  }
}

function sealProblem(alarm: SealAlarm): Problem {
  const { code, number } = alarm;
  const stand = `this node stands at seal ${number - 1}`;
  const message =
    alarm.code === 'SEAL_CONFLICT'
      ? `there are two seals with number ${number} (${alarm.seals.join(', ')}): a sealer signed twice, so ${stand}. Ask the owner`
      : `seal ${number} (${alarm.seal}) says other ${alarm.differs.join(', ')} than its records make, so ${stand}. Ask the owner`;
  return { code, message };
}
