/**
 * `/kinmerge/sync/1`: brings a late or returning node up to date. The client says what it has, the server walks what is
 * missing, parents first, a page per request; equal logs cost one small exchange.
 *
 * - `constants.ts`, `schema.ts`: limits and messages
 * - `server.ts`: answers from an injected `LogSource`
 * - `client.ts`: drives an exchange and checks every record
 * - `locator.ts`: which ids to name as known; `log-source.ts`: a `Log` as `LogSource`
 */
import type { PeerId, Startable } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { SignedRecord } from '../../src/log/index.ts';
import type { ProtocolComponents } from '../components.ts';
import { fetchRecords, pull } from './client.ts';
import { createServer } from './server.ts';

export { MAX_RECORDS_PER_ROUND, MAX_WANTED, SYNC_PROTOCOL } from './constants.ts';
export { locate } from './locator.ts';
export { type LogSourceInit, logSource } from './log-source.ts';

/** The log as sync sees it. Only held records are offered. */
export interface LogSource {
  /** Id of the community. */
  readonly charter: CID;
  /** Held records that no held record names as parent. */
  tips(): readonly CID[];
  /** Ids to name as known, at most `limit`: the tips first, then older records spread over the log (see `locate`). */
  known(limit: number): readonly CID[];
  /** Whether the record needs no sending: held or pending. */
  has(id: CID): boolean;
  /**
   * Encoded signed records that are held and neither in `known` nor ancestors of them, parents before children; ids
   * that this log does not have count for nothing. Pulled as fast as the peer reads, so it must not load all at once.
   */
  recordsSince(known: readonly CID[], signal: AbortSignal): AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** One encoded signed record that is held. */
  record(id: CID): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** This node's encoded signed head. */
  head(): Uint8Array | null;
}

export interface PullOptions {
  readonly signal?: AbortSignal | undefined;
  /** Default and maximum `MAX_RECORDS_PER_ROUND`. */
  readonly maxRecords?: number | undefined;
}

export interface PullResult {
  /** New records that were handed over. */
  readonly received: number;
  /** False when the round ended at its limit: pull again. */
  readonly complete: boolean;
  /** The peer's encoded signed head (bounded, not decoded), or null. */
  readonly head: Uint8Array | null;
  /** The peer's tips that this log still misses: nothing to do when empty. */
  readonly missing: readonly CID[];
  /** Whether both logs had the same tips. */
  readonly equal: boolean;
}

/** Keeps a batch of decoded records, parents first; the next page is asked for when it returns. */
export type RecordSink = (records: readonly SignedRecord[]) => void | Promise<void>;

export interface Sync extends Startable {
  readonly protocol: string;
  /**
   * Everything the peer holds and this log does not, up to the limit of a round.
   * @throws ProtocolError naming the peer; errors of the sink as they are
   */
  pull(peer: PeerId, sink: RecordSink, options?: PullOptions): Promise<PullResult>;
  /** Records by their ids, at most `MAX_WANTED` of them; undefined where the peer does not have one. */
  fetchRecords(peer: PeerId, ids: readonly CID[], options?: PullOptions): Promise<(SignedRecord | undefined)[]>;
}

export interface SyncInit {
  readonly source: LogSource;
  /**
   * A peer said hello: its encoded signed head (bounded, not decoded), and whether it named known ids that this log
   * lacks, so that pulling from it would bring something.
   */
  readonly onHello?: ((peer: PeerId, hello: { head: Uint8Array | null; ahead: boolean }) => void) | undefined;
  /** Milliseconds without progress; for tests and unusual networks. */
  readonly progressTimeoutMs?: number;
}

/** A libp2p service: `services: { sync: sync({ source }) }`. */
export function sync(init: SyncInit): (components: ProtocolComponents) => Sync {
  return (components) => {
    const server = createServer(components, init);
    const client = { components, source: init.source, progressTimeoutMs: init.progressTimeoutMs };
    return {
      protocol: server.protocol,
      start: () => server.start(),
      stop: () => server.stop(),
      pull: (peer, sink, options) => pull(client, peer, sink, options),
      fetchRecords: (peer, ids, options) => fetchRecords(client, peer, ids, options),
    };
  };
}
