import type { BoundedQueueLimits } from '../bounded-queue.ts';
import {
  KIB,
  MAX_INLINE_PAYLOAD_BYTES,
  MAX_SIGNED_HEAD_BYTES,
  MAX_SIGNED_RECORD_BYTES,
  MAX_SIGNED_SEAL_BYTES,
  MESSAGE_OVERHEAD_BYTES,
  MIB,
} from '../limits.ts';
import type { MessageLimits } from '../messages.ts';

/** Bytes of the largest gossip message: a record and an inline payload. */
export const UPDATE_LIMITS: MessageLimits = {
  what: 'update message',
  maxBytes: MAX_SIGNED_RECORD_BYTES + MAX_INLINE_PAYLOAD_BYTES + MESSAGE_OVERHEAD_BYTES,
  maxDepth: 2,
  maxItems: 8,
};

/** Bytes of a message on the heads topic: the signed head as it is. */
export const MAX_HEAD_MESSAGE_BYTES = MAX_SIGNED_HEAD_BYTES;

/** Bytes of a message on the seals topic: the signed seal as it is. */
export const MAX_SEAL_MESSAGE_BYTES = MAX_SIGNED_SEAL_BYTES;

/**
 * Messages under validation. A validator hashes and checks a signature: milliseconds. 256 messages of 256 KiB would be
 * 64 MiB, so bytes are bounded apart. What is dropped is ignored, and sync brings it later.
 */
export const VALIDATION_QUEUE: BoundedQueueLimits = {
  concurrency: 8,
  maxEntries: 256,
  maxBytes: 32 * MIB,
  maxEntriesPerPeer: 64,
};

/** Accepted messages on their way to the node, which writes them to disk. The same bounds for the same reason. */
export const DELIVERY_QUEUE: BoundedQueueLimits = {
  concurrency: 1,
  maxEntries: 512,
  maxBytes: 64 * MIB,
  maxEntriesPerPeer: 256,
};

/**
 * Bytes of one gossip RPC. An answer to IWANT carries several messages; the encoder of both gossipsub lines stops at
 * 4 MiB, so that is what may come.
 */
export const MAX_RPC_BYTES = 4 * MIB;

/** Bytes waiting to be sent to one peer before its gossip stream is given up: three full answers. */
export const MAX_OUTBOUND_BUFFER_BYTES = 12 * MIB;

/** Smallest message that is worth telling mesh peers not to send again, in bytes. */
export const IDONTWANT_MIN_BYTES = 16 * KIB;

/** Bytes of topic names that gossipsub keeps per peer (each costs about 1 KiB): ours are three. */
export const MAX_TOPIC_BYTES_PER_PEER = 16 * KIB;
