/**
 * The serving half that the request/response protocols share: registration, bounds on concurrent streams in all and per
 * peer, a rate limit per peer, one request at a time per stream, and refusals in the protocols' common form.
 */
import type { Connection, Logger, Stream } from '@libp2p/interface';
import { asError, Channel } from './channel.ts';
import type { ProtocolComponents } from './components.ts';
import { ProtocolError } from './errors.ts';
import { IDLE_TIMEOUT_MS } from './limits.ts';
import { encodeRefusal } from './messages.ts';
import { type RateLimit, RateLimiter } from './rate-limiter.ts';

export interface StreamServerInit {
  readonly protocol: string;
  /** Bytes of the largest request. */
  readonly maxRequestBytes: number;
  /** Requests that may wait unread on one stream. */
  readonly maxQueuedRequests: number;
  /** Streams served at once, in all. */
  readonly maxStreams: number;
  /** Streams served at once for one peer. */
  readonly maxStreamsPerPeer: number;
  /** Cost units per peer; a request costs one. */
  readonly rate: RateLimit;
  /** Cost units of the first request of a stream, where that is dearer to answer; default 1. */
  readonly firstCost?: number;
  /** Bytes of a request that cost one unit more, where the work grows with what it names. */
  readonly unitBytes?: number;
  readonly progressTimeoutMs?: number | undefined;
  readonly idleTimeoutMs?: number | undefined;
}

/** One open stream as its session sees it. */
export interface Remote {
  readonly peer: Connection['remotePeer'];
  readonly connection: Connection;
  /** Aborted when the service stops or the stream is over. */
  readonly signal: AbortSignal;
}

/** Answers the requests of one stream. Created per stream, so it may keep what the stream has asked before. */
export interface Session {
  /**
   * The encoded answer to one request.
   * @throws ProtocolError: `MALFORMED` and `TOO_LARGE` are refused as malformed, `WRONG_COMMUNITY` as such, anything
   * else as failed; every refusal ends the stream.
   */
  answer(request: Uint8Array): Promise<Uint8Array>;
  /** Releases what the session holds. */
  close?(): void | Promise<void>;
}

export class StreamServer {
  readonly #components: ProtocolComponents;
  readonly #init: StreamServerInit;
  readonly #open: (remote: Remote) => Session;
  readonly #limiter: RateLimiter;
  readonly #log: Logger;
  readonly #streams = new Map<string, number>();
  #active = 0;
  #stopping: AbortController | undefined;

  constructor(components: ProtocolComponents, init: StreamServerInit, open: (remote: Remote) => Session) {
    this.#components = components;
    this.#init = init;
    this.#open = open;
    this.#limiter = new RateLimiter(init.rate);
    this.#log = components.logger.forComponent(init.protocol.slice(1).replaceAll('/', ':'));
  }

  async start(): Promise<void> {
    this.#stopping = new AbortController();
    await this.#components.registrar.handle(this.#init.protocol, this.#handle, {
      // One more than is served, so that the one too many gets an answer instead of a bare reset.
      maxInboundStreams: this.#init.maxStreamsPerPeer + 1,
      runOnLimitedConnection: false,
    });
  }

  async stop(): Promise<void> {
    this.#stopping?.abort(new Error(`${this.#init.protocol} stopped`));
    this.#stopping = undefined;
    await this.#components.registrar.unhandle(this.#init.protocol);
  }

  #handle = async (stream: Stream, connection: Connection): Promise<void> => {
    const stopping = this.#stopping;
    if (stopping === undefined) {
      stream.abort(new Error('not started'));
      return;
    }
    const { maxRequestBytes, maxQueuedRequests, maxStreams, maxStreamsPerPeer } = this.#init;
    const over = new AbortController();
    stream.addEventListener('close', () => over.abort(new Error('the stream is over')), { once: true });
    const channel = new Channel(stream, connection.remotePeer, {
      maxMessageBytes: maxRequestBytes,
      maxBufferedBytes: maxQueuedRequests * (maxRequestBytes + 8),
      signal: stopping.signal,
      ...(this.#init.progressTimeoutMs === undefined ? {} : { progressTimeoutMs: this.#init.progressTimeoutMs }),
    });
    const mine = this.#streams.get(channel.peer) ?? 0;
    const full = this.#active >= maxStreams || mine >= maxStreamsPerPeer;
    this.#active++;
    this.#streams.set(channel.peer, mine + 1);
    try {
      if (full) await channel.write(encodeRefusal('busy', BUSY_RETRY_MS));
      else {
        const signal = AbortSignal.any([stopping.signal, over.signal]);
        await this.#serve(channel, { peer: connection.remotePeer, connection, signal });
      }
      await channel.close();
    } catch (error) {
      // A peer's fault must not alarm the operator: debug log only.
      this.#log('stream of %p failed - %e', connection.remotePeer, asError(error));
      channel.abort(asError(error));
    } finally {
      over.abort(new Error('the stream is over'));
      this.#active--;
      const left = (this.#streams.get(channel.peer) ?? 1) - 1;
      if (left > 0) this.#streams.set(channel.peer, left);
      else this.#streams.delete(channel.peer);
    }
  };

  async #serve(channel: Channel, remote: Remote): Promise<void> {
    const session = this.#open(remote);
    const timeoutMs = this.#init.idleTimeoutMs ?? IDLE_TIMEOUT_MS;
    try {
      for (let cost = this.#init.firstCost ?? 1; ; cost = 1) {
        const request = await channel.read({ timeoutMs });
        if (request === undefined) return;
        const more = Math.floor(request.length / (this.#init.unitBytes ?? Number.POSITIVE_INFINITY));
        const wait = this.#limiter.take(channel.peer, cost + more);
        if (wait > 0) {
          await channel.write(encodeRefusal('rate-limited', wait));
          return;
        }
        let answer: Uint8Array;
        try {
          answer = await session.answer(request);
        } catch (error) {
          this.#log('refusing a request of %s - %e', channel.peer, asError(error));
          await channel.write(encodeRefusal(refusalReason(error)));
          return;
        }
        await channel.write(answer);
      }
    } finally {
      await session.close?.();
    }
  }
}

/** Milliseconds after which a peer that met a full server may come back. */
const BUSY_RETRY_MS = 1_000;

function refusalReason(error: unknown): 'malformed' | 'wrong-community' | 'failed' {
  if (!(error instanceof ProtocolError)) return 'failed';
  if (error.code === 'MALFORMED' || error.code === 'TOO_LARGE') return 'malformed';
  return error.code === 'WRONG_COMMUNITY' ? 'wrong-community' : 'failed';
}
