/**
 * `/kinmerge/blocks/1`: content by its id, from any peer that has it. Small objects (charters, manifests, recipes) are
 * checked as a whole, blobs block by block against their manifest.
 *
 * - `constants.ts`, `schema.ts`: limits and messages
 * - `server.ts`: answers from an injected `BlockSource`
 * - `client.ts`, `blob.ts`, `work.ts`: objects from one peer, blobs from several
 * - `payloads.ts`: many small payloads, each with its manifest, from one peer over one stream
 */
import type { PeerId, Startable } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import type { Manifest } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { ProtocolComponents } from '../components.ts';
import type { ProtocolError } from '../errors.ts';
import { fetchBlob } from './blob.ts';
import { fetchObject } from './client.ts';
import { fetchPayloads } from './payloads.ts';
import { createServer } from './server.ts';

export { BLOCKS_PROTOCOL, MAX_BUNDLED_CONTENT_BYTES } from './constants.ts';

/** Where the server finds content. A wrong answer here is caught by every client's hash check. */
export interface BlockSource {
  /** Bytes of a small canonical object, or undefined when this node does not have it. */
  object(id: CID, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** Bytes of block `index` of a blob, or undefined when this node does not have it. */
  block(manifest: CID, index: number, signal: AbortSignal): Promise<Uint8Array | undefined>;
}

/** Where a fetched blob goes. */
export interface BlobSink {
  /** Whether block `index` is already here and verified. */
  has(index: number): boolean | Promise<boolean>;
  /** Keeps a block whose hash was checked. Blocks come in any order, one call at a time per peer. */
  write(index: number, bytes: Uint8Array): Promise<void>;
}

export interface FetchObjectOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes; default and maximum `MAX_OBJECT_BYTES`. */
  readonly maxBytes?: number | undefined;
  /** Milliseconds for the whole object from one peer; default `OBJECT_TIMEOUT_MS`. */
  readonly timeoutMs?: number | undefined;
  /** Called for each peer that failed, or that a later one outran. */
  readonly onFault?: ((peer: PeerId, error: ProtocolError) => void) | undefined;
}

export interface FetchBlobOptions extends RunOptions {
  /** The manifest, when the caller has it; else it is fetched first. */
  readonly manifest?: Manifest | undefined;
  /** Largest content to accept, in bytes, before anything is written. */
  readonly maxBytes?: number | undefined;
  /**
   * Dial the last peer again, a few times, when its connection is lost in the middle: for a caller that has no other one and will
   * not get one.
   */
  readonly redial?: boolean | undefined;
  /** Called with the verified manifest before the first block is written. */
  readonly onManifest?: ((manifest: Manifest) => void | Promise<void>) | undefined;
  /** Called for each peer that failed, with the error that names it; the fetch goes on with the others. */
  readonly onFault?: ((peer: PeerId, error: ProtocolError) => void) | undefined;
}

/** A payload's checked manifest, and all its content when it is small. */
export interface FetchedPayload {
  readonly id: CID;
  readonly manifest: Manifest;
  /** The manifest's canonical bytes. */
  readonly bytes: Uint8Array;
  /** Checked against the manifest; null for content above `MAX_BUNDLED_CONTENT_BYTES`. */
  readonly content: Uint8Array | null;
}

export interface FetchPayloadsOptions {
  readonly signal?: AbortSignal | undefined;
  /** Largest content that a manifest may describe, in bytes. */
  readonly maxBytes?: number | undefined;
  /** Milliseconds for each answer; default `BUNDLE_TIMEOUT_MS`. */
  readonly timeoutMs?: number | undefined;
}

export interface FetchReport {
  readonly manifest: Manifest;
  /** Blocks written now. */
  readonly fetched: number;
  /** Blocks that the sink had before. */
  readonly skipped: number;
  /** Bytes written now. */
  readonly bytes: number;
}

export interface Blocks extends Startable {
  readonly protocol: string;
  /**
   * One object of at most `MAX_OBJECT_BYTES` from the first of the peers that has it.
   * @throws ProtocolError of the only peer, or `INCOMPLETE` with every peer's fault
   */
  fetchObject(peers: readonly PeerId[], id: CID, options?: FetchObjectOptions): Promise<Uint8Array>;
  /**
   * Manifests of payloads, and the content of the small ones, from one peer: in order, one at a time to `take`. A peer
   * answers for what comes, not for having it.
   *
   * @returns ids of what the peer does not have (or what nobody can have: an id of something else)
   * @throws ProtocolError of the peer; what was taken is good. Errors of `take` as they are
   */
  fetchPayloads(
    peer: PeerId,
    ids: readonly CID[],
    take: (payload: FetchedPayload) => void | Promise<void>,
    options?: FetchPayloadsOptions,
  ): Promise<CID[]>;
  /**
   * All blocks of a blob that the sink does not have, from several peers at once. Nothing reaches the sink unverified.
   * @throws ProtocolError of the only peer, or `INCOMPLETE` with every peer's fault; errors of the sink as they are
   */
  fetchBlob(peers: readonly PeerId[], id: CID, sink: BlobSink, options?: FetchBlobOptions): Promise<FetchReport>;
}

export interface BlocksInit {
  readonly source: BlockSource;
  /** Milliseconds without progress; for tests and unusual networks. */
  readonly progressTimeoutMs?: number;
  /** Milliseconds after which another peer is asked as well, default `HEDGE_MS`; for tests and unusual networks. */
  readonly hedgeMs?: number;
  /** Milliseconds for one block while other peers wait, default `SLOW_BLOCK_MS`; for tests and unusual networks. */
  readonly slowBlockMs?: number;
}

/** A libp2p service: `services: { blocks: blocks({ source }) }`. */
export function blocks(init: BlocksInit): (components: ProtocolComponents) => Blocks {
  return (components) => {
    const server = createServer(components, init);
    const { progressTimeoutMs, hedgeMs, slowBlockMs } = init;
    const client = { components, progressTimeoutMs, hedgeMs, slowBlockMs };
    return {
      protocol: server.protocol,
      start: () => server.start(),
      stop: () => server.stop(),
      fetchObject: (peers, id, options) => fetchObject(client, peers, id, options),
      fetchPayloads: (peer, ids, take, options) => fetchPayloads(client, peer, ids, take, options),
      fetchBlob: (peers, id, sink, options) => fetchBlob(client, peers, id, sink, options),
    };
  };
}
