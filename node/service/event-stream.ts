import { NodeError } from '../errors.ts';
import type { NodeEvent } from './documents.ts';

/** Events that a slow reader may fall behind; then its oldest are dropped, for every event is followed by a newer one. */
export const MAX_QUEUED_EVENTS = 1_000;
/** Readers at once; one more is refused. */
export const MAX_EVENT_READERS = 64;

interface Reader {
  readonly queue: NodeEvent[];
  wake: () => void;
}

/** Hands events to any number of readers, each at its own pace. */
export class EventStream {
  readonly #readers = new Set<Reader>();

  push(events: readonly NodeEvent[]): void {
    for (const reader of this.#readers) {
      reader.queue.push(...events);
      if (reader.queue.length > MAX_QUEUED_EVENTS) reader.queue.splice(0, reader.queue.length - MAX_QUEUED_EVENTS);
      reader.wake();
    }
  }

  /** Events from now on, until the signal aborts. @throws NodeError `API_BUSY` */
  subscribe(signal: AbortSignal): AsyncIterable<NodeEvent> {
    const reader: Reader = { queue: [], wake: () => {} };
    if (this.#readers.size >= MAX_EVENT_READERS) {
      throw new NodeError('API_BUSY', `${MAX_EVENT_READERS} readers follow the events already: end one of them`, {
        max: MAX_EVENT_READERS,
      });
    }
    this.#readers.add(reader);
    const stop = () => {
      this.#readers.delete(reader);
      reader.wake();
    };
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
    return this.#read(reader, signal, stop);
  }

  async *#read(reader: Reader, signal: AbortSignal, stop: () => void): AsyncGenerator<NodeEvent> {
    try {
      while (!signal.aborted) {
        const event = reader.queue.shift();
        if (event !== undefined) {
          yield event;
          continue;
        }
        const { promise, resolve } = Promise.withResolvers<void>();
        reader.wake = resolve;
        await promise;
      }
    } finally {
      signal.removeEventListener('abort', stop);
      stop();
    }
  }
}
