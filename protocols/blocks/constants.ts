import { BLOCK_BYTES, KIB, MAX_INLINE_PAYLOAD_BYTES, MESSAGE_OVERHEAD_BYTES, MIB } from '../limits.ts';
import type { MessageLimits } from '../messages.ts';
import type { RateLimit } from '../rate-limiter.ts';

export const BLOCKS_PROTOCOL = '/kinmerge/blocks/1';

/** Bytes of an object that one answer carries; larger objects come in parts. The same size as a block. */
export const OBJECT_PART_BYTES = MIB;

/** Requests that a client keeps outstanding on one stream: enough to hide a round trip, and 4 MiB to buffer. */
export const PIPELINE_DEPTH = 4;

/**
 * Bytes of a payload that comes along with its manifest: as many as come inside a gossip message. What is found too
 * large for its author's budget by then cost no more than that.
 */
export const MAX_BUNDLED_CONTENT_BYTES = MAX_INLINE_PAYLOAD_BYTES;

/** Bytes of a manifest that is sent with content, or in its place: that of 3.8 GiB. A larger one is fetched as an object. */
export const MAX_BUNDLED_MANIFEST_BYTES = 128 * KIB;

/** Payloads that one request names; the answer has as many of them, from the first on, as fit. */
export const MAX_PAYLOADS_PER_REQUEST = 16;

/**
 * Bytes of manifests and contents in one answer, which is no larger than one with a block: a payload has some 12 bytes
 * beside these. One of each fits in any case.
 */
export const MAX_BUNDLE_BYTES = BLOCK_BYTES - 16 * MAX_PAYLOADS_PER_REQUEST;

/** Time after which a server sends what it has read of a bundle, in milliseconds: a slow disk is no reason to let a client wait. */
export const BUNDLE_READ_MS = 500;

/** Milliseconds for one answer with payloads: 1 MiB at 100 KiB/s. Who is slower is asked for one payload at a time. */
export const BUNDLE_TIMEOUT_MS = 10_000;

/** Requests that a server lets wait unread on one stream. Above any client's depth. */
export const MAX_QUEUED_REQUESTS = 64;

export const REQUEST_LIMITS: MessageLimits = {
  what: 'blocks request',
  maxBytes: KIB,
  maxDepth: 3,
  maxItems: 2 * MAX_PAYLOADS_PER_REQUEST + 16,
};

/** An answer without its content: of a payload it has two sizes. */
export const HEAD_LIMITS: MessageLimits = {
  what: 'blocks answer',
  maxBytes: MESSAGE_OVERHEAD_BYTES,
  maxDepth: 4,
  maxItems: 3 * MAX_PAYLOADS_PER_REQUEST + 16,
};

/** Bytes of the largest answer. */
export const MAX_ANSWER_BYTES = Math.max(BLOCK_BYTES, OBJECT_PART_BYTES) + MESSAGE_OVERHEAD_BYTES;

/** Bytes that may wait unread at a client: what it asked for, each with its length prefix. */
export const MAX_BUFFERED_BYTES = PIPELINE_DEPTH * (MAX_ANSWER_BYTES + 8);

/** Streams that a server serves at once: each holds at most one block in memory. */
export const MAX_STREAMS = 32;

/** Streams that a server serves at once for one peer. */
export const MAX_STREAMS_PER_PEER = 4;

/** Requests per second and peer: half a gibibyte per second, more than one connection carries. */
export const REQUEST_RATE: RateLimit = { perSecond: 512, burst: 1_024 };

/** Peers from which one blob is fetched at the same time; memory is this times the buffered bytes. */
export const MAX_SOURCES_AT_ONCE = 4;

/** Times that a client waits for its only peer without getting a block, before it gives that peer up. */
export const MAX_RETRIES = 5;

/** Milliseconds before a peer whose connection was lost in the middle is dialled again, where that is wanted. */
export const REDIAL_WAIT_MS = 1_000;

/** Milliseconds after which what one peer still owes is also asked of another: a slow peer holds up nobody. */
export const HEDGE_MS = 2_000;

/**
 * Milliseconds for one block while other peers wait for their turn as a source: below 35 KiB/s a peer is left for
 * another one. Without another one it may take its time.
 */
export const SLOW_BLOCK_MS = 30_000;

/** Milliseconds for one whole object from one peer: the largest one at 30 KiB/s. A trickle ends here. */
export const OBJECT_TIMEOUT_MS = 300_000;

/** Peers that are asked for one object at the same time, one more whenever `HEDGE_MS` bring nothing. */
export const MAX_OBJECT_SOURCES = 3;
