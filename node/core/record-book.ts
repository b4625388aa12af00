import type { CID } from 'multiformats/cid';
import type {
  Charter,
  Equivocation,
  IdentifiedManifest,
  LogChange,
  LogOptions,
  Manifest,
  SignedRecord,
  Validity,
} from '../../src/log/index.ts';
import { canonicalOrder, checkValidity, decodeSigned, encodeSigned, Log, manifestOf } from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import type { BlobStore } from '../stores/blob-store.ts';
import { ObjectStore } from '../stores/object-store.ts';
import { PayloadStore } from './payload-store.ts';
import { Serial } from './serial.ts';

/** The chain fields of an author's next record. */
type NextLink = ReturnType<Log['nextLink']>;

export interface RecordBookListener {
  /** These records are held and on disk, parents before children. */
  onHeld(records: readonly SignedRecord[]): void;
  /** Records wait for something that can be fetched; told once for all that came in one turn of the event loop. */
  onMissing(): void;
  onEquivocations(equivocations: readonly Equivocation[]): void;
}

/** What became of a record that somebody brought. */
export type Taken =
  | { readonly outcome: 'held' | 'pending' | 'known' | 'refused' }
  | { readonly outcome: 'invalid'; readonly code: string; readonly message: string };

/**
 * The log on disk. A record file is written when the record is held, after its payload and manifest; a crash between
 * the steps leaves a record that is fetched again, never one without its payload.
 *
 * A home that was restored from a copy knows its author's chain as far as the copy does: it continues the chain rightly
 * once sync has brought the author's later records back, and forks it when it contributes before.
 */
export class RecordBook {
  readonly log: Log;
  readonly #payloads: PayloadStore;
  readonly #records: ObjectStore;
  readonly #charterId: CID;
  readonly #listener: RecordBookListener;
  readonly #logger: Logger;
  readonly #serial = new Serial();
  /** Records on disk that are not held: their payload or an ancestor is damaged or missing. By id. */
  readonly #stalled = new Map<string, SignedRecord>();
  /** Record files that cannot be read, by id, with what is in them. */
  readonly #unreadable = new Map<string, Uint8Array>();
  /** Held records that are not on disk yet, parents before children: a write failed and will be tried again. */
  readonly #unsaved = new Map<string, SignedRecord>();
  #telling: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(
    options: { home: HomePaths; charter: Charter; charterId: CID } & Pick<LogOptions, 'now' | 'limits'>,
    components: { listener: RecordBookListener; logger: Logger },
  ) {
    const { charter, charterId, now, limits } = options;
    this.log = new Log({ charter, charterId, ...(now && { now }), ...(limits && { limits }) });
    this.#payloads = new PayloadStore(options.home, {
      named: (payload) =>
        this.log.namesPayload(payload) || some(this.#stalled, ({ record }) => record.payload.equals(payload)),
      logger: components.logger,
    });
    this.#records = new ObjectStore({ directory: options.home.records });
    this.#charterId = options.charterId;
    this.#listener = components.listener;
    this.#logger = components.logger;
  }

  get blobs(): BlobStore {
    return this.#payloads.blobs;
  }

  /** Manifests. */
  get objects(): ObjectStore {
    return this.#payloads.objects;
  }

  /** Makes the directories, drops what a crash left half-written, reads everything and repairs what can be. */
  async open(): Promise<void> {
    await Promise.all([this.#payloads.open(), this.#records.open()]);
    await this.#read({ repair: true });
  }

  /**
   * Reads everything from disk and changes nothing there. What is damaged is passed over with a warning: peers may still
   * have it.
   */
  async load(): Promise<void> {
    await this.#read({ repair: false });
  }

  async #read({ repair }: { repair: boolean }): Promise<void> {
    const records = new Map<string, SignedRecord>();
    for (const id of await this.#records.list()) {
      const signed = await this.#load(id);
      if (signed !== undefined) records.set(id.toString(), signed);
    }
    // Parents first: a record that comes before its parents would wait, and what waits is bounded.
    for (const id of canonicalOrder(records.values(), this.#charterId.bytes)) {
      const key = id.toString();
      const signed = records.get(key)!;
      const { payload } = signed.record;
      const manifest = (await this.manifest(payload)) ?? (await this.#remakeManifest(payload, repair));
      if (manifest !== undefined) {
        const whole = await this.blobs.has(payload, manifest.size);
        if (whole) this.log.setPayload(payload, manifest.size);
        else this.log.setManifest(payload, manifest.size);
      }
      this.log.addRecord(signed);
      if (this.log.state(id) !== 'held') this.#stalled.set(key, signed);
    }
  }

  /** A payload that is whole says what its manifest was. */
  async #remakeManifest(payload: CID, repair: boolean): Promise<Manifest | undefined> {
    const made = await this.#payloads.remake(payload);
    if (made !== undefined && repair) await this.objects.put(payload, made.bytes);
    return made?.manifest;
  }

  /** Waits until everything under way is on disk; takes nothing more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearImmediate(this.#telling);
    await this.#serial.idle();
  }

  /** Judges a record without taking it. */
  judge(signed: SignedRecord, payloadSize: number | undefined): Validity {
    return checkValidity(signed.record, {
      charter: this.log.charter,
      charterId: this.#charterId,
      record: (id) => {
        const known = this.log.get(id);
        return known && { author: known.record.author, seq: known.record.seq, totals: this.log.totals(id) ?? null };
      },
      payloadSize: (payload) =>
        payload.equals(signed.record.payload) && payloadSize !== undefined
          ? payloadSize
          : this.log.payloadSize(payload),
    });
  }

  /**
   * Takes a record that a peer brought, with its payload when that came along and matches its id.
   *
   * @param source - the peer, for its share of the pending pool
   */
  take(signed: SignedRecord, payload: Uint8Array | null, source: string): Promise<Taken> {
    return this.#run(async () => {
      if (payload !== null && this.log.state(signed.id) !== 'held') await this.#keepInline(signed, payload);
      const added = this.log.addRecord(signed, source);
      await this.#apply(added.change);
      if (added.outcome === 'pending') this.#tellMissing();
      else if (payload !== null && added.outcome !== 'held') await this.#discard(signed.record.payload);
      return added.outcome === 'invalid'
        ? { outcome: 'invalid', code: added.code, message: added.message }
        : { outcome: added.outcome };
    });
  }

  /**
   * Publishes an own record: durable when it returns. Its payload is already in the blob store.
   *
   * @throws NodeError `UPDATE_INVALID` when the community would not take it; nothing is stored then
   */
  append(signed: SignedRecord, manifest: Pick<IdentifiedManifest, 'bytes' | 'manifest'>): Promise<void> {
    return this.#run(() => this.#append(signed, manifest));
  }

  /**
   * The same for a record that is made at the end of its author's chain: nothing comes between the look at the chain
   * and the record.
   *
   * @throws NodeError `UPDATE_INVALID`; LogError `AUTHOR_EQUIVOCATED`
   */
  publish(
    author: Uint8Array,
    manifest: Pick<IdentifiedManifest, 'bytes' | 'manifest'>,
    make: (link: NextLink) => SignedRecord,
  ): Promise<SignedRecord> {
    return this.#run(async () => {
      const signed = make(this.nextLink(author));
      await this.#append(signed, manifest);
      return signed;
    });
  }

  /**
   * The chain fields of the author's next record.
   *
   * @throws NodeError `UPDATE_INVALID` (reason `CHAIN_INCOMPLETE`) while a record of the author is here that cannot be
   *   held yet: its `seq` is taken, and using it twice would be an equivocation
   * @throws LogError `AUTHOR_EQUIVOCATED`
   */
  nextLink(author: Uint8Array): NextLink {
    const link = this.log.nextLink(author);
    const waiting = new Set(this.log.waitingOf(author).map(({ id }) => id.toString()));
    for (const [id, { record }] of this.#stalled) {
      if (Buffer.compare(record.author, author) === 0) waiting.add(id);
    }
    // A damaged file that still shows the author's key may be the author's; an empty one may be anybody's.
    for (const [id, bytes] of this.#unreadable) {
      if (bytes.length === 0 || Buffer.from(bytes).includes(Buffer.from(author))) waiting.add(id);
    }
    if (waiting.size === 0) return link;
    throw new NodeError(
      'UPDATE_INVALID',
      `${waiting.size} earlier updates of this author are known here and not whole (${[...waiting][0]}): run the daemon ` +
        'until sync has brought what is missing, then contribute again',
      { reason: 'CHAIN_INCOMPLETE', updates: [...waiting] },
    );
  }

  async #append(signed: SignedRecord, { bytes, manifest }: Pick<IdentifiedManifest, 'bytes' | 'manifest'>) {
    const validity = this.judge(signed, manifest.size);
    if (validity.verdict !== 'valid') {
      const message = validity.verdict === 'invalid' ? validity.message : 'the own chain is not complete';
      throw new NodeError('UPDATE_INVALID', `this update cannot be published: ${message}`, {
        reason: validity.verdict === 'invalid' ? validity.code : 'unknown',
      });
    }
    await this.#save();
    await this.objects.put(signed.record.payload, bytes);
    const key = signed.id.toString();
    // From here on the seq counts as used, unless the file is known to be gone again.
    this.#stalled.set(key, signed);
    try {
      await this.#records.put(signed.id, encodeSigned(signed));
    } catch (error) {
      await this.#records.delete(signed.id).then(
        () => this.#stalled.delete(key),
        () => {},
      );
      throw error;
    }
    await this.#apply(this.log.setPayload(signed.record.payload, manifest.size));
    await this.#apply(this.log.addRecord(signed).change);
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
    return this.#run(async () => {
      if (bytes !== null) await this.objects.put(payload, bytes);
      await this.#apply(this.log.setManifest(payload, manifest.size));
    });
  }

  /** Notes a payload whose blob is whole in the store. One that no record names any more is removed. */
  learnPayload(payload: CID, manifest: Manifest): Promise<void> {
    return this.#run(async () => {
      await this.#apply(this.log.setPayload(payload, manifest.size));
      await this.#discard(payload);
    });
  }

  /** Drops records that have waited too long, also when no other record comes, and tries failed writes again. */
  expire(): Promise<void> {
    return this.#run(() => this.#apply(this.log.expire()));
  }

  /** The stored manifest of a payload; a damaged one counts as missing. */
  manifest(payload: CID): Promise<Manifest | undefined> {
    return this.#payloads.manifest(payload);
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
    if (this.#unreadable.size > 0) return Promise.resolve();
    return this.#run(() => this.#payloads.sweep());
  }

  /**
   * Keeps an inline payload only of a record that could be held: the disk is not for strangers. The rest is fetched
   * when the record's chain is known.
   */
  async #keepInline(signed: SignedRecord, payload: Uint8Array): Promise<void> {
    const { manifest, bytes, id } = await manifestOf(payload);
    if (!id.equals(signed.record.payload) || this.judge(signed, manifest.size).verdict !== 'valid') return;
    if (!this.log.hasPayloadRoom(signed, manifest.size)) return;
    if (!(await this.blobs.has(id, manifest.size))) await this.blobs.put(id, payload);
    await this.objects.put(id, bytes);
    await this.#apply(this.log.setPayload(id, manifest.size));
  }

  #run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new NodeError('INTERRUPTED', 'the node is shutting down'));
    return this.#serial.run(task);
  }

  /** Makes what became held durable, tells, and frees what the dropped records took. */
  async #apply(change: LogChange): Promise<void> {
    for (const signed of change.held) this.#unsaved.set(signed.id.toString(), signed);
    if (change.equivocations.length > 0) this.#listener.onEquivocations(change.equivocations);
    await this.#save();
    let parts = false;
    for (const { signed, reason, code } of change.dropped) {
      this.#logger.debug({ update: signed.id.toString(), reason, code }, 'a waiting record was dropped');
      // What was only too many or too late may come again; what is invalid never does.
      parts ||= reason !== 'invalid';
      await this.#discard(signed.record.payload, { keepPart: reason !== 'invalid' });
    }
    if (parts) await this.#payloads.sweepParts();
  }

  /** Writes the held records that are not on disk; what was written is told even when a later one fails. */
  async #save(): Promise<void> {
    const saved: SignedRecord[] = [];
    try {
      for (const [key, signed] of this.#unsaved) {
        if (!this.#stalled.has(key)) await this.#records.put(signed.id, encodeSigned(signed));
        this.#unsaved.delete(key);
        this.#stalled.delete(key);
        this.#unreadable.delete(key);
        saved.push(signed);
      }
    } finally {
      if (saved.length > 0) this.#listener.onHeld(saved);
    }
  }

  async #discard(payload: CID, options: { keepPart?: boolean } = {}): Promise<void> {
    if (await this.#payloads.discard(payload, options)) this.log.forgetPayload(payload);
  }

  #tellMissing(): void {
    this.#telling ??= setImmediate(() => {
      this.#telling = undefined;
      this.#listener.onMissing();
    });
  }

  /** A damaged file stays where it is until the record comes again: its `seq` may be the own author's. */
  async #load(id: CID): Promise<SignedRecord | undefined> {
    const bytes = (await this.#records.get(id)) ?? new Uint8Array();
    try {
      const signed = decodeSigned(bytes);
      if (signed.id.equals(id)) return signed;
      throw new NodeError('OBJECT_CORRUPT', 'the record has another id');
    } catch (error) {
      this.#logger.warn({ record: id.toString(), err: error }, 'a stored record is damaged; it will be fetched again');
      this.#unreadable.set(id.toString(), bytes);
      return undefined;
    }
  }
}

function some<T>(map: ReadonlyMap<string, T>, test: (value: T) => boolean): boolean {
  for (const value of map.values()) if (test(value)) return true;
  return false;
}
