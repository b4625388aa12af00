import type { CID } from 'multiformats/cid';
import { equalBytes } from '../../src/log/canonical.ts';
import type { ProtocolComponents } from '../components.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_TIPS } from '../limits.ts';
import { type Remote, type Session, StreamServer } from '../stream-server.ts';
import {
  HELLO_COST,
  MAX_PAGE_BYTES,
  MAX_PAGE_RECORDS,
  MAX_QUEUED_REQUESTS,
  MAX_STREAMS,
  MAX_STREAMS_PER_PEER,
  REQUEST_LIMITS,
  REQUEST_RATE,
  SYNC_PROTOCOL,
} from './constants.ts';
import type { LogSource, SyncInit } from './index.ts';
import { decodeRequest, encodeAnswer, type SyncRequest, tipsDigest } from './schema.ts';

export function createServer(components: ProtocolComponents, init: SyncInit) {
  const server = new StreamServer(
    components,
    {
      protocol: SYNC_PROTOCOL,
      maxRequestBytes: REQUEST_LIMITS.maxBytes,
      maxQueuedRequests: MAX_QUEUED_REQUESTS,
      maxStreams: MAX_STREAMS,
      maxStreamsPerPeer: MAX_STREAMS_PER_PEER,
      rate: REQUEST_RATE,
      firstCost: HELLO_COST,
      progressTimeoutMs: init.progressTimeoutMs,
    },
    (remote) => new SyncSession(init, remote),
  );
  return { protocol: SYNC_PROTOCOL, start: () => server.start(), stop: () => server.stop() };
}

/** One stream: a place in a walk over the log. */
class SyncSession implements Session {
  readonly #source: LogSource;
  readonly #init: SyncInit;
  readonly #remote: Remote;
  #walk: AsyncIterator<Uint8Array> | Iterator<Uint8Array> | undefined;
  /** A record that did not fit into the page before. */
  #held: Uint8Array | undefined;
  #greeted = false;

  constructor(init: SyncInit, remote: Remote) {
    this.#source = init.source;
    this.#init = init;
    this.#remote = remote;
  }

  async answer(bytes: Uint8Array): Promise<Uint8Array> {
    const request = decodeRequest(bytes);
    switch (request.kind) {
      case 'hello':
        return this.#hello(request);
      case 'next':
        if (this.#walk === undefined) throw new ProtocolError('MALFORMED', 'There is no page to continue.');
        return encodeAnswer({ status: 'page', ...(await this.#page()) });
      case 'records': {
        this.#check(request.charter);
        const records: (Uint8Array | null)[] = [];
        for (const id of request.ids) records.push((await this.#source.record(id)) ?? null);
        return encodeAnswer({ status: 'records', records });
      }
    }
  }

  async close(): Promise<void> {
    await this.#walk?.return?.();
    this.#walk = undefined;
  }

  async #hello(request: SyncRequest & { kind: 'hello' }): Promise<Uint8Array> {
    this.#check(request.charter);
    // A walk over the log is what this costs: once per stream, and the rate limit counts streams.
    if (this.#greeted) throw new ProtocolError('MALFORMED', 'A stream has one hello.');
    this.#greeted = true;
    const tips = this.#source.tips();
    const digest = tipsDigest(tips);
    const equal = equalBytes(digest, request.digest);
    const ahead = !equal && request.known.some((id) => !this.#source.has(id));
    this.#init.onHello?.(this.#remote.peer, { head: request.head, ahead });
    let page = { records: [] as Uint8Array[], done: true };
    if (!equal) {
      const walk = this.#source.recordsSince(request.known, this.#remote.signal);
      this.#walk = Symbol.asyncIterator in walk ? walk[Symbol.asyncIterator]() : walk[Symbol.iterator]();
      page = await this.#page();
    }
    const head = this.#source.head();
    return encodeAnswer({ status: 'hello', digest, tips: tips.slice(0, MAX_TIPS), head, ...page });
  }

  #check(charter: CID): void {
    if (!charter.equals(this.#source.charter)) {
      throw new ProtocolError('WRONG_COMMUNITY', 'The peer asks for another community.', { charter: `${charter}` });
    }
  }

  async #page(): Promise<{ records: Uint8Array[]; done: boolean }> {
    const records: Uint8Array[] = [];
    let bytes = 0;
    while (this.#walk !== undefined) {
      let record = this.#held;
      this.#held = undefined;
      if (record === undefined) {
        const next = await this.#walk.next();
        if (next.done) {
          this.#walk = undefined;
          break;
        }
        record = next.value;
      }
      if (records.length >= MAX_PAGE_RECORDS || (records.length > 0 && bytes + record.length > MAX_PAGE_BYTES)) {
        this.#held = record;
        break;
      }
      records.push(record);
      bytes += record.length;
    }
    return { records, done: this.#walk === undefined };
  }
}
