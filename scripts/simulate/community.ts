import { EventEmitter } from 'node:events';
import type { CID } from 'multiformats/cid';
import type { Community, CommunityEvents } from '../../node/core/community.ts';
import type { GoverningKeys } from '../../node/core/governing.ts';
import { Judge } from '../../node/core/judge.ts';
import { Serial } from '../../node/core/serial.ts';
import type { View } from '../../node/core/view.ts';
import type { NetworkCommunity, NetworkShelf } from '../../node/net/network-book.ts';
import { Historian } from '../../src/history/index.ts';
import { payloadOf, type Seal, type SignedRecord, type SigningKey } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { SimulatedCommunity } from './charter.ts';
import { type Disk, MemoryBook } from './memory-book.ts';
import type { SyntheticPayloads } from './payloads.ts';

/** The parts of `Community` that sealing and revoking use, beside those of the network. */
type Core = Pick<
  Community,
  'author' | 'keys' | 'view' | 'deciding' | 'stopping' | 'settled' | 'offered' | 'proposeSeal'
>;

/**
 * `Community` without files, worker threads and fold: the log, admission, seals and the recipe are derived as the daemon
 * does it, by the same modules.
 */
export class MemoryCommunity extends EventEmitter<CommunityEvents> implements Core, NetworkCommunity {
  readonly options: SimulatedCommunity;
  readonly author: SigningKey;
  readonly keys: GoverningKeys;
  readonly book: MemoryBook;
  readonly judge: Judge;
  readonly shelf: NetworkShelf = { object: () => undefined, block: async () => undefined };
  readonly contributions = new Serial();
  readonly #deciding = new Serial();
  readonly #historian: Historian;
  readonly #stopping = new AbortController();
  #view: View | undefined;
  #stale = false;
  #deriving: Promise<void> | undefined;

  constructor(
    options: SimulatedCommunity,
    components: { author: SigningKey; keys: GoverningKeys; disk: Disk; payloads: SyntheticPayloads },
  ) {
    super();
    this.options = options;
    this.author = components.author;
    this.keys = components.keys;
    this.book = new MemoryBook(options, {
      disk: components.disk,
      listener: {
        onHeld: (records: readonly SignedRecord[]) => {
          this.emit('held', records);
          this.#refresh();
        },
        onMissing: () => this.emit('missing'),
        onSeal: (seal) => {
          this.emit('seal', seal);
          this.#refresh();
        },
      },
    });
    this.judge = new Judge({ worker: components.payloads, files: components.disk.blobs });
    const { log } = this.book;
    const { charter, charterId } = options;
    const lacksPayload = (payload: CID) => this.book.payloads.isCollected(payload);
    this.#historian = new Historian(
      { charter, charterId, lacksPayload },
      {
        log,
        seals: log.seals,
        decide: (steps, run) => this.judge.decide(steps, run),
      },
    );
  }

  /** As the governing calls know it: files and workers, which these do not touch, are not there. */
  get asCommunity(): Community {
    return this as unknown as Community;
  }

  get view(): View | undefined {
    return this.#view;
  }

  /** Whether admission still lags behind the log. */
  get deciding(): boolean {
    return this.#stale || this.#deriving !== undefined;
  }

  get stopping(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Nothing is folded, so there is no checkpoint to offer. */
  offered(): CID | undefined {
    return undefined;
  }

  renounceDeclined(payload: CID): void {
    const declined = new Set(this.#historian.declinedAhead().map(({ id }) => id.toString()));
    const naming = this.book.log.pending().filter(({ signed }) => payloadOf(signed.record)?.equals(payload));
    if (naming.length === 0 || !naming.every(({ signed }) => declined.has(signed.id.toString()))) return;
    void this.book.payloads.renounce(payload);
  }

  async proposeSeal(run: RunOptions = {}): Promise<Seal | null> {
    return this.#deciding.run(async () => this.#historian.propose(await this.#historian.derive(run), run));
  }

  async settled(): Promise<View> {
    while (this.deciding) {
      this.#stopping.signal.throwIfAborted();
      await this.#deriving;
    }
    return this.#view!;
  }

  async open(): Promise<void> {
    await this.book.open();
    this.#refresh();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.contributions.idle();
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
        this.#view = await this.#deciding.run(() => this.#historian.derive({ signal }));
        this.emit('view', this.#view);
      } catch (error) {
        if (!signal.aborted) throw error;
      }
    }
  }
}
