import { errorCode } from '../../src/errors.ts';
import { Historian } from '../../src/history/index.ts';
import type { Charter, Seal } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { Logger } from '../logger.ts';
import { Adoption, type AdoptionOptions } from './adoption.ts';
import type { Judge } from './judge.ts';
import { type Problems, sealProblem } from './problems.ts';
import type { RecordBook } from './record-book.ts';
import { Serial } from './serial.ts';
import type { View } from './view.ts';

/** Wait before a failed admission runs again, in milliseconds: a worker that died is started anew by then. */
export const ADMISSION_RETRY_MS = 1_000;

/** Keeps what follows from the log up with what is held: one derivation at a time, each of all that came before it. */
export class Deciding {
  /** What is decided now, for a look at what would come after it. */
  readonly historian: Pick<Historian, 'stepsSoFar' | 'declinedAhead'>;
  readonly #historian: Historian;
  readonly #historySource: ConstructorParameters<typeof Historian>;
  readonly #adoption: Adoption;
  readonly #book: RecordBook;
  readonly #problems: Problems;
  readonly #onView: (view: View) => void;
  readonly #stopping: AbortSignal;
  readonly #logger: Logger;
  /** The historian's calls must not overlap. */
  readonly #calls = new Serial();
  #view: View | undefined;
  /** Whether something came that the derivation under way, if there is one, does not see. */
  #stale = false;
  #deriving: Promise<void> | undefined;
  /** Why the last run of admission failed; null after a good one. */
  #failure: unknown = null;

  /**
   * @param options - `adoption`: whether seals' decisions are taken as they are first, and where it is kept how far they are replayed
   * @param components - `onView` is told each time that the decisions have caught up; nothing is derived once `stopping` is aborted
   */
  constructor(
    options: { readonly charter: Charter; readonly adoption: AdoptionOptions },
    components: {
      book: RecordBook;
      judge: Judge;
      problems: Problems;
      onView: (view: View) => void;
      stopping: AbortSignal;
      logger: Logger;
    },
  ) {
    const { book, judge, logger } = components;
    this.#book = book;
    this.#problems = components.problems;
    this.#onView = components.onView;
    this.#stopping = components.stopping;
    this.#logger = logger;
    this.#adoption = new Adoption(options.adoption, { judge, logger });
    this.#historySource = [
      {
        charter: options.charter,
        charterId: book.charterId,
        adopts: (seal, before) => this.#adoption.adopts(seal, before),
        lacksPayload: (payload) => book.payloads.isCollected(payload),
      },
      { log: book.log, seals: book.log.seals, decide: (steps, run) => judge.decide(steps, run) },
    ];
    this.#historian = new Historian(...this.#historySource);
    this.historian = this.#historian;
  }

  /** Reads how far this home has replayed, and begins. */
  async open(): Promise<void> {
    await this.#adoption.open();
    this.refresh();
  }

  /** Waits until nothing runs any more, once `stopping` is aborted. */
  async idle(): Promise<void> {
    await this.#deriving;
    await this.#adoption.idle();
  }

  /** The newest finished view; undefined until admission ran once. */
  get view(): View | undefined {
    return this.#view;
  }

  /** Whether admission lags behind what was told by `refresh`. */
  get busy(): boolean {
    return this.#stale || this.#deriving !== undefined;
  }

  /** Something is held, or a seal is known, that is not decided on. */
  refresh(): void {
    this.#stale = true;
    this.#deriving ??= this.#derive().finally(() => {
      this.#deriving = undefined;
      if (this.#stale && !this.#stopping.aborted) this.refresh();
    });
  }

  /** Waits until admission has caught up with what is held now. @throws whatever stopped admission */
  async settled(): Promise<View> {
    while (this.busy) {
      this.#stopping.throwIfAborted();
      await this.#deriving;
      if (this.#failure !== null) throw this.#failure;
    }
    if (this.#failure !== null) throw this.#failure;
    if (this.#view === undefined) throw new Error('the community is not open');
    return this.#view;
  }

  /** The seal of what is in the tail; null when it is empty. Nothing is signed. */
  proposeSeal(run: RunOptions = {}): Promise<Seal | null> {
    return this.#calls.run(async () => this.#historian.propose(await this.#historian.derive(run), run));
  }

  async #derive(): Promise<void> {
    const signal = this.#stopping;
    while (this.#stale && !signal.aborted) {
      try {
        // On disk first: others hear of a view. A disk that takes nothing does not hold up the decisions.
        await this.#book.saved().catch(() => {});
        const view = await this.#calls.run(() => {
          this.#stale = false;
          return this.#historian.derive({ signal });
        });
        this.#view = view;
        this.#failed(null);
        this.#problems.set('seal', view.alarm === null ? null : sealProblem(view.alarm));
        this.#adoption.note(view, this.#historySource, () => this.refresh(), signal);
        this.#onView(view);
      } catch (error) {
        if (signal.aborted) return;
        this.#logger.error({ err: error }, 'admission failed and will be tried again');
        this.#failed(error);
        // Unreferenced: a node that shuts down does not wait for it.
        setTimeout(() => this.refresh(), ADMISSION_RETRY_MS).unref();
      }
    }
  }

  #failed(error: unknown): void {
    this.#failure = error;
    const message = error instanceof Error ? error.message : String(error);
    this.#problems.set('admission', error === null ? null : { code: errorCode(error), message });
  }
}
