/**
 * One libp2p stream as a channel of length-prefixed messages with what the protocols need on top of `lpStream`: a
 * progress timeout in both directions, real back-pressure on writing, and coded errors that name the peer.
 */
import type { PeerId, Stream } from '@libp2p/interface';
import { type LengthPrefixedStream, lpStream } from '@libp2p/utils';
import { encode } from 'it-length-prefixed';
import { ProtocolError } from './errors.ts';
import { CLOSE_TIMEOUT_MS, PROGRESS_MIN_BYTES, PROGRESS_TIMEOUT_MS } from './limits.ts';

export interface ChannelInit {
  /** Bytes of the largest message that may come in. */
  readonly maxMessageBytes: number;
  /** Bytes that may wait unread. A reader that asks for what it reads knows how many. */
  readonly maxBufferedBytes: number;
  /** Milliseconds without progress before the channel fails. */
  readonly progressTimeoutMs?: number;
  /** Ends the channel at once, with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

export class Channel {
  /** Text form of the remote peer's id. */
  readonly peer: string;
  readonly #stream: Stream;
  readonly #messages: LengthPrefixedStream<Stream>;
  readonly #progressTimeoutMs: number;
  readonly #signal: AbortSignal | undefined;
  #failure: Error | undefined;
  /** Why the stream closed, where it closed with an error between two calls. */
  #closeError: Error | undefined;
  #received = 0;
  #consumed = 0;

  constructor(stream: Stream, peer: PeerId, init: ChannelInit) {
    this.peer = peer.toString();
    this.#stream = stream;
    this.#progressTimeoutMs = init.progressTimeoutMs ?? PROGRESS_TIMEOUT_MS;
    this.#signal = init.signal;
    this.#messages = lpStream(stream, {
      maxDataLength: init.maxMessageBytes,
      maxBufferSize: init.maxBufferedBytes,
    });
    stream.addEventListener('message', (event) => {
      this.#received += event.data.byteLength;
    });
    stream.addEventListener('close', (event) => {
      this.#closeError = event.error;
    });
    if (init.signal?.aborted) this.#onAbort();
    else init.signal?.addEventListener('abort', this.#onAbort, { once: true });
  }

  /**
   * The next message, or `undefined` when the peer ended the stream between two messages. A peer that was killed ends
   * its streams just so: the caller decides whether anything was still due.
   *
   * @throws ProtocolError `TIMEOUT`, `TRUNCATED`, `TOO_LARGE`, `OVERFLOW`; or the reason of the signal.
   */
  async read(options: { timeoutMs?: number } = {}): Promise<Uint8Array | undefined> {
    const unwatch = this.#watch('message', options.timeoutMs ?? this.#progressTimeoutMs, () => this.#received);
    try {
      this.#throwIfFailed();
      const message = (await this.#messages.read()).subarray();
      this.#consumed += encode.single(message).byteLength;
      return message;
    } catch (cause) {
      if (this.#failure === undefined && isNamed(cause, 'UnexpectedEOFError') && this.#received <= this.#consumed) {
        return undefined;
      }
      throw this.#fail(cause);
    } finally {
      unwatch();
    }
  }

  /** The next message. @throws ProtocolError as `read`, and `TRUNCATED` when the peer ended the stream instead. */
  async expect(): Promise<Uint8Array> {
    const message = await this.read();
    if (message === undefined) {
      throw this.#fail(new ProtocolError('TRUNCATED', `${this.peer} ended the stream early.`, { peer: this.peer }));
    }
    return message;
  }

  /**
   * Sends one message and waits until the transport has taken all of it, so that at most one message is ever queued.
   *
   * @throws ProtocolError `TIMEOUT` when the peer stops reading, `TRUNCATED` when the stream is gone.
   */
  async write(message: Uint8Array): Promise<void> {
    const unwatch = this.#watch('drain', this.#progressTimeoutMs, () => -this.#stream.writeBufferLength);
    try {
      this.#throwIfFailed();
      this.#stream.send(encode.single(message));
      // The `drain` event comes whenever the peer's window opens a little, not only when the buffer is empty.
      while (this.#stream.writeBufferLength > 0) await this.#nextWritable();
      this.#throwIfFailed();
      if (this.#stream.status === 'aborted' || this.#stream.status === 'reset') throw new Error('stream reset');
    } catch (cause) {
      throw this.#fail(cause);
    } finally {
      unwatch();
    }
  }

  /** Ends this side; what still comes in is discarded. A peer that never ends its side is reset after a while. */
  async close(): Promise<void> {
    this.#release();
    if (this.#failure !== undefined || this.#stream.status !== 'open') return;
    const signal = AbortSignal.timeout(CLOSE_TIMEOUT_MS);
    try {
      await this.#stream.close({ signal });
      await this.#stream.closeRead({ signal });
    } catch (cause) {
      this.#stream.abort(asError(cause));
      return;
    }
    if (this.#stream.timeline.close !== undefined) return;
    const timer = setTimeout(() => this.#stream.abort(new Error('the peer did not close')), CLOSE_TIMEOUT_MS);
    timer.unref();
    this.#stream.addEventListener('close', () => clearTimeout(timer), { once: true });
  }

  /** Resets the stream. Pending reads and writes fail with `error`. */
  abort(error: Error): void {
    this.#failure ??= error;
    this.#release();
    this.#stream.abort(error);
  }

  #onAbort = (): void => {
    this.abort(asError(this.#signal?.reason ?? new Error('aborted')));
  };

  #release(): void {
    this.#signal?.removeEventListener('abort', this.#onAbort);
  }

  #throwIfFailed(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Turns whatever went wrong into this channel's one failure and resets the stream. */
  #fail(cause: unknown): Error {
    if (this.#failure === undefined) this.abort(this.#explain(this.#closeError ?? cause));
    return this.#failure ?? asError(cause);
  }

  #explain(cause: unknown): Error {
    if (cause instanceof ProtocolError) return cause;
    const fields = { peer: this.peer };
    const options = { cause };
    if (isNamed(cause, 'StreamBufferError')) {
      return new ProtocolError('OVERFLOW', `${this.peer} sent more than it was asked for.`, fields, options);
    }
    if (isNamed(cause, 'InvalidDataLengthError') || isNamed(cause, 'InvalidDataLengthLengthError')) {
      return new ProtocolError('TOO_LARGE', `${this.peer} announced a message above the limit.`, fields, options);
    }
    if (isNamed(cause, 'InvalidMessageLengthError')) {
      return new ProtocolError('MALFORMED', `${this.peer} sent a message without a valid length.`, fields, options);
    }
    return new ProtocolError('TRUNCATED', `The stream with ${this.peer} ended early.`, fields, options);
  }

  #nextWritable(): Promise<void> {
    const stream = this.#stream;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const done = () => resolve();
    const closed = () => reject(this.#failure ?? new Error('the stream closed while writing'));
    stream.addEventListener('drain', done);
    stream.addEventListener('idle', done);
    stream.addEventListener('close', closed);
    if (stream.status !== 'open') closed();
    return promise.finally(() => {
      stream.removeEventListener('drain', done);
      stream.removeEventListener('idle', done);
      stream.removeEventListener('close', closed);
    });
  }

  /** Fails the channel when `measure` does not grow by the minimum within the time limit. */
  #watch(event: 'message' | 'drain', timeoutMs: number, measure: () => number): () => void {
    let mark = measure();
    const timer = setTimeout(() => {
      const message = `${this.peer} made no progress for ${timeoutMs} ms.`;
      this.abort(new ProtocolError('TIMEOUT', message, { peer: this.peer, timeoutMs }));
    }, timeoutMs);
    const onEvent = () => {
      if (measure() - mark < PROGRESS_MIN_BYTES) return;
      mark = measure();
      timer.refresh();
    };
    this.#stream.addEventListener(event, onEvent);
    return () => {
      clearTimeout(timer);
      this.#stream.removeEventListener(event, onEvent);
    };
  }
}

export function asError(cause: unknown): Error {
  return cause instanceof Error ? cause : new Error(String(cause));
}

function isNamed(cause: unknown, name: string): boolean {
  return cause instanceof Error && cause.name === name;
}
