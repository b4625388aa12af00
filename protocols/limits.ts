/**
 * Limits that more than one protocol keeps. Whatever a peer can fill has its bound here or in the `constants.ts` of the
 * protocol; each says its unit and why it has this value.
 */

import {
  MAX_CHARTER_BYTES,
  MAX_CHECKPOINT_BYTES,
  MAX_MANIFEST_BYTES,
  MAX_RECIPE_BYTES,
  MAX_SIGNED_HEAD_BYTES,
} from '../src/log/index.ts';

export {
  BLOCK_BYTES,
  MAX_CONTENT_BYTES,
  MAX_ENTRY_BYTES,
  MAX_SIGNED_HEAD_BYTES,
  MAX_SIGNED_RECORD_BYTES,
  MAX_SIGNED_SEAL_BYTES,
} from '../src/log/index.ts';

export const KIB = 1024;
export const MIB = 1024 * KIB;

/**
 * Bytes of a payload that travels inside the gossip message. Every node of a mesh receives a message several times, so
 * only what costs less than a second fetch goes this way.
 */
export const MAX_INLINE_PAYLOAD_BYTES = 256 * KIB;

/** Bytes of one content-addressed object: the largest kind of document that is served has to fit. */
export const MAX_OBJECT_BYTES = Math.max(
  MAX_CHARTER_BYTES,
  MAX_MANIFEST_BYTES,
  MAX_RECIPE_BYTES,
  MAX_CHECKPOINT_BYTES,
  MAX_SIGNED_HEAD_BYTES,
);

/** Bytes that a map key, a CID or a length cost at most in an encoded message, over all fields of one message. */
export const MESSAGE_OVERHEAD_BYTES = 256;

/** Bytes of a refusal: one reason word and a number. */
export const MAX_REFUSAL_BYTES = 256;

/**
 * Milliseconds without progress after which a transfer is given up. The whole transfer has no time limit: a slow peer
 * that keeps sending is fine, a dead one must not hold a task for ever.
 */
export const PROGRESS_TIMEOUT_MS = 15_000;

/**
 * Bytes that count as progress; the end of a message counts too. Without a minimum, one byte every few seconds would
 * hold a stream for ever. 16 KiB in 15 s is about one KiB/s.
 */
export const PROGRESS_MIN_BYTES = 16 * KIB;

/** Milliseconds a server waits for the next request on an open stream before it closes it. */
export const IDLE_TIMEOUT_MS = 30_000;

/** Milliseconds for dialling and negotiating a stream. */
export const OPEN_TIMEOUT_MS = 10_000;

/** Milliseconds for the other side to close a stream that is done; then it is reset. */
export const CLOSE_TIMEOUT_MS = 5_000;

/** Peers that one rate limiter remembers; more than a node has connections. */
export const RATE_LIMITER_KEYS = 1_024;
