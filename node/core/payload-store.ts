import { createReadStream } from 'node:fs';
import type { CID } from 'multiformats/cid';
import type { IdentifiedManifest, Manifest } from '../../src/log/index.ts';
import { decodeManifest, manifestOf } from '../../src/log/index.ts';
import type { HomePaths } from '../home/paths.ts';
import type { Logger } from '../logger.ts';
import { BlobStore } from '../stores/blob-store.ts';
import { ObjectStore } from '../stores/object-store.ts';

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
 * Payloads with their manifests on disk, and what may be removed of them. The caller runs everything that changes
 * something one after another.
 */
export class PayloadStore {
  readonly blobs: BlobStore;
  /** Manifests. */
  readonly objects: ObjectStore;
  readonly #named: (payload: CID) => boolean;
  readonly #logger: Logger;
  /** How many contributions under way use a payload. */
  readonly #reserved = new Map<string, number>();

  /** @param components - `named`: whether a record, on disk or in memory, names a payload: that one stays */
  constructor(
    options: Pick<HomePaths, 'blobs' | 'objects'>,
    components: { named: (payload: CID) => boolean; logger: Logger },
  ) {
    this.blobs = new BlobStore({ directory: options.blobs });
    this.objects = new ObjectStore({ directory: options.objects });
    this.#named = components.named;
    this.#logger = components.logger;
  }

  async open(): Promise<void> {
    await Promise.all([this.blobs.open(), this.objects.open()]);
  }

  /** The stored manifest of a payload; a damaged one counts as missing. */
  async manifest(payload: CID): Promise<Manifest | undefined> {
    try {
      const bytes = await this.objects.getVerified(payload);
      return bytes === undefined ? undefined : decodeManifest(bytes);
    } catch (error) {
      this.#logger.warn({ payload: payload.toString(), err: error }, 'a stored manifest is damaged');
      return undefined;
    }
  }

  /** Stores manifests, and the content that came with them: all durable when it returns. */
  async putAll(payloads: readonly ReceivedPayload[]): Promise<void> {
    const contents = payloads.flatMap(({ id, content }) => (content === null ? [] : [[id, content] as const]));
    await Promise.all([
      this.blobs.putAll(contents),
      this.objects.putAll(payloads.map(({ id, bytes }) => [id, bytes] as const)),
    ]);
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
    if (!(await this.blobs.has(id, manifest.size))) await this.blobs.adopt(id, file);
    this.#reserved.set(id.toString(), (this.#reserved.get(id.toString()) ?? 0) + 1);
  }

  /** Ends a reservation; what no record names then goes. */
  async release(payload: CID): Promise<void> {
    const key = payload.toString();
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
    if (keepPart && (await this.blobs.hasPart(payload))) return true;
    await this.blobs.deletePart(payload);
    await this.objects.delete(payload);
    return true;
  }

  /** Removes everything that nobody needs: what a crash, a refused record or a failed contribution left. */
  async sweep(): Promise<void> {
    await this.sweepParts();
    for (const id of await this.blobs.list()) if (!this.#kept(id)) await this.blobs.delete(id);
    const parts = new Set((await this.blobs.parts()).map(({ id }) => id.toString()));
    for (const id of await this.objects.list()) {
      if (!this.#kept(id) && !parts.has(id.toString())) await this.objects.delete(id);
    }
  }

  /**
   * Removes half-fetched payloads that no record names when they are too old or too many, the oldest first. The
   * others make a fetch that a restart interrupted go on.
   */
  async sweepParts(): Promise<void> {
    const idle = (await this.blobs.parts()).filter(({ id }) => !this.#kept(id));
    let room = MAX_IDLE_PART_BYTES;
    for (const { id, size, modified } of idle.sort((a, b) => b.modified - a.modified)) {
      room -= size;
      if (room >= 0 && Date.now() - modified < IDLE_PART_EXPIRY_MS) continue;
      await this.blobs.deletePart(id);
      await this.objects.delete(id);
    }
  }

  #kept(payload: CID): boolean {
    return this.#reserved.has(payload.toString()) || this.#named(payload);
  }
}
