import type { CID } from 'multiformats/cid';
import type {
  ChainTotals,
  Charter,
  IdentifiedManifest,
  LogOptions,
  LogRecord,
  SealOutcome,
  SignedRecord,
  SignedSeal,
  Validity,
} from '../../src/log/index.ts';
import { encodeSigned, Log, payloadOf } from '../../src/log/index.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { readJournal } from '../stores/home-journal.ts';
import { Journal } from '../stores/journal.ts';
import { BookTurns } from './book-turns.ts';
import { PayloadBook } from './payload-book.ts';
import { PayloadStore } from './payload-store.ts';
import { type RecordBookListener, RecordChanges } from './record-changes.ts';
import { RecordFiles } from './record-files.ts';
import { judgeRecord, type NextLink, nextLink, requirePublishable } from './record-judging.ts';
import { readRecords } from './record-reading.ts';
import { SealFiles } from './seal-files.ts';

export type { RecordBookListener } from './record-changes.ts';

type PayloadManifest = Pick<IdentifiedManifest, 'bytes' | 'manifest'>;

/** What became of a record that somebody brought. */
export type Taken =
  | { readonly outcome: 'held' | 'pending' | 'known' | 'refused' }
  | { readonly outcome: 'invalid'; readonly code: string; readonly message: string };

/**
 * The log on disk. A record is written when it is held, after its payload and together with its manifest; a crash between
 * the steps leaves a record that is fetched again, never one without its payload.
 *
 * A home that was restored from a copy knows its author's chain as far as the copy does: it continues the chain rightly
 * once sync has brought the author's later records back, and forks it when it contributes before.
 */
export class RecordBook {
  readonly log: Log;
  readonly charterId: CID;
  readonly payloads: PayloadBook;
  readonly #journal: Journal;
  readonly #store: PayloadStore;
  readonly #files: RecordFiles;
  readonly #seals: SealFiles;
  readonly #listener: RecordBookListener;
  readonly #changes: RecordChanges;
  readonly #turns: BookTurns;

  constructor(
    options: { home: HomePaths; charter: Charter; charterId: CID } & Pick<LogOptions, 'now' | 'limits'>,
    components: { listener: RecordBookListener; logger: Logger },
  ) {
    const { home, charter, charterId, now, limits } = options;
    const { listener, logger } = components;
    this.log = new Log({ charter, charterId, ...(now && { now }), ...(limits && { limits }) });
    this.charterId = charterId;
    this.#listener = listener;
    const journal = new Journal({ directory: home.journal });
    this.#journal = journal;
    this.#seals = new SealFiles({ journal, logger });
    this.#files = new RecordFiles(home, {
      journal,
      beforeSave: () => this.#store.blobs.flush(),
      onSaved: (records) => listener.onHeld(records),
      logger,
    });
    this.#store = new PayloadStore(home, {
      journal,
      named: (payload) => this.log.namesPayload(payload) || this.#files.stalledNames(payload),
      logger,
    });
    this.#changes = new RecordChanges({
      log: this.log,
      files: this.#files,
      payloads: this.#store,
      listener,
      logger,
    });
    this.#turns = new BookTurns({ files: this.#files });
    this.payloads = new PayloadBook(
      { charterId },
      { log: this.log, store: this.#store, files: this.#files, changes: this.#changes, turns: this.#turns },
    );
  }

  /** Makes the directories, drops what a crash left half-written, reads everything and repairs what can be. */
  async open(): Promise<void> {
    await this.#store.open();
    await this.#read({ repair: true });
  }

  /**
   * Reads everything from disk and changes nothing there. What is damaged is passed over with a warning: peers may still
   * have it.
   */
  async load(): Promise<void> {
    await this.#read({ repair: false });
  }

  async #read(options: { repair: boolean }): Promise<void> {
    const { log, charterId } = this;
    const content = await readJournal(this.#journal, options);
    this.#store.load(content);
    await readRecords({ log, charterId, files: this.#files, payloads: this.#store, content }, options);
    // After the records: amendments say who may seal.
    this.#seals.read(content, log.seals);
  }

  /** Waits until everything under way is on disk; takes nothing more. */
  async close(): Promise<void> {
    this.#changes.cancelTelling();
    await this.#turns.close();
    await this.#journal.close();
  }

  /** Waits until what is held now is on disk. A write that fails is tried again with the next one, and by `expire`. */
  saved(): Promise<void> {
    return this.#files.save();
  }

  /** Judges a record without taking it. */
  judge(signed: SignedRecord, payloadSize: number | undefined): Validity {
    return judgeRecord(signed, payloadSize, { log: this.log, charterId: this.charterId });
  }

  /**
   * Takes a record that a peer brought, with its payload when that came along and matches its id.
   *
   * @param source - the peer, for its share of the pending pool
   */
  take(signed: SignedRecord, payload: Uint8Array | null, source: string): Promise<Taken> {
    return this.#turns.saved(async () => {
      if (payload !== null && this.log.state(signed.id) !== 'held') await this.payloads.keepInline(signed, payload);
      const added = this.log.addRecord(signed, source);
      await this.#changes.apply(added.change);
      if (added.outcome === 'pending') this.#changes.tellMissing();
      else if (payload !== null && added.outcome !== 'held') {
        const named = payloadOf(signed.record);
        if (named !== null) await this.#changes.discard(named);
      }
      return added.outcome === 'invalid'
        ? { outcome: 'invalid', code: added.code, message: added.message }
        : { outcome: added.outcome };
    });
  }

  /**
   * Publishes an own record: durable when it returns. Its payload, if it has one, is already in the blob store.
   *
   * @throws NodeError `UPDATE_INVALID` when the community would not take it; nothing is stored then
   */
  append(signed: SignedRecord, manifest: PayloadManifest | null): Promise<void> {
    return this.#turns.run(() => this.#append(signed, manifest));
  }

  /**
   * The same for a record that is made at the end of its author's chain: nothing comes between the look at the chain
   * and the record.
   *
   * @throws NodeError `UPDATE_INVALID`; LogError `AUTHOR_EQUIVOCATED`
   */
  publish<R extends LogRecord>(
    author: Uint8Array,
    manifest: PayloadManifest | null,
    make: (link: NextLink) => SignedRecord<R>,
  ): Promise<SignedRecord<R>> {
    return this.#turns.run(async () => {
      const signed = make(this.nextLink(author));
      await this.#append(signed, manifest);
      return signed;
    });
  }

  /** What the author has used of its budget so far. */
  chainTotals(author: Uint8Array): ChainTotals {
    const last = this.log.chain(author).at(-1);
    return (last && this.log.totals(last.id)) ?? { updates: 0, bytes: 0, revocations: 0 };
  }

  /**
   * The chain fields of the author's next record.
   *
   * @throws NodeError `UPDATE_INVALID` (reason `CHAIN_INCOMPLETE`) while a record of the author is here that cannot be
   *   held yet: its `seq` is taken, and using it twice would be an equivocation
   * @throws LogError `AUTHOR_EQUIVOCATED`
   */
  nextLink(author: Uint8Array): NextLink {
    return nextLink(author, { log: this.log, files: this.#files });
  }

  async #append(signed: SignedRecord, content: PayloadManifest | null) {
    requirePublishable(this.judge(signed, content?.manifest.size));
    await this.#files.save();
    const payload = payloadOf(signed.record);
    if (payload !== null && content !== null) {
      this.#store.learnManifest(payload, content.bytes);
      this.#store.learnStored(payload, content.manifest.size);
    }
    await this.#files.putAhead(signed);
    if (payload !== null && content !== null) {
      await this.#changes.apply(this.log.setPayload(payload, content.manifest.size));
    }
    await this.#changes.apply(this.log.addRecord(signed).change);
    await this.#files.save();
  }

  /** Takes a seal that a peer brought or this node made: durable when it returns, if it was added. */
  takeSeal(signed: SignedSeal): Promise<SealOutcome> {
    return this.#turns.run(async () => {
      if (!signed.seal.charter.equals(this.charterId)) return 'untrusted';
      const { outcome, kept, dropped } = this.log.seals.add(signed);
      if (kept === undefined) return outcome;
      await this.#seals.put(kept, dropped?.id.equals(kept.id) ? undefined : dropped);
      this.#listener.onSeal(kept);
      return outcome;
    });
  }

  /** Drops records that have waited too long, also when no other record comes, and tries failed writes again. */
  expire(): Promise<void> {
    return this.#turns.saved(() => this.#changes.apply(this.log.expire()));
  }

  /** Encoded signed bytes of a held record. */
  encoded(id: CID): Uint8Array | undefined {
    const signed = this.log.get(id);
    return signed && encodeSigned(signed);
  }
}
