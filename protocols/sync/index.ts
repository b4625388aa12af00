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
import { pull } from './client.ts';
import { MAX_RECORDS_PER_ROUND } from './constants.ts';
import { createServer } from './server.ts';

export { MAX_RECORDS_PER_ROUND, SYNC_PROTOCOL } from './constants.ts';
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
  /** Ids that the peer is known to have and that need no sending, beside those of the log: records it sent that wait. */
  readonly known?: readonly CID[] | undefined;
}

export interface PullResult {
  /** New records that were handed over. */
  readonly received: number;
  /** New records of a version or kind that this program does not know, and what depends on them: passed over. */
  readonly unreadable: number;
  /** Records that the sink had no room for. The round ends there. */
  readonly refused: number;
  /** False when the round ended at its limit or for lack of room: pull again, with `refused` once there is room. */
  readonly complete: boolean;
  /** The peer's encoded signed head (bounded, not decoded), or null. */
  readonly head: Uint8Array | null;
  /** The peer's tips that this log still misses: nothing to do when empty. */
  readonly missing: readonly CID[];
  /** Whether both logs had the same tips. */
  readonly equal: boolean;
}

/**
 * Keeps a batch of decoded records, parents first; the next page is asked for when it returns. It may return the ids
 * that it had no room for.
 */
export type RecordSink = (records: readonly SignedRecord[]) => Kept | Promise<Kept>;
// biome-ignore lint/suspicious/noConfusingVoidType: a sink that takes everything returns nothing.
type Kept = void | readonly CID[];

export interface Sync extends Startable {
  readonly protocol: string;
  /**
   * Everything the peer holds and this log does not, up to the limit of a round.
   * @throws ProtocolError naming the peer; errors of the sink as they are
   */
  pull(peer: PeerId, sink: RecordSink, options?: PullOptions): Promise<PullResult>;
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
  /** Records taken in one round; default and maximum `MAX_RECORDS_PER_ROUND`. */
  readonly maxRecords?: number;
}

/** A libp2p service: `services: { sync: sync({ source }) }`. */
export function sync(init: SyncInit): (components: ProtocolComponents) => Sync {
  return (components) => {
    const server = createServer(components, init);
    const { source, progressTimeoutMs } = init;
    const maxRecords = Math.min(init.maxRecords ?? MAX_RECORDS_PER_ROUND, MAX_RECORDS_PER_ROUND);
    const client = { components, source, progressTimeoutMs, maxRecords };
    return {
      protocol: server.protocol,
      start: () => server.start(),
      stop: () => server.stop(),
      pull: (peer, sink, options) => pull(client, peer, sink, options),
    };
  };
}
