import { MESSAGE_OVERHEAD_BYTES } from '../limits.ts';
import type { MessageLimits } from '../messages.ts';
import type { RateLimit } from '../rate-limiter.ts';

export const PEERS_PROTOCOL = '/kinmerge/peers/1';

/** Peers in one answer: enough to join a mesh, too few to map or flood a network with one request. */
export const MAX_PEERS = 32;

/** Addresses of one peer. A node listens on a handful. */
export const MAX_ADDRESSES = 8;

/** Bytes of one address: a long domain name, port and peer id fit. */
export const MAX_ADDRESS_BYTES = 320;

export const REQUEST_LIMITS: MessageLimits = { what: 'peers request', maxBytes: 128, maxDepth: 3, maxItems: 8 };

export const RESPONSE_LIMITS: MessageLimits = {
  what: 'peers answer',
  maxBytes: MAX_PEERS * (MAX_ADDRESSES * (MAX_ADDRESS_BYTES + 4) + 8) + MESSAGE_OVERHEAD_BYTES,
  maxDepth: 4,
  maxItems: MAX_PEERS * (MAX_ADDRESSES + 1) + 16,
};

/** Requests per second and peer: nodes ask when they connect and every few minutes. */
export const REQUEST_RATE: RateLimit = { perSecond: 0.2, burst: 4 };

/** Streams that a server serves at once, in all and for one peer. */
export const MAX_STREAMS = 16;
export const MAX_STREAMS_PER_PEER = 1;
