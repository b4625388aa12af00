import type { CID } from 'multiformats/cid';
import type { IdentifiedManifest, Log, Manifest, Missing, SignedRecord } from '../../src/log/index.ts';
import { manifestOf, payloadOf } from '../../src/log/index.ts';
import type { BlobStore } from '../stores/blob-store.ts';
import type { BookTurns } from './book-turns.ts';
import type { PayloadStore, ReceivedPayload } from './payload-store.ts';
import { joined, type RecordChanges } from './record-changes.ts';
import type { RecordFiles } from './record-files.ts';
import { judgeRecord } from './record-judging.ts';

/**
 * The payloads of a log on disk: what is to be fetched, what comes and makes records held, and what is given up. What
 * becomes of a record by it is known to the log at once and on disk when the call returns.
 */
export class PayloadBook {
  readonly #charterId: CID;
  readonly #log: Log;
  readonly #store: PayloadStore;
  readonly #files: RecordFiles;
  readonly #changes: RecordChanges;
  readonly #turns: BookTurns;
  #full = false;

  constructor(
    options: { charterId: CID },
    components: { log: Log; store: PayloadStore; files: RecordFiles; changes: RecordChanges; turns: BookTurns },
  ) {
    this.#charterId = options.charterId;
    this.#log = components.log;
    this.#store = components.store;
    this.#files = components.files;
    this.#changes = components.changes;
    this.#turns = components.turns;
  }

  get blobs(): BlobStore {
    return this.#store.blobs;
  }

  /**
   * Takes a finished file as a payload that a contribution is about to name. It stays until `release`, which removes it
   * again unless a record names it by then.
   */
  reserve(manifest: IdentifiedManifest, file: string): Promise<void> {
    return this.#turns.run(() => this.#store.reserve(manifest, file));
  }

  release(payload: CID): Promise<void> {
    return this.#turns.end(() => this.#store.release(payload));
  }

  /** Notes a manifest that was fetched and checked; `bytes` is null for one that is in the store. */
  learnManifest(payload: CID, bytes: Uint8Array | null, manifest: Manifest): Promise<void> {
    return this.#turns.saved(async () => {
      if (bytes !== null) this.#store.learnManifest(payload, bytes);
      await this.#changes.apply(this.#log.setManifest(payload, manifest.size));
    });
  }

  /**
   * Takes payloads that were fetched and checked together: what waiting records still need of them is durable when it
   * returns. Of the others nothing stays.
   */
  receive(payloads: readonly ReceivedPayload[]): Promise<void> {
    return this.#turns.saved(async () => {
      // The sizes first: they tell whether the authors' budgets cover the rest.
      await this.#changes.apply(joined(payloads.map(({ id, manifest }) => this.#log.setManifest(id, manifest.size))));
      const stored: ReceivedPayload[] = [];
      let bytes = 0;
      for (const payload of payloads.filter(({ id }) => this.#log.namesPayload(id))) {
        const wanted = payload.content !== null && this.#log.wantsPayload(payload.id, bytes);
        stored.push(wanted ? payload : { ...payload, content: null });
        if (wanted) bytes += payload.manifest.size;
      }
      await this.#store.putAll(stored);
      const whole = stored.filter(({ content }) => content !== null);
      await this.#changes.apply(joined(whole.map(({ id, manifest }) => this.#log.setPayload(id, manifest.size))));
    });
  }

  /** Notes a payload whose blob is whole in the store. One that no record names any more is removed. */
  learnPayload(payload: CID, manifest: Manifest): Promise<void> {
    return this.#turns.saved(async () => {
      this.#store.learnStored(payload, manifest.size);
      await this.#changes.apply(this.#log.setPayload(payload, manifest.size));
      await this.#changes.discard(payload);
    });
  }

  /**
   * Does without the bytes of a payload that nobody has and nothing depends on: the records that name it wait for it no longer.
   * Nothing happens while its size is unknown.
   */
  renounce(payload: CID): Promise<void> {
    return this.#turns.saved(async () => {
      const size = this.#log.payloadSize(payload);
      if (size === undefined || !this.#log.namesPayload(payload)) return;
      await this.#store.renounce(payload, size);
      await this.#changes.apply(this.#log.setPayload(payload, size));
    });
  }

  /**
   * Keeps an inline payload only of a record that could be held: the disk is not for strangers. The rest is fetched
   * when the record's chain is known. The caller has a turn.
   */
  async keepInline(signed: SignedRecord, payload: Uint8Array): Promise<void> {
    if (this.#full) return;
    const { manifest, bytes, id } = await manifestOf(payload);
    if (payloadOf(signed.record)?.equals(id) !== true) return;
    const { verdict } = judgeRecord(signed, manifest.size, { log: this.#log, charterId: this.#charterId });
    if (verdict !== 'valid') return;
    if (!this.#log.hasPayloadRoom(signed, manifest.size)) return;
    if (!(await this.#store.has(id, manifest.size))) await this.blobs.put(id, payload);
    this.#store.learnManifest(id, bytes);
    this.#store.learnStored(id, manifest.size);
    await this.#changes.apply(this.#log.setPayload(id, manifest.size));
  }

  /** The stored manifest of a payload; a damaged one counts as missing. */
  manifest(payload: CID): Promise<Manifest | undefined> {
    return this.#store.manifest(payload);
  }

  /** The canonical bytes of the same. */
  manifestBytes(payload: CID): Promise<Uint8Array | undefined> {
    return this.#store.manifestBytes(payload);
  }

  /** A block of a stored payload. One that is damaged is not handed out, and its payload is fetched again. */
  block(payload: CID, manifest: Manifest, index: number): Promise<Uint8Array | undefined> {
    return this.#store.block(payload, manifest, index, () => {
      this.lose(payload).catch(() => {});
    });
  }

  /** Payloads whose bytes are there, as far as is known. */
  stored(): Generator<CID> {
    return this.#store.stored();
  }

  isStored(payload: CID): boolean {
    return this.#store.isStored(payload);
  }

  /** Gives up the bytes of a held record's payload. The record stays held. @returns how many they were */
  collect(payload: CID): Promise<number> {
    return this.#turns.run(async () => {
      // One of a record that waits is needed to hold it.
      if (this.#files.stalledNames(payload)) return 0;
      return this.#store.collect(payload);
    });
  }

  /** Whether there is no room for more payloads: then none is fetched, and none that a peer brings is kept. */
  setFull(full: boolean): void {
    if (this.#full && !full) this.#changes.tellMissing();
    this.#full = full;
  }

  /** Removes what was fetched of payloads that no record names. */
  dropIdleParts(): Promise<void> {
    return this.#turns.run(() => this.#store.sweepParts(0));
  }

  /** Takes a payload whose bytes are damaged out of use and asks for it. Its record stays held. */
  lose(payload: CID): Promise<void> {
    return this.#turns.run(async () => {
      await this.#store.lose(payload);
      this.#changes.tellMissing();
    });
  }

  /** What is to be fetched: for waiting records, and in the place of what is damaged. */
  missing(): Missing {
    if (this.#full) return { ...this.#log.missing(), manifests: [], payloads: [] };
    const missing = this.#log.missing();
    const { lost } = this.#store;
    return lost.length === 0 ? missing : { ...missing, payloads: [...missing.payloads, ...lost] };
  }

  /** Whether `missing` names the bytes of a payload. */
  wants(payload: CID): boolean {
    return this.#log.wantsPayload(payload) || this.#store.lost.some((lost) => lost.equals(payload));
  }

  /**
   * Drops payloads and manifests that no record names, held or not: a declined contribution, an interrupted one. The
   * only copy of a damaged record's payload may be here.
   */
  dropOrphans(): Promise<void> {
    // Nothing is known of what a record that cannot be read names.
    if (this.#files.damaged) return Promise.resolve();
    return this.#turns.run(() => this.#store.sweep());
  }

  /** Whether the bytes of a payload were given up. */
  isCollected(payload: CID): boolean {
    return this.#store.isCollected(payload);
  }
}
