import { EventEmitter } from 'node:events';
import type { CID } from 'multiformats/cid';
import type { CheckpointShelf } from '../../node/core/checkpoint-shelf.ts';
import type { CommunityEvents } from '../../node/core/community.ts';
import { Judge } from '../../node/core/judge.ts';
import { deriveView, type View } from '../../node/core/view.ts';
import type { SignedRecord } from '../../src/log/index.ts';
import type { SimulatedCommunity } from './charter.ts';
import { type Disk, MemoryBook } from './memory-book.ts';
import type { SyntheticPayloads } from './payloads.ts';

type Events = Pick<CommunityEvents, 'held' | 'missing' | 'view' | 'checkpoint'>;

/**
 * `Community` without files, worker threads and fold: the log, admission and the recipe are derived as the daemon does
 * it, by the same modules.
 */
export class MemoryCommunity extends EventEmitter<Events> {
  readonly options: SimulatedCommunity;
  readonly book: MemoryBook;
  readonly judge: Judge;
  readonly shelf: Pick<CheckpointShelf, 'object' | 'block'> = { object: () => undefined, block: async () => undefined };
  /** Nothing is folded, so there is no checkpoint to offer. */
  readonly offered: { readonly recipe: string; readonly document: CID } | undefined = undefined;
  readonly #stopping = new AbortController();
  #view: View | undefined;
  #stale = false;
  #deriving: Promise<void> | undefined;

  constructor(options: SimulatedCommunity, components: { disk: Disk; payloads: SyntheticPayloads }) {
    super();
    const { charter, charterId } = options;
    this.options = options;
    this.book = new MemoryBook(
      { charter, charterId },
      {
        disk: components.disk,
        listener: {
          onHeld: (records: readonly SignedRecord[]) => {
            this.emit('held', records);
            this.#refresh();
          },
          onMissing: () => this.emit('missing'),
        },
      },
    );
    this.judge = new Judge(
      { policy: charter.admission },
      { worker: components.payloads, files: components.disk.blobs },
    );
  }

  get view(): View | undefined {
    return this.#view;
  }

  /** Whether admission still lags behind the log. */
  get deciding(): boolean {
    return this.#stale || this.#deriving !== undefined;
  }

  async open(): Promise<void> {
    await this.book.open();
    this.#refresh();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#deriving;
    await this.book.close();
  }

  #refresh(): void {
    this.#stale = true;
    this.#deriving ??= this.#derive().finally(() => {
      this.#deriving = undefined;
      if (this.#stale && !this.#stopping.signal.aborted) this.#refresh();
    });
  }

  async #derive(): Promise<void> {
    const { signal } = this.#stopping;
    while (this.#stale && !signal.aborted) {
      this.#stale = false;
      try {
        this.#view = await deriveView(this.options, { log: this.book.log, judge: this.judge }, { signal });
        this.emit('view', this.#view);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }
}
