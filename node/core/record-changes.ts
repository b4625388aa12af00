import type { CID } from 'multiformats/cid';
import type { Equivocation, Log, LogChange, SignedRecord, SignedSeal } from '../../src/log/index.ts';
import { payloadOf } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import type { PayloadStore } from './payload-store.ts';
import type { RecordFiles } from './record-files.ts';

export interface RecordBookListener {
  /** Records became held in memory: they are on their way to the disk, and `onHeld` tells them when they are there. */
  onHolding?(): void;
  /** These records are held and on disk, parents before children. */
  onHeld(records: readonly SignedRecord[]): void;
  /** Records wait for something that can be fetched; told once for all that came in one turn of the event loop. */
  onMissing(): void;
  onEquivocations(equivocations: readonly Equivocation[]): void;
  /** The seal is known and on disk. */
  onSeal(seal: SignedSeal): void;
}

/** Several changes as one, in their order. */
export function joined(changes: readonly LogChange[]): LogChange {
  return {
    held: changes.flatMap(({ held }) => held),
    dropped: changes.flatMap(({ dropped }) => dropped),
    equivocations: changes.flatMap(({ equivocations }) => equivocations),
  };
}

/**
 * What follows from a change of the log: on disk and for the listener. The caller runs everything that changes something
 * one after another.
 */
export class RecordChanges {
  readonly #log: Log;
  readonly #files: RecordFiles;
  readonly #payloads: PayloadStore;
  readonly #listener: RecordBookListener;
  readonly #logger: Logger;
  #telling: NodeJS.Immediate | undefined;

  constructor(components: {
    log: Log;
    files: RecordFiles;
    payloads: PayloadStore;
    listener: RecordBookListener;
    logger: Logger;
  }) {
    this.#log = components.log;
    this.#files = components.files;
    this.#payloads = components.payloads;
    this.#listener = components.listener;
    this.#logger = components.logger;
  }

  /** Notes what became held, for the caller to save, and frees what the dropped records took. */
  async apply(change: LogChange): Promise<void> {
    this.#files.queue(change.held);
    if (change.held.length > 0) this.#listener.onHolding?.();
    if (change.equivocations.length > 0) this.#listener.onEquivocations(change.equivocations);
    let parts = false;
    for (const { signed, reason, code } of change.dropped) {
      this.#logger.debug({ update: signed.id.toString(), reason, code }, 'a waiting record was dropped');
      // What was only too many or too late may come again; what is invalid never does.
      parts ||= reason !== 'invalid';
      const payload = payloadOf(signed.record);
      if (payload !== null) await this.discard(payload, { keepPart: reason !== 'invalid' });
    }
    if (parts) await this.#payloads.sweepParts();
  }

  /** Removes a payload from disk and log unless somebody needs it. */
  async discard(payload: CID, options: { keepPart?: boolean } = {}): Promise<void> {
    if (await this.#payloads.discard(payload, options)) this.#log.forgetPayload(payload);
  }

  tellMissing(): void {
    this.#telling ??= setImmediate(() => {
      this.#telling = undefined;
      this.#listener.onMissing();
    });
  }

  /** Takes back what `tellMissing` has not told yet. */
  cancelTelling(): void {
    clearImmediate(this.#telling);
  }
}
