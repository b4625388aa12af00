import { createReadStream } from 'node:fs';
import type { CID } from 'multiformats/cid';
import type { IdentifiedManifest, Manifest } from '../../src/log/index.ts';
import { decodeManifest, idFromDigest, idOf, idText, manifestOf } from '../../src/log/index.ts';
import { NodeError } from '../errors.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { BlobStore, isBlock } from '../stores/blob-store.ts';
import { digestOfKey, type HomeContent, keyOf, type PayloadFact } from '../stores/home-journal.ts';
import type { Journal } from '../stores/journal.ts';
import { digestOfName, encodeSize, type JournalEntry, KIND } from '../stores/journal-format.ts';
import { removal } from '../stores/journal-reading.ts';

/** A payload as it was fetched and checked: its manifest, and all its content when it is small. */
export interface ReceivedPayload {
  readonly id: CID;
  readonly manifest: Manifest;
  /** The manifest's canonical bytes. */
  readonly bytes: Uint8Array;
  readonly content: Uint8Array | null;
}

/** Bytes of half-fetched payloads that are kept although no record names them now: it may come back. One GiB. */
export const MAX_IDLE_PART_BYTES = 2 ** 30;
/** How long one is kept, in milliseconds: a day. */
export const IDLE_PART_EXPIRY_MS = 86_400_000;

const READ_BYTES = 1 << 20;

/**
 * Payloads on disk with their manifests, and what may be removed of them. The caller runs everything that changes
 * something one after another. What it notes in the journal is written with the next record that needs it.
 */
export class PayloadStore {
  readonly blobs: BlobStore;
  readonly #journal: Journal;
  readonly #named: (payload: CID) => boolean;
  readonly #logger: Logger;
  /** What the journal says of payloads, by digest. */
  #facts: Map<string, PayloadFact> = new Map();
  /** Payloads of held records that turned out damaged and are to be fetched again, by digest. */
  readonly #lost = new Map<string, CID>();
  /** How many contributions under way use a payload. */
  readonly #reserved = new Map<string, number>();

  /** @param components - `named`: whether a record, on disk or in memory, names a payload: that one stays */
  constructor(
    options: Pick<HomePaths, 'blobs'>,
    components: { journal: Journal; named: (payload: CID) => boolean; logger: Logger },
  ) {
    this.blobs = new BlobStore({ directory: options.blobs });
    this.#journal = components.journal;
    this.#named = components.named;
    this.#logger = components.logger;
  }

  async open(): Promise<void> {
    await this.blobs.open();
  }

  /** Takes what the journal says, as far as the files in `names` bear it out. */
  load({ payloads }: HomeContent): void {
    this.#facts = payloads;
  }

  /**
   * The size of a payload whose bytes are stored, or were and have been given up.
   *
   * @param names - the files of the blob store
   */
  async settledSize(payload: CID, names: ReadonlySet<string>): Promise<number | undefined> {
    const fact = this.#facts.get(keyOf(payload.multihash.digest));
    if (fact?.state === 'collected') return fact.size;
    if (!names.has(idText(payload))) return undefined;
    if (fact !== undefined) return fact.size;
    // A crash came between the file and the word of it.
    const manifest = await this.manifest(payload);
    return manifest !== undefined && (await this.blobs.has(payload, manifest.size)) ? manifest.size : undefined;
  }

  hasManifest(payload: CID): boolean {
    return this.#journal.has(KIND.manifest, payload.multihash.digest);
  }

  /** Whether the bytes were stored and have been given up. */
  isCollected(payload: CID): boolean {
    return this.#facts.get(keyOf(payload.multihash.digest))?.state === 'collected';
  }

  /** Whether all bytes are there. */
  async has(payload: CID, size: number): Promise<boolean> {
    return !this.#lost.has(keyOf(payload.multihash.digest)) && (await this.blobs.has(payload, size));
  }

  /** Payloads whose bytes are there, as far as is known. */
  *stored(): Generator<CID> {
    for (const [key, { state }] of this.#facts) {
      if (state === 'stored' && !this.#lost.has(key)) yield idFromDigest(digestOfKey(key));
    }
  }

  isStored(payload: CID): boolean {
    const key = keyOf(payload.multihash.digest);
    return this.#facts.get(key)?.state === 'stored' && !this.#lost.has(key);
  }

  /** The stored manifest of a payload; a damaged one counts as missing. */
  async manifest(payload: CID): Promise<Manifest | undefined> {
    const bytes = await this.manifestBytes(payload);
    return bytes && decodeManifest(bytes);
  }

  /** The canonical bytes of the same. */
  async manifestBytes(payload: CID): Promise<Uint8Array | undefined> {
    try {
      const bytes = await this.#journal.get(KIND.manifest, payload.multihash.digest);
      if (bytes === undefined || idOf(bytes).equals(payload)) return bytes;
      throw new NodeError('OBJECT_CORRUPT', 'the manifest has another id');
    } catch (error) {
      this.#logger.warn({ payload: payload.toString(), err: error }, 'a stored manifest is damaged');
      return undefined;
    }
  }

  /** Stores what came of payloads: contents durable but for their names, and manifests, when what is noted is saved. */
  async putAll(payloads: readonly ReceivedPayload[]): Promise<void> {
    // Beside one another: a disk flushes several files as fast as one.
    const written = await Promise.allSettled(
      payloads.map(({ id, content }) => (content === null ? undefined : this.blobs.putWhole(id, content))),
    );
    for (const [place, { id, manifest, bytes, content }] of payloads.entries()) {
      if (written[place]!.status === 'rejected') continue;
      this.learnManifest(id, bytes);
      if (content !== null) this.learnStored(id, manifest.size);
    }
    const failed = written.find((result) => result.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  /** A block of a payload; undefined when it is not there or damaged, which `onDamaged` is told. */
  async block(payload: CID, manifest: Manifest, index: number, onDamaged: () => void): Promise<Uint8Array | undefined> {
    const bytes = await this.blobs.readBlock(payload, manifest, index);
    if (bytes === undefined || isBlock(manifest, index, bytes)) return bytes;
    onDamaged();
    return undefined;
  }

  /** Notes the manifest of a payload. */
  learnManifest(payload: CID, bytes: Uint8Array): void {
    if (!this.#journal.has(KIND.manifest, payload.multihash.digest)) this.#journal.later(manifestEntry(payload, bytes));
  }

  /** Notes that the bytes of a payload are all there. */
  learnStored(payload: CID, size: number): void {
    const key = keyOf(payload.multihash.digest);
    this.#lost.delete(key);
    const fact = this.#facts.get(key);
    if (fact?.state === 'stored') return;
    if (fact !== undefined) this.#journal.later(removal(KIND.collected, payload.multihash.digest));
    this.#facts.set(key, { size, state: 'stored' });
    this.#journal.later({ kind: KIND.stored, digest: payload.multihash.digest, body: encodeSize(size) });
  }

  /** Gives up the bytes of a payload that was stored; the journal says so before they go. @returns how many they were */
  async collect(payload: CID): Promise<number> {
    const { digest } = payload.multihash;
    const fact = this.#facts.get(keyOf(digest));
    if (fact?.state !== 'stored' || this.#reserved.has(idText(payload))) return 0;
    const body = encodeSize(fact.size);
    await this.#journal.append([{ kind: KIND.collected, digest, body }, removal(KIND.stored, digest)]);
    this.#facts.set(keyOf(digest), { size: fact.size, state: 'collected' });
    this.#lost.delete(keyOf(digest));
    await this.blobs.delete(payload);
    await this.blobs.deletePart(payload);
    return fact.size;
  }

  /** Notes that a payload will do without its bytes, which never came. */
  async renounce(payload: CID, size: number): Promise<void> {
    const { digest } = payload.multihash;
    await this.#journal.append([{ kind: KIND.collected, digest, body: encodeSize(size) }]);
    this.#facts.set(keyOf(digest), { size, state: 'collected' });
    await this.blobs.deletePart(payload);
  }

  /** Takes a payload of a held record out of use: its bytes are not what they were. */
  async lose(payload: CID): Promise<void> {
    const key = keyOf(payload.multihash.digest);
    if (this.#facts.get(key)?.state !== 'stored' || this.#lost.has(key)) return;
    this.#logger.warn({ payload: payload.toString() }, 'a stored payload is damaged; it will be fetched again');
    this.#lost.set(key, payload);
    await this.blobs.demote(payload);
  }

  /** Payloads of held records that are to be fetched again. */
  get lost(): CID[] {
    return [...this.#lost.values()];
  }

  /** A manifest made anew from the whole payload; undefined when that is missing or not what its name says. */
  async remake(payload: CID): Promise<IdentifiedManifest | undefined> {
    try {
      const made = await manifestOf(createReadStream(this.blobs.path(payload), { highWaterMark: READ_BYTES }));
      return made.id.equals(payload) ? made : undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Takes a finished file as a payload and keeps it until `release`, whoever names it meanwhile or no longer does. */
  async reserve({ id, manifest }: IdentifiedManifest, file: string): Promise<void> {
    if (!(await this.has(id, manifest.size))) await this.blobs.adopt(id, file);
    this.#reserved.set(idText(id), (this.#reserved.get(idText(id)) ?? 0) + 1);
  }

  /** Ends a reservation; what no record names then goes. */
  async release(payload: CID): Promise<void> {
    const key = idText(payload);
    const left = (this.#reserved.get(key) ?? 1) - 1;
    if (left > 0) this.#reserved.set(key, left);
    else this.#reserved.delete(key);
    await this.discard(payload);
  }

  /**
   * Removes a payload, its manifest and what was fetched of it, unless somebody needs it.
   *
   * @param keepPart - leave what was fetched of it for a later try, within the bounds of `sweepParts`
   * @returns whether the payload is not kept
   */
  async discard(payload: CID, { keepPart = false } = {}): Promise<boolean> {
    if (this.#kept(payload)) return false;
    await this.blobs.delete(payload);
    this.#forget(payload, KIND.stored);
    if (keepPart && (await this.blobs.hasPart(payload))) return true;
    await this.blobs.deletePart(payload);
    this.#forget(payload, KIND.manifest);
    return true;
  }

  /** Removes everything that nobody needs: what a crash, a refused record or a failed contribution left. */
  async sweep(): Promise<void> {
    await this.sweepParts();
    for (const id of await this.blobs.list()) if (!this.#kept(id)) await this.blobs.delete(id);
    const parts = new Set((await this.blobs.parts()).map(({ id }) => idText(id)));
    for (const name of [...this.#journal.names(KIND.manifest)]) {
      const id = idFromDigest(digestOfName(name));
      if (this.#kept(id) || parts.has(idText(id))) continue;
      this.#forget(id, KIND.stored);
      this.#forget(id, KIND.manifest);
    }
  }

  /**
   * Removes half-fetched payloads that no record names when they are too old or too many, the oldest first. The
   * others make a fetch that a restart interrupted go on.
   *
   * @param room - bytes of them that may stay
   */
  async sweepParts(room: number = MAX_IDLE_PART_BYTES): Promise<void> {
    const idle = (await this.blobs.parts()).filter(({ id }) => !this.#kept(id));
    let left = room;
    for (const { id, size, modified } of idle.sort((a, b) => b.modified - a.modified)) {
      left -= size;
      if (left >= 0 && Date.now() - modified < IDLE_PART_EXPIRY_MS) continue;
      await this.blobs.deletePart(id);
      this.#forget(id, KIND.manifest);
    }
  }

  #forget(payload: CID, kind: typeof KIND.stored | typeof KIND.manifest): void {
    const { digest } = payload.multihash;
    if (kind === KIND.stored) this.#facts.delete(keyOf(digest));
    this.#journal.later(removal(kind, digest));
  }

  #kept(payload: CID): boolean {
    return this.#reserved.has(idText(payload)) || this.#named(payload);
  }
}

function manifestEntry(payload: CID, bytes: Uint8Array): JournalEntry {
  return { kind: KIND.manifest, digest: payload.multihash.digest, body: bytes };
}
