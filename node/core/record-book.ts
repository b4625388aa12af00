import type { CID } from 'multiformats/cid';
import type { Charter, Equivocation, LogChange, Manifest, SignedRecord, Validity } from '../../src/log/index.ts';
import {
  canonicalOrder,
  checkValidity,
  decodeManifest,
  decodeSigned,
  encodeSigned,
  Log,
  manifestOf,
} from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { BlobStore } from '../stores/blob-store.ts';
import { ObjectStore } from '../stores/object-store.ts';
import { Serial } from './serial.ts';

export interface RecordBookListener {
  /** These records are held and on disk, parents before children. */
  onHeld(records: readonly SignedRecord[]): void;
  /** Records wait for something that can be fetched. */
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
 */
export class RecordBook {
  readonly log: Log;
  readonly blobs: BlobStore;
  readonly objects: ObjectStore;
  readonly #records: ObjectStore;
  readonly #charterId: CID;
  readonly #listener: RecordBookListener;
  readonly #logger: Logger;
  readonly #serial = new Serial();

  constructor(
    options: { home: HomePaths; charter: Charter; charterId: CID },
    components: { listener: RecordBookListener; logger: Logger },
  ) {
    this.log = new Log({ charter: options.charter, charterId: options.charterId });
    this.blobs = new BlobStore({ directory: options.home.blobs });
    this.objects = new ObjectStore({ directory: options.home.objects });
    this.#records = new ObjectStore({ directory: options.home.records });
    this.#charterId = options.charterId;
    this.#listener = components.listener;
    this.#logger = components.logger;
  }

  /** Makes the directories, drops what a crash left half-written, and reads everything. */
  async open(): Promise<void> {
    await Promise.all([this.blobs.open(), this.objects.open(), this.#records.open()]);
    await this.load();
  }

  /** Reads everything from disk. What is damaged is passed over with a warning: peers still have it. */
  async load(): Promise<void> {
    const records = new Map<string, SignedRecord>();
    for (const id of await this.#records.list()) {
      const signed = await this.#load(id);
      if (signed !== undefined) records.set(id.toString(), signed);
    }
    // Parents first: a record that comes before its parents would wait, and what waits is bounded.
    for (const id of canonicalOrder(records.values(), this.#charterId.bytes)) {
      const signed = records.get(id.toString())!;
      const manifest = await this.manifest(signed.record.payload);
      if (manifest !== undefined && (await this.blobs.has(signed.record.payload, manifest.size))) {
        this.log.setPayload(signed.record.payload, manifest.size);
      }
      this.log.addRecord(signed);
    }
  }

  /** Waits until everything under way is on disk. */
  async close(): Promise<void> {
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
    return this.#serial.run(async () => {
      if (payload !== null && this.log.state(signed.id) !== 'held') await this.#keepInline(signed, payload);
      const added = this.log.addRecord(signed, source);
      await this.#apply(added.change);
      if (added.outcome === 'pending') this.#listener.onMissing();
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
  append(signed: SignedRecord, manifest: { bytes: Uint8Array; manifest: Manifest }): Promise<void> {
    return this.#serial.run(async () => {
      const validity = this.judge(signed, manifest.manifest.size);
      if (validity.verdict !== 'valid') {
        const message = validity.verdict === 'invalid' ? validity.message : 'the own chain is not complete';
        throw new NodeError('UPDATE_INVALID', `this update cannot be published: ${message}`, {
          reason: validity.verdict === 'invalid' ? validity.code : 'unknown',
        });
      }
      await this.objects.put(signed.record.payload, manifest.bytes);
      await this.#records.put(signed.id, encodeSigned(signed));
      this.#report(this.log.setPayload(signed.record.payload, manifest.manifest.size));
      this.#report(this.log.addRecord(signed).change);
    });
  }

  /** Notes a manifest that was fetched and checked. */
  learnManifest(payload: CID, bytes: Uint8Array, manifest: Manifest): Promise<void> {
    return this.#serial.run(async () => {
      await this.objects.put(payload, bytes);
      await this.#apply(this.log.setManifest(payload, manifest.size));
    });
  }

  /** Notes a payload whose blob is whole in the store. */
  learnPayload(payload: CID, manifest: Manifest): Promise<void> {
    return this.#serial.run(async () => this.#apply(this.log.setPayload(payload, manifest.size)));
  }

  /** The stored manifest of a payload. */
  async manifest(payload: CID): Promise<Manifest | undefined> {
    try {
      const bytes = await this.objects.getVerified(payload);
      return bytes === undefined ? undefined : decodeManifest(bytes);
    } catch (error) {
      this.#logger.warn(
        { payload: payload.toString(), err: error },
        'a stored manifest is damaged; it will be fetched again',
      );
      await this.objects.delete(payload);
      return undefined;
    }
  }

  /** Encoded signed bytes of a held record. */
  encoded(id: CID): Uint8Array | undefined {
    const signed = this.log.get(id);
    return signed && encodeSigned(signed);
  }

  /** Drops payloads that no held record names: a declined contribution, an interrupted one. */
  async dropOrphans(): Promise<void> {
    const named = new Set([...this.log.held()].map(({ record }) => record.payload.toString()));
    for (const id of await this.blobs.list()) if (!named.has(id.toString())) await this.blobs.delete(id);
  }

  /**
   * Keeps an inline payload only of a record that could be held: the disk is not for strangers. The rest is fetched
   * when the record's chain is known.
   */
  async #keepInline(signed: SignedRecord, payload: Uint8Array): Promise<void> {
    const { manifest, bytes, id } = await manifestOf(payload);
    if (!id.equals(signed.record.payload) || this.judge(signed, manifest.size).verdict !== 'valid') return;
    if (!(await this.blobs.has(id, manifest.size))) await this.blobs.put(id, payload);
    await this.objects.put(id, bytes);
    await this.#apply(this.log.setPayload(id, manifest.size));
  }

  /** Makes what became held durable, then tells. */
  async #apply(change: LogChange): Promise<void> {
    for (const signed of change.held) await this.#records.put(signed.id, encodeSigned(signed));
    this.#report(change);
  }

  #report(change: LogChange): void {
    if (change.held.length > 0) this.#listener.onHeld(change.held);
    if (change.equivocations.length > 0) this.#listener.onEquivocations(change.equivocations);
    for (const { signed, reason, code } of change.dropped) {
      this.#logger.debug({ update: signed.id.toString(), reason, code }, 'a waiting record was dropped');
    }
  }

  async #load(id: CID): Promise<SignedRecord | undefined> {
    try {
      const signed = decodeSigned((await this.#records.get(id)) ?? new Uint8Array());
      if (signed.id.equals(id)) return signed;
      throw new NodeError('OBJECT_CORRUPT', 'the record has another id');
    } catch (error) {
      this.#logger.warn({ record: id.toString(), err: error }, 'a stored record is damaged; it will be fetched again');
      await this.#records.delete(id);
      return undefined;
    }
  }
}
