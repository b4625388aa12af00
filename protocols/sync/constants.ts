import { DIGEST_BYTES, MAX_LEAF_IDS } from '../../src/log/index.ts';
import { KIB, MAX_ENTRY_BYTES, MAX_SIGNED_HEAD_BYTES, MESSAGE_OVERHEAD_BYTES } from '../limits.ts';
import type { MessageLimits } from '../messages.ts';
import type { RateLimit } from '../rate-limiter.ts';

export const SYNC_PROTOCOL = '/kinmerge/sync/2';

/** Bytes of the client's random salt: new for every stream, so nobody can choose ids whose tags meet. */
export const SALT_BYTES = 16;

/**
 * Bytes of a tag: a salted hash of a digest or an id, cut. Two that differ have the same tag once in 2^32 comparisons;
 * that difference is found in the next round, under another salt.
 */
export const TAG_BYTES = 4;

/**
 * Half bytes of the longest prefix that is compared. More ids than a leaf has places for, equal in 64 bits, cannot be
 * made: a peer that leads deeper is lying.
 */
export const MAX_PREFIX = 16;

/** Bytes of the longest packed prefix: its length and its half bytes. */
const PREFIX_BYTES = 1 + MAX_PREFIX / 2;

/** Prefixes in one comparison; the answer takes some 8,000 hashes at most, about 8 ms. */
export const MAX_COMPARED = 256;

/** Comparisons in one round. Two logs of a million entries that share nothing need some 300. */
export const MAX_COMPARES = 512;

/** Ids in one list: those that one side says the other lacks, or that a client wants by name. */
export const MAX_NAMED = 256;

/** Prefixes and parts of leaves in one request for entries. */
export const MAX_WANT_ITEMS = 1_024;

/** Entries that a stream may choose one by one: their ids are kept while it is open, some 6 MB. */
export const MAX_WANTED = 65_536;

/** Prefixes of which a stream may want everything, for the same reason. A client that would need more wants it all. */
export const MAX_WHOLE = 4_096;

/** Entries in one page. */
export const MAX_PAGE_ENTRIES = 256;

/** Bytes of the entries in one page; a page holds at least one entry. */
export const MAX_PAGE_BYTES = 256 * KIB;

/** Bytes of a packed node: a list of the tags of a full leaf. */
const NODE_BYTES = 1 + MAX_LEAF_IDS * TAG_BYTES;

/** Bytes of the set of places in a leaf. */
export const PLACES_BYTES = MAX_LEAF_IDS / 8;

export const MAX_PREFIXES_BYTES = MAX_COMPARED * PREFIX_BYTES;
export const MAX_NODES_BYTES = MAX_COMPARED * NODE_BYTES;
export const MAX_WHOLE_BYTES = MAX_WANT_ITEMS * PREFIX_BYTES;
export const MAX_SOME_BYTES = MAX_WANT_ITEMS * (PREFIX_BYTES + PLACES_BYTES);
export const MAX_NAMED_BYTES = MAX_NAMED * DIGEST_BYTES;

export const REQUEST_LIMITS: MessageLimits = {
  what: 'sync request',
  maxBytes:
    Math.max(MAX_SIGNED_HEAD_BYTES, MAX_PREFIXES_BYTES, MAX_WHOLE_BYTES + MAX_SOME_BYTES + MAX_NAMED_BYTES) +
    MESSAGE_OVERHEAD_BYTES,
  maxDepth: 2,
  maxItems: 32,
};

/** Bytes that an entry costs inside a list beside its own: its length. */
const ENTRY_ITEM_BYTES = 5;

export const RESPONSE_LIMITS: MessageLimits = {
  what: 'sync answer',
  transient: true,
  maxBytes: MAX_PAGE_BYTES + MAX_ENTRY_BYTES + MAX_PAGE_ENTRIES * ENTRY_ITEM_BYTES + MESSAGE_OVERHEAD_BYTES,
  maxDepth: 3,
  maxItems: MAX_PAGE_ENTRIES + 32,
};

/** Entries that a client takes from one peer in one round; the next round goes on from there. */
export const MAX_ENTRIES_PER_ROUND = 50_000;

/** Streams that a server serves at once: each holds a snapshot of the log's ids and what the client wants. */
export const MAX_STREAMS = 32;

/** Streams that a server serves at once for one peer. */
export const MAX_STREAMS_PER_PEER = 2;

/** Requests that a server lets wait unread on one stream; clients send one at a time. */
export const MAX_QUEUED_REQUESTS = 2;

/** Cost units per second and peer: a page costs one. A whole round of the largest entries fits into the burst. */
export const REQUEST_RATE: RateLimit = { perSecond: 256, burst: 1_024 };

/** Cost units of a hello, which opens a stream and may bring a head whose signature is checked. */
export const HELLO_COST = 16;

/** Bytes of a request that cost one unit more: what they name takes some 2,000 hashes to answer, about 2 ms. */
export const REQUEST_UNIT_BYTES = 128;
