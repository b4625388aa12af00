import { KIB, MAX_SIGNED_HEAD_BYTES, MAX_SIGNED_RECORD_BYTES, MAX_TIPS, MESSAGE_OVERHEAD_BYTES } from '../limits.ts';
import type { MessageLimits } from '../messages.ts';
import type { RateLimit } from '../rate-limiter.ts';

export const SYNC_PROTOCOL = '/kinmerge/sync/1';

/** Ids that a request names as known: tips, and older records for a peer whose log went another way. */
export const MAX_KNOWN = MAX_TIPS;

/** Ids that one request may ask for by name. */
export const MAX_WANTED = 64;

/** Records in one page. */
export const MAX_PAGE_RECORDS = 256;

/** Bytes of the records in one page; a page holds at least one record. */
export const MAX_PAGE_BYTES = 256 * KIB;

/** Bytes that an id costs inside a list: its tag, length and 37 bytes. */
const ID_ITEM_BYTES = 41;

export const REQUEST_LIMITS: MessageLimits = {
  what: 'sync request',
  maxBytes: MAX_KNOWN * ID_ITEM_BYTES + MAX_SIGNED_HEAD_BYTES + MESSAGE_OVERHEAD_BYTES,
  maxDepth: 4,
  maxItems: 2 * MAX_KNOWN + 32,
};

export const RESPONSE_LIMITS: MessageLimits = {
  what: 'sync answer',
  maxBytes:
    MAX_PAGE_BYTES +
    MAX_SIGNED_RECORD_BYTES +
    MAX_TIPS * ID_ITEM_BYTES +
    MAX_SIGNED_HEAD_BYTES +
    MESSAGE_OVERHEAD_BYTES,
  maxDepth: 4,
  maxItems: 2 * MAX_TIPS + MAX_PAGE_RECORDS + 32,
};

/** Records that a client takes from one peer in one round; the next round goes on from there. */
export const MAX_RECORDS_PER_ROUND = 50_000;

/** Streams that a server serves at once: each holds one place in a walk over the log. */
export const MAX_STREAMS = 32;

/** Streams that a server serves at once for one peer. */
export const MAX_STREAMS_PER_PEER = 2;

/** Requests that a server lets wait unread on one stream; clients send one at a time. */
export const MAX_QUEUED_REQUESTS = 2;

/** Cost units per second and peer: a page costs one. A whole round of the largest records fits into the burst. */
export const REQUEST_RATE: RateLimit = { perSecond: 256, burst: 1_024 };

/** Cost units of a hello: the server walks its log to find what is missing. */
export const HELLO_COST = 16;
