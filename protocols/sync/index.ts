/**
 * `/kinmerge/sync/2`: brings a late or returning node up to date, by bytes that go with what differs. The client compares
 * the Merkle trees of both sides' ids from the root down, asks for the entries that it lacks, gets them parents first, a
 * page per request, and tells what the server lacks. Equal logs cost one small exchange. See docs/sync.md.
 *
 * - `constants.ts`, `schema.ts`, `packing.ts`: limits, messages, and what is packed into them
 * - `session.ts`, `choosing.ts`: the server's side of one exchange, from an injected `LogSource`
 * - `client.ts`, `comparison.ts`, `wanted.ts`, `intake.ts`: the client's side, which drives and checks every entry
 * - `server.ts`, `stream-client.ts`: both over libp2p streams
 * - `log-source.ts`: a `Log` as `LogSource`
 *
 * Both sides also run without streams: `reconcile((request) => session.answer(request), { source, sink, peer })` with
 * `session = new SyncSession({ source: theirs })`, a new one for every round.
 */
import type { PeerId, Startable } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Ids, LogEntry } from '../../src/log/index.ts';
import type { ProtocolComponents } from '../components.ts';
import { createServer } from './server.ts';
import type { SyncSessionInit } from './session.ts';
import { pull } from './stream-client.ts';

export { type Ask, type Reconciliation, reconcile } from './client.ts';
export { MAX_ENTRIES_PER_ROUND, SYNC_PROTOCOL } from './constants.ts';
export { fixedSource, type LogSourceInit, logSource } from './log-source.ts';
export { SyncSession, type SyncSessionInit } from './session.ts';

/** The log as sync sees it. */
export interface LogSource {
  /** Id of the community. */
  readonly charter: CID;
  /** Ids of what is offered: closed under parents. */
  readonly ids: Ids;
  /** Ids of what needs no sending: `ids`, and what waits. */
  readonly known: Ids;
  /** The ids of what is offered, parents before children. It may grow while it is walked. */
  order(): Iterable<CID>;
  /** One encoded entry that is offered. */
  entry(id: CID): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** This node's encoded signed head. */
  head(): Uint8Array | null;
  /** Whether the head with this sha2-256 is here. */
  hasHead(digest: Uint8Array): boolean;
}

export interface PullOptions {
  readonly signal?: AbortSignal | undefined;
  /** The peer said that it has these (see `onLacks`): they are asked for by name, and nothing is compared. */
  readonly named?: readonly CID[] | undefined;
  /** Ids that are neither known nor wanted: of entries that came before and could not be used. */
  readonly passedOver?: Ids | undefined;
  /**
   * Waits for the turn to compare and fetch, and gives back what ends it: so that rounds with several peers do not get
   * the same entries. Not called when the logs are equal.
   */
  readonly turn?: (() => Promise<() => void>) | undefined;
}

export interface PullResult {
  /** New entries that were handed over. */
  readonly received: number;
  /** Entries of a version or kind that this program does not know, and what depends on them: passed over. */
  readonly unreadable: readonly CID[];
  /** Entries that the sink had no room for. The round ends there. */
  readonly refused: number;
  /** False when the round ended at its limit or for lack of room: pull again, with `refused` once there is room. */
  readonly complete: boolean;
  /** Entries that the peer said it has and did not give: asking it again at once brings nothing. */
  readonly withheld: number;
  /** Entries that the peer lacks; it was told. */
  readonly lacking: number;
  /** The peer's encoded signed head (bounded, not decoded) where it was not known here, or null. */
  readonly head: Uint8Array | null;
  /** Whether both logs held the same. */
  readonly equal: boolean;
}

/**
 * Keeps a batch of decoded entries, parents first; the next page is asked for when it returns. It may return the ids
 * that it had no room for.
 */
export type EntrySink = (entries: readonly LogEntry[]) => Kept | Promise<Kept>;
// biome-ignore lint/suspicious/noConfusingVoidType: a sink that takes everything returns nothing.
type Kept = void | readonly CID[];

export interface Sync extends Startable {
  readonly protocol: string;
  /**
   * Everything the peer holds and this log does not, up to the limit of a round.
   * @throws ProtocolError naming the peer; errors of the sink as they are
   */
  pull(peer: PeerId, sink: EntrySink, options?: PullOptions): Promise<PullResult>;
}

export interface SyncInit extends Pick<SyncSessionInit, 'source'> {
  /** As in `SyncSessionInit`, with the peer. */
  readonly onHead?: ((peer: PeerId, head: Uint8Array) => void) | undefined;
  readonly onLacks?:
    | ((peer: PeerId, lacks: { readonly count: number; readonly ids: readonly CID[] }) => void)
    | undefined;
  /** Milliseconds without progress; for tests and unusual networks. */
  readonly progressTimeoutMs?: number;
  /** Entries taken in one round; default and maximum `MAX_ENTRIES_PER_ROUND`. */
  readonly maxEntries?: number;
}

/** A libp2p service: `services: { sync: sync({ source }) }`. */
export function sync(init: SyncInit): (components: ProtocolComponents) => Sync {
  return (components) => {
    const server = createServer(components, init);
    return {
      protocol: server.protocol,
      start: () => server.start(),
      stop: () => server.stop(),
      pull: (peer, sink, options = {}) => pull(components, init, peer, sink, options),
    };
  };
}
