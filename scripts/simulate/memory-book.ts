import type { CID } from 'multiformats/cid';
import type { PayloadBook } from '../../node/core/payload-book.ts';
import type { ReceivedPayload } from '../../node/core/payload-store.ts';
import type { RecordBook, RecordBookListener, Taken } from '../../node/core/record-book.ts';
import { judgeRecord, type NextLink, requirePublishable } from '../../node/core/record-judging.ts';
import { Serial } from '../../node/core/serial.ts';
import type { NetworkBook } from '../../node/net/network-book.ts';
import {
  type Charter,
  canonicalOrder,
  decodeManifest,
  type IdentifiedManifest,
  Log,
  type LogChange,
  type LogRecord,
  type Manifest,
  type Missing,
  manifestOf,
  payloadOf,
  type SealOutcome,
  type SignedRecord,
  type SignedSeal,
  type Validity,
} from '../../src/log/index.ts';
import { MemoryBlobs, MemoryObjects, type SharedContent } from './memory-stores.ts';

/** What a node's disk holds: what a node that was stopped begins with again. */
export interface Disk {
  readonly blobs: MemoryBlobs;
  readonly objects: MemoryObjects;
  readonly records: Map<string, SignedRecord>;
  readonly seals: Map<string, SignedSeal>;
  /** Sizes of payloads that are done without. */
  readonly collected: Map<string, number>;
}

export function emptyDisk(shared: SharedContent): Disk {
  return {
    blobs: new MemoryBlobs({ shared }),
    objects: new MemoryObjects(),
    records: new Map(),
    seals: new Map(),
    collected: new Map(),
  };
}

type Listener = Pick<RecordBookListener, 'onHeld' | 'onMissing' | 'onSeal'>;

/** What the network and the core use of a book. */
type Book = NetworkBook &
  Pick<RecordBook, 'publish' | 'nextLink'> & { readonly payloads: Pick<PayloadBook, 'renounce' | 'isCollected'> };

/**
 * `RecordBook` without files: the same log, judging, order of steps and bounds on inline payloads, over stores in
 * memory. Damage and failed writes, which the book on disk is much about, do not happen here.
 */
export class MemoryBook implements Book {
  readonly log: Log;
  readonly blobs: MemoryBlobs;
  readonly objects: MemoryObjects;
  readonly #disk: Disk;
  readonly charterId: CID;
  readonly #listener: Listener;
  readonly #serial = new Serial();
  #telling: NodeJS.Immediate | undefined;

  constructor(options: { charter: Charter; charterId: CID }, components: { disk: Disk; listener: Listener }) {
    const { charter, charterId } = options;
    this.log = new Log({ charter, charterId });
    this.charterId = charterId;
    this.#listener = components.listener;
    this.#disk = components.disk;
    this.blobs = components.disk.blobs;
    this.objects = components.disk.objects;
  }

  /** Records and payloads are in one hand here. */
  get payloads(): this {
    return this;
  }

  /** Reads what is on the disk. */
  async open(): Promise<void> {
    const { records, seals } = this.#disk;
    for (const id of canonicalOrder(records.values(), this.charterId.bytes)) {
      const signed = records.get(id.toString())!;
      const payload = payloadOf(signed.record);
      const manifest = payload && (await this.manifest(payload));
      const size = manifest?.size ?? this.#disk.collected.get(String(payload));
      if (payload !== null && size !== undefined) this.log.setPayload(payload, size);
      this.log.addRecord(signed);
    }
    // After the records: amendments say who may seal.
    for (const signed of [...seals.values()].sort((a, b) => a.seal.number - b.seal.number)) this.log.seals.add(signed);
  }

  async close(): Promise<void> {
    clearImmediate(this.#telling);
    await this.#serial.idle();
  }

  judge(signed: SignedRecord, payloadSize: number | undefined): Validity {
    return judgeRecord(signed, payloadSize, { log: this.log, charterId: this.charterId });
  }

  nextLink(author: Uint8Array): NextLink {
    return this.log.nextLink(author);
  }

  take(signed: SignedRecord, payload: Uint8Array | null, source: string): Promise<Taken> {
    return this.#serial.run(async () => {
      if (payload !== null && this.log.state(signed.id) !== 'held') await this.#keepInline(signed, payload);
      const added = this.log.addRecord(signed, source);
      this.#apply(added.change);
      if (added.outcome === 'pending') this.#tellMissing();
      return added.outcome === 'invalid'
        ? { outcome: 'invalid', code: added.code, message: added.message }
        : { outcome: added.outcome };
    });
  }

  takeSeal(signed: SignedSeal): Promise<SealOutcome> {
    return this.#serial.run(async () => {
      if (!signed.seal.charter.equals(this.charterId)) return 'untrusted';
      const { outcome, kept, dropped } = this.log.seals.add(signed);
      if (dropped !== undefined) this.#disk.seals.delete(dropped.id.toString());
      if (kept === undefined) return outcome;
      this.#disk.seals.set(kept.id.toString(), kept);
      this.#listener.onSeal(kept);
      return outcome;
    });
  }

  publish<R extends LogRecord>(
    author: Uint8Array,
    content: Pick<IdentifiedManifest, 'bytes' | 'manifest'> | null,
    make: (link: NextLink) => SignedRecord<R>,
  ): Promise<SignedRecord<R>> {
    return this.#serial.run(async () => {
      const signed = make(this.nextLink(author));
      requirePublishable(this.judge(signed, content?.manifest.size));
      const payload = payloadOf(signed.record);
      if (payload !== null && content !== null) {
        await this.objects.put(payload, content.bytes);
        this.#apply(this.log.setPayload(payload, content.manifest.size));
      }
      this.#apply(this.log.addRecord(signed).change);
      return signed;
    });
  }

  renounce(payload: CID): Promise<void> {
    return this.#serial.run(async () => {
      const size = this.log.payloadSize(payload);
      if (size === undefined || !this.log.namesPayload(payload)) return;
      this.#disk.collected.set(payload.toString(), size);
      this.#apply(this.log.setPayload(payload, size));
    });
  }

  isCollected(payload: CID): boolean {
    return this.#disk.collected.has(payload.toString());
  }

  receive(payloads: readonly ReceivedPayload[]): Promise<void> {
    return this.#serial.run(async () => {
      // The sizes first: they tell whether the authors' budgets cover the rest.
      for (const { id, manifest } of payloads) this.#apply(this.log.setManifest(id, manifest.size));
      for (const { id, manifest, bytes, content } of payloads.filter((payload) => this.log.namesPayload(payload.id))) {
        await this.objects.put(id, bytes);
        if (content === null || !this.log.wantsPayload(id)) continue;
        await this.blobs.put(id, content);
        this.#apply(this.log.setPayload(id, manifest.size));
      }
    });
  }

  missing(): Missing {
    return this.log.missing();
  }

  wants(payload: CID): boolean {
    return this.log.wantsPayload(payload);
  }

  manifestBytes(payload: CID): Promise<Uint8Array | undefined> {
    return this.objects.getVerified(payload);
  }

  block(payload: CID, manifest: Manifest, index: number): Promise<Uint8Array | undefined> {
    return this.blobs.readBlock(payload, manifest, index);
  }

  learnManifest(payload: CID, bytes: Uint8Array | null, manifest: Manifest): Promise<void> {
    return this.#serial.run(async () => {
      if (bytes !== null) await this.objects.put(payload, bytes);
      this.#apply(this.log.setManifest(payload, manifest.size));
    });
  }

  learnPayload(payload: CID, manifest: Manifest): Promise<void> {
    return this.#serial.run(async () => this.#apply(this.log.setPayload(payload, manifest.size)));
  }

  expire(): Promise<void> {
    return this.#serial.run(async () => this.#apply(this.log.expire()));
  }

  async manifest(payload: CID): Promise<Manifest | undefined> {
    const bytes = await this.objects.getVerified(payload);
    return bytes && decodeManifest(bytes);
  }

  async #keepInline(signed: SignedRecord, payload: Uint8Array): Promise<void> {
    const { manifest, bytes, id } = await manifestOf(payload);
    if (payloadOf(signed.record)?.equals(id) !== true || this.judge(signed, manifest.size).verdict !== 'valid') return;
    if (!this.log.hasPayloadRoom(signed, manifest.size)) return;
    await this.blobs.put(id, payload);
    await this.objects.put(id, bytes);
    this.#apply(this.log.setPayload(id, manifest.size));
  }

  #apply({ held }: LogChange): void {
    for (const signed of held) this.#disk.records.set(signed.id.toString(), signed);
    if (held.length > 0) this.#listener.onHeld(held);
  }

  /** Once for all that came in one turn of the event loop. */
  #tellMissing(): void {
    this.#telling ??= setImmediate(() => {
      this.#telling = undefined;
      this.#listener.onMissing();
    });
  }
}
