import type { CID } from 'multiformats/cid';
import type {
  ChainTotals,
  Charter,
  IdentifiedManifest,
  LogOptions,
  LogRecord,
  Manifest,
  Missing,
  SealOutcome,
  SignedRecord,
  SignedSeal,
  Validity,
} from '../../src/log/index.ts';
import { encodeSigned, Log, manifestOf, payloadOf } from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import type { BlobStore } from '../stores/blob-store.ts';
import { readJournal } from '../stores/home-journal.ts';
import { Journal } from '../stores/journal.ts';
import { PayloadStore, type ReceivedPayload } from './payload-store.ts';
import { joined, type RecordBookListener, RecordChanges } from './record-changes.ts';
import { RecordFiles } from './record-files.ts';
import { judgeRecord, type NextLink, nextLink, requirePublishable } from './record-judging.ts';
import { readRecords } from './record-reading.ts';
import { SealFiles } from './seal-files.ts';
import { Serial } from './serial.ts';

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
  readonly #journal: Journal;
  readonly #payloads: PayloadStore;
  readonly #files: RecordFiles;
  readonly #seals: SealFiles;
  readonly #listener: RecordBookListener;
  readonly charterId: CID;
  readonly #changes: RecordChanges;
  readonly #serial = new Serial();
  #full = false;
  #closed = false;

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
      beforeSave: () => this.#payloads.blobs.flush(),
      onSaved: (records) => listener.onHeld(records),
      logger,
    });
    this.#payloads = new PayloadStore(home, {
      journal,
      named: (payload) => this.log.namesPayload(payload) || this.#files.stalledNames(payload),
      logger,
    });
    this.#changes = new RecordChanges({
      log: this.log,
      files: this.#files,
      payloads: this.#payloads,
      listener,
      logger,
    });
  }

  get blobs(): BlobStore {
    return this.#payloads.blobs;
  }

  /** Makes the directories, drops what a crash left half-written, reads everything and repairs what can be. */
  async open(): Promise<void> {
    await this.#payloads.open();
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
    this.#payloads.load(content);
    await readRecords({ log, charterId, files: this.#files, payloads: this.#payloads, content }, options);
    // After the records: amendments say who may seal.
    this.#seals.read(content, log.seals);
  }

  /** Waits until everything under way is on disk; takes nothing more. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#changes.cancelTelling();
    await this.#serial.idle();
    await this.#files.save().catch(() => {});
    await this.#journal.close();
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
    return this.#saved(async () => {
      if (payload !== null && this.log.state(signed.id) !== 'held') await this.#keepInline(signed, payload);
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
    return this.#run(() => this.#append(signed, manifest));
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
    return this.#run(async () => {
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
      this.#payloads.learnManifest(payload, content.bytes);
      this.#payloads.learnStored(payload, content.manifest.size);
    }
    await this.#files.putAhead(signed);
    if (payload !== null && content !== null) {
      await this.#changes.apply(this.log.setPayload(payload, content.manifest.size));
    }
    await this.#changes.apply(this.log.addRecord(signed).change);
    await this.#files.save();
  }

  /**
   * Does without the bytes of a payload that nobody has and nothing depends on: the records that name it wait for it no longer.
   * Nothing happens while its size is unknown.
   */
  renounce(payload: CID): Promise<void> {
    return this.#run(async () => {
      const size = this.log.payloadSize(payload);
      if (size === undefined || !this.log.namesPayload(payload)) return;
      await this.#payloads.renounce(payload, size);
      await this.#changes.apply(this.log.setPayload(payload, size));
    });
  }

  /** Whether the bytes of a payload were given up. */
  isCollected(payload: CID): boolean {
    return this.#payloads.isCollected(payload);
  }

  /** Takes a seal that a peer brought or this node made: durable when it returns, if it was added. */
  takeSeal(signed: SignedSeal): Promise<SealOutcome> {
    return this.#run(async () => {
      if (!signed.seal.charter.equals(this.charterId)) return 'untrusted';
      const { outcome, kept, dropped } = this.log.seals.add(signed);
      if (kept === undefined) return outcome;
      await this.#seals.put(kept, dropped?.id.equals(kept.id) ? undefined : dropped);
      this.#listener.onSeal(kept);
      return outcome;
    });
  }

  /**
   * Takes a finished file as a payload that a contribution is about to name. It stays until `release`, which removes it
   * again unless a record names it by then.
   */
  reserve(manifest: IdentifiedManifest, file: string): Promise<void> {
    return this.#run(() => this.#payloads.reserve(manifest, file));
  }

  release(payload: CID): Promise<void> {
    return this.#serial.run(() => this.#payloads.release(payload));
  }

  /** Notes a manifest that was fetched and checked; `bytes` is null for one that is in the store. */
  learnManifest(payload: CID, bytes: Uint8Array | null, manifest: Manifest): Promise<void> {
    return this.#saved(async () => {
      if (bytes !== null) this.#payloads.learnManifest(payload, bytes);
      await this.#changes.apply(this.log.setManifest(payload, manifest.size));
    });
  }

  /**
   * Takes payloads that were fetched and checked together: what waiting records still need of them is durable when it
   * returns. Of the others nothing stays.
   */
  receive(payloads: readonly ReceivedPayload[]): Promise<void> {
    return this.#saved(async () => {
      // The sizes first: they tell whether the authors' budgets cover the rest.
      await this.#changes.apply(joined(payloads.map(({ id, manifest }) => this.log.setManifest(id, manifest.size))));
      const stored: ReceivedPayload[] = [];
      let bytes = 0;
      for (const payload of payloads.filter(({ id }) => this.log.namesPayload(id))) {
        const wanted = payload.content !== null && this.log.wantsPayload(payload.id, bytes);
        stored.push(wanted ? payload : { ...payload, content: null });
        if (wanted) bytes += payload.manifest.size;
      }
      await this.#payloads.putAll(stored);
      const whole = stored.filter(({ content }) => content !== null);
      await this.#changes.apply(joined(whole.map(({ id, manifest }) => this.log.setPayload(id, manifest.size))));
    });
  }

  /** Notes a payload whose blob is whole in the store. One that no record names any more is removed. */
  learnPayload(payload: CID, manifest: Manifest): Promise<void> {
    return this.#saved(async () => {
      this.#payloads.learnStored(payload, manifest.size);
      await this.#changes.apply(this.log.setPayload(payload, manifest.size));
      await this.#changes.discard(payload);
    });
  }

  /** Drops records that have waited too long, also when no other record comes, and tries failed writes again. */
  expire(): Promise<void> {
    return this.#saved(() => this.#changes.apply(this.log.expire()));
  }

  /** The stored manifest of a payload; a damaged one counts as missing. */
  manifest(payload: CID): Promise<Manifest | undefined> {
    return this.#payloads.manifest(payload);
  }

  /** The canonical bytes of the same. */
  manifestBytes(payload: CID): Promise<Uint8Array | undefined> {
    return this.#payloads.manifestBytes(payload);
  }

  /** A block of a stored payload. One that is damaged is not handed out, and its payload is fetched again. */
  block(payload: CID, manifest: Manifest, index: number): Promise<Uint8Array | undefined> {
    return this.#payloads.block(payload, manifest, index, () => {
      this.lose(payload).catch(() => {});
    });
  }

  /** Payloads whose bytes are there, as far as is known. */
  stored(): Generator<CID> {
    return this.#payloads.stored();
  }

  isStored(payload: CID): boolean {
    return this.#payloads.isStored(payload);
  }

  /** Gives up the bytes of a held record's payload. The record stays held. @returns how many they were */
  collect(payload: CID): Promise<number> {
    return this.#run(async () => {
      // One of a record that waits is needed to hold it.
      if (this.#files.stalledNames(payload)) return 0;
      return this.#payloads.collect(payload);
    });
  }

  /** Whether there is no room for more payloads: then none is fetched, and none that a peer brings is kept. */
  setFull(full: boolean): void {
    if (this.#full && !full) this.#changes.tellMissing();
    this.#full = full;
  }

  /** Removes what was fetched of payloads that no record names. */
  dropIdleParts(): Promise<void> {
    return this.#run(() => this.#payloads.sweepParts(0));
  }

  /** Takes a payload whose bytes are damaged out of use and asks for it. Its record stays held. */
  lose(payload: CID): Promise<void> {
    return this.#run(async () => {
      await this.#payloads.lose(payload);
      this.#changes.tellMissing();
    });
  }

  /** What is to be fetched: for waiting records, and in the place of what is damaged. */
  missing(): Missing {
    if (this.#full) return { ...this.log.missing(), manifests: [], payloads: [] };
    const missing = this.log.missing();
    const { lost } = this.#payloads;
    return lost.length === 0 ? missing : { ...missing, payloads: [...missing.payloads, ...lost] };
  }

  /** Whether `missing` names the bytes of a payload. */
  wants(payload: CID): boolean {
    return this.log.wantsPayload(payload) || this.#payloads.lost.some((lost) => lost.equals(payload));
  }

  /** Encoded signed bytes of a held record. */
  encoded(id: CID): Uint8Array | undefined {
    const signed = this.log.get(id);
    return signed && encodeSigned(signed);
  }

  /**
   * Drops payloads and manifests that no record names, held or not: a declined contribution, an interrupted one. The
   * only copy of a damaged record's payload may be here.
   */
  dropOrphans(): Promise<void> {
    // Nothing is known of what a record that cannot be read names.
    if (this.#files.damaged) return Promise.resolve();
    return this.#run(() => this.#payloads.sweep());
  }

  /**
   * Keeps an inline payload only of a record that could be held: the disk is not for strangers. The rest is fetched
   * when the record's chain is known.
   */
  async #keepInline(signed: SignedRecord, payload: Uint8Array): Promise<void> {
    if (this.#full) return;
    const { manifest, bytes, id } = await manifestOf(payload);
    if (payloadOf(signed.record)?.equals(id) !== true || this.judge(signed, manifest.size).verdict !== 'valid') return;
    if (!this.log.hasPayloadRoom(signed, manifest.size)) return;
    if (!(await this.#payloads.has(id, manifest.size))) await this.blobs.put(id, payload);
    this.#payloads.learnManifest(id, bytes);
    this.#payloads.learnStored(id, manifest.size);
    await this.#changes.apply(this.log.setPayload(id, manifest.size));
  }

  /** The same, and then waits until what became held is on disk, together with what others wait for. */
  async #saved<T>(task: () => Promise<T>): Promise<T> {
    const result = await this.#run(task);
    await this.#files.save();
    return result;
  }

  #run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new NodeError('INTERRUPTED', 'the node is shutting down'));
    return this.#serial.run(task);
  }
}
