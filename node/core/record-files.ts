import type { CID } from 'multiformats/cid';
import type { SignedRecord } from '../../src/log/index.ts';
import { decodeSigned, encodeSigned, payloadOf } from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { ObjectStore } from '../stores/object-store.ts';

/**
 * The record files of a home: what is on disk and held, what is there and not held or cannot be read, and what is held
 * and not there yet. The caller runs everything that changes something one after another.
 */
export class RecordFiles {
  readonly #store: ObjectStore;
  readonly #onSaved: (records: readonly SignedRecord[]) => void;
  readonly #logger: Logger;
  /** Records on disk that are not held: their payload or an ancestor is damaged or missing. By id. */
  readonly #stalled = new Map<string, SignedRecord>();
  /** Record files that cannot be read, by id, with what is in them. */
  readonly #unreadable = new Map<string, Uint8Array>();
  /** Held records that are not on disk yet, parents before children: a write failed and will be tried again. */
  readonly #unsaved = new Map<string, SignedRecord>();

  /** @param components - `onSaved` is told which held records have come to be on disk, parents before children */
  constructor(
    options: Pick<HomePaths, 'records'>,
    components: { onSaved: (records: readonly SignedRecord[]) => void; logger: Logger },
  ) {
    this.#store = new ObjectStore({ directory: options.records });
    this.#onSaved = components.onSaved;
    this.#logger = components.logger;
  }

  async open(): Promise<void> {
    await this.#store.open();
  }

  /** Everything that can be read, by id, in no particular order. */
  async readAll(): Promise<Map<string, SignedRecord>> {
    const records = new Map<string, SignedRecord>();
    for (const id of await this.#store.list()) {
      const signed = await this.#read(id);
      if (signed !== undefined) records.set(id.toString(), signed);
    }
    return records;
  }

  /** Notes a record on disk that cannot be held yet. */
  stall(signed: SignedRecord): void {
    this.#stalled.set(signed.id.toString(), signed);
  }

  /** Whether a record that is on disk and not held names the payload. */
  stalledNames(payload: CID): boolean {
    for (const { record } of this.#stalled.values()) if (payloadOf(record)?.equals(payload)) return true;
    return false;
  }

  /** Whether there are files that cannot be read: nothing is known of what they name. */
  get damaged(): boolean {
    return this.#unreadable.size > 0;
  }

  /** Ids of records on disk that are not held, or not readable, and that are the author's or may be. */
  stalledOf(author: Uint8Array): string[] {
    const ids: string[] = [];
    for (const [id, { record }] of this.#stalled) {
      if (Buffer.compare(record.author, author) === 0) ids.push(id);
    }
    // A damaged file that still shows the author's key may be the author's; an empty one may be anybody's.
    for (const [id, bytes] of this.#unreadable) {
      if (bytes.length === 0 || Buffer.from(bytes).includes(Buffer.from(author))) ids.push(id);
    }
    return ids;
  }

  /** Writes a record that is about to be held. From here on its seq counts as used. */
  async putAhead(signed: SignedRecord): Promise<void> {
    const key = signed.id.toString();
    this.#stalled.set(key, signed);
    try {
      await this.#store.put(signed.id, encodeSigned(signed));
    } catch (error) {
      // The seq is free again only when the file is known to be gone.
      await this.#store.delete(signed.id).then(
        () => this.#stalled.delete(key),
        () => {},
      );
      throw error;
    }
  }

  /** Notes records that became held, for `save`. */
  queue(held: readonly SignedRecord[]): void {
    for (const signed of held) this.#unsaved.set(signed.id.toString(), signed);
  }

  /** Writes the held records that are not on disk; what was written is told even when a later one fails. */
  async save(): Promise<void> {
    const saved: SignedRecord[] = [];
    try {
      for (const [key, signed] of this.#unsaved) {
        if (!this.#stalled.has(key)) await this.#store.put(signed.id, encodeSigned(signed));
        this.#unsaved.delete(key);
        this.#stalled.delete(key);
        this.#unreadable.delete(key);
        saved.push(signed);
      }
    } finally {
      if (saved.length > 0) this.#onSaved(saved);
    }
  }

  /** A damaged file stays where it is until the record comes again: its `seq` may be the own author's. */
  async #read(id: CID): Promise<SignedRecord | undefined> {
    const bytes = (await this.#store.get(id)) ?? new Uint8Array();
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
