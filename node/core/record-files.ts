import { readFile } from 'node:fs/promises';
import { CID } from 'multiformats/cid';
import { writeFileDurably } from '../../src/durable.ts';
import type { SignedRecord } from '../../src/log/index.ts';
import {
  authorKey,
  decodeSigned,
  decodeStored,
  encodeSigned,
  idFromBytes,
  idFromDigest,
  idKey,
  idText,
  payloadOf,
} from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import { ignoreMissing } from '../files.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { digestOfKey, type HomeContent, keyOf } from '../stores/home-journal.ts';
import type { Journal } from '../stores/journal.ts';
import { type JournalEntry, KIND } from '../stores/journal-format.ts';
import { removal } from '../stores/journal-reading.ts';

/**
 * The records of a home on disk: what is there and held, what is there and not held or cannot be read, and what is held
 * and not there yet. The caller runs everything that changes something one after another, except `save`.
 */
export class RecordFiles {
  readonly #journal: Journal;
  readonly #publishedPath: string;
  readonly #onSaved: (records: readonly SignedRecord[]) => void;
  readonly #beforeSave: () => Promise<void>;
  readonly #logger: Logger;
  /** Records on disk that are not held: their payload or an ancestor is damaged or missing. By id. */
  readonly #stalled = new Map<string, SignedRecord>();
  /** Records on disk that cannot be read, by id, with what is left of them. */
  readonly #unreadable = new Map<string, Uint8Array>();
  /** Held records that are not on disk yet, parents before children: a write is under way, or failed and will be tried again. */
  readonly #unsaved = new Map<string, SignedRecord>();
  /** The last record that was published here, and its author. */
  #published: { readonly author: string; readonly id: CID } | undefined;
  #saving: Promise<void> = Promise.resolve();
  #nextSave: Promise<void> | undefined;

  /**
   * @param components - `onSaved` is told which held records have come to be on disk, parents before children;
   *   `beforeSave` makes the payloads durable that they name
   */
  constructor(
    options: Pick<HomePaths, 'published'>,
    components: {
      journal: Journal;
      beforeSave: () => Promise<void>;
      onSaved: (records: readonly SignedRecord[]) => void;
      logger: Logger;
    },
  ) {
    this.#publishedPath = options.published;
    this.#journal = components.journal;
    this.#beforeSave = components.beforeSave;
    this.#onSaved = components.onSaved;
    this.#logger = components.logger;
  }

  /** Everything that can be read, in the order of the journal. */
  async readAll({ records, damagedRecords, damaged }: HomeContent): Promise<SignedRecord[]> {
    await this.#readPublished();
    for (const [key, bytes] of damagedRecords) {
      const id = idText(idFromDigest(digestOfKey(key)));
      this.#logger.warn({ record: id }, 'a stored record is damaged; it will be fetched again');
      this.#unreadable.set(id, bytes);
    }
    const read: SignedRecord[] = [];
    const known: Known = { ids: new Map(), authors: new Map() };
    for (const [key, bytes] of records) {
      const signed = this.#decode(key, bytes, damaged);
      if (signed !== undefined) read.push(shareParts(signed, known));
      records.delete(key);
    }
    return read;
  }

  /** Notes a record on disk that cannot be held yet. */
  stall(signed: SignedRecord): void {
    this.#stalled.set(idText(signed.id), signed);
  }

  /** Whether a record that is on disk and not held names the payload. */
  stalledNames(payload: CID): boolean {
    for (const { record } of this.#stalled.values()) if (payloadOf(record)?.equals(payload)) return true;
    return false;
  }

  /** Whether there are records that cannot be read: nothing is known of what they name. */
  get damaged(): boolean {
    return this.#unreadable.size > 0;
  }

  /** Ids of records on disk that are not held, or not readable, and that are the author's or may be. */
  stalledOf(author: Uint8Array): string[] {
    const ids: string[] = [];
    for (const [id, { record }] of this.#stalled) {
      if (Buffer.compare(record.author, author) === 0) ids.push(id);
    }
    // A damaged one that still shows the author's key may be the author's; an empty one may be anybody's.
    for (const [id, bytes] of this.#unreadable) {
      if (!bytes.some((byte) => byte !== 0) || Buffer.from(bytes).includes(Buffer.from(author))) ids.push(id);
    }
    return ids;
  }

  /** The last record of the author that was published here, whatever became of the journal since. */
  lastPublished(author: Uint8Array): CID | undefined {
    return this.#published?.author === authorKey(author) ? this.#published.id : undefined;
  }

  /** Writes an own record that is about to be held. From here on its seq counts as used. */
  async putAhead(signed: SignedRecord): Promise<void> {
    const key = idText(signed.id);
    this.#stalled.set(key, signed);
    try {
      await this.#beforeSave();
      await this.#journal.append([entryOf(signed)], { mark: true });
      await this.#publish(signed);
    } catch (error) {
      // The seq is free again only when the record is known to be gone.
      await this.#journal.append([removal(KIND.record, signed.id.multihash.digest)], { mark: true }).then(
        () => this.#stalled.delete(key),
        () => {},
      );
      throw error;
    }
  }

  /** Notes records that became held, for `save`. */
  queue(held: readonly SignedRecord[]): void {
    for (const signed of held) this.#unsaved.set(idText(signed.id), signed);
  }

  /**
   * Writes the held records that are not on disk and tells them. What is queued while a write is under way goes into one
   * write after it, for all who wait.
   */
  save(): Promise<void> {
    if (this.#nextSave === undefined) {
      const next = this.#saving
        .catch(() => {})
        .then(() => {
          this.#nextSave = undefined;
          return this.#save();
        });
      this.#nextSave = next;
      this.#saving = next;
    }
    return this.#nextSave;
  }

  async #save(): Promise<void> {
    if (this.#unsaved.size === 0) return;
    const batch = [...this.#unsaved];
    const entries: JournalEntry[] = [];
    for (const [key, signed] of batch) {
      if (!this.#stalled.has(key)) entries.push(entryOf(signed));
      if (this.#unreadable.has(key)) entries.push(removal(KIND.damaged, signed.id.multihash.digest));
    }
    await this.#beforeSave();
    if (entries.length > 0) await this.#journal.append(entries);
    for (const [key] of batch) {
      this.#unsaved.delete(key);
      this.#stalled.delete(key);
      this.#unreadable.delete(key);
    }
    this.#onSaved(batch.map(([, signed]) => signed));
  }

  #decode(key: string, bytes: Uint8Array, suspicious: boolean): SignedRecord | undefined {
    try {
      // The signature was checked before the record was written, and sum and id say that these are the bytes; beside
      // damage an entry may be one that only lay inside of another.
      const signed = suspicious ? decodeSigned(bytes) : decodeStored(bytes);
      if (keyOf(signed.id.multihash.digest) === key) return signed;
      throw new NodeError('OBJECT_CORRUPT', 'the record has another id');
    } catch (error) {
      const id = idText(idFromDigest(digestOfKey(key)));
      this.#logger.warn({ record: id, err: error }, 'a stored record is damaged; it will be fetched again');
      this.#unreadable.set(id, bytes);
      return undefined;
    }
  }

  async #publish({ id, record }: SignedRecord): Promise<void> {
    const author = authorKey(record.author);
    await writeFileDurably(
      this.#publishedPath,
      `${JSON.stringify({ author, seq: record.seq, update: id.toString() })}\n`,
    );
    this.#published = { author, id };
  }

  async #readPublished(): Promise<void> {
    const text = await readFile(this.#publishedPath, 'utf8').catch(ignoreMissing);
    if (text === undefined) return;
    try {
      const { author, update } = JSON.parse(text) as { author: string; update: string };
      this.#published = { author: String(author), id: CID.parse(update) };
    } catch (error) {
      this.#logger.warn({ err: error, path: this.#publishedPath }, 'the note of the last publication cannot be read');
    }
  }
}

interface Known {
  readonly ids: Map<string, CID>;
  readonly authors: Map<string, Uint8Array>;
}

/**
 * Every id and every author's key is one object, however many records name it: an id takes more memory than all else in a
 * record.
 */
function shareParts(signed: SignedRecord, { ids, authors }: Known): SignedRecord {
  const share = (id: CID): CID => {
    const key = idKey(id);
    let known = ids.get(key);
    if (known === undefined) {
      // A decoded one has its bytes twice.
      known = idFromBytes(id.bytes);
      ids.set(key, known);
    }
    return known;
  };
  const { record } = signed;
  const key = authorKey(record.author);
  const author = authors.get(key) ?? record.author;
  authors.set(key, author);
  const { charter, prev, parents } = record;
  const links = { author, charter: share(charter), prev: prev && share(prev), parents: parents.map(share) };
  const own = record.kind === 'update' ? { payload: share(record.payload) } : {};
  return { ...signed, id: share(signed.id), record: { ...record, ...links, ...own } };
}

function entryOf(signed: SignedRecord): JournalEntry {
  return { kind: KIND.record, digest: signed.id.multihash.digest, body: encodeSigned(signed) };
}
