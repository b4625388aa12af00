/**
 * What nodes say to each other. Everything from a peer is bounded, parsed and hashed here before anybody sees it; every
 * failure is a `ProtocolError` that names the peer.
 *
 * - `updates/`: gossip topics for updates and heads
 * - `blocks/`, `sync/`, `peers/`: request/response protocols, each a libp2p service
 * - `host.ts`: the libp2p node; `join-line.ts`: the line to join with; `addresses.ts`: what a peer's address is
 * - `limits.ts`: shared bounds; `messages.ts`, `channel.ts`, `stream-server.ts`, `rate-limiter.ts`, `bounded-queue.ts`:
 *   what the protocols are built from
 */
export { isPlainAddress, type PeerAddress, parsePeerAddress, scopeOf } from './addresses.ts';
export * from './blocks/index.ts';
export type { ProtocolComponents } from './components.ts';
export { isBreach, ProtocolError, type ProtocolErrorCode } from './errors.ts';
export { createHost, type HostInit, type HostServices } from './host.ts';
export { formatJoinLine, type JoinLine, JoinLineError, type JoinLineErrorCode, parseJoinLine } from './join-line.ts';
export { BLOCK_BYTES, MAX_INLINE_PAYLOAD_BYTES, MAX_OBJECT_BYTES, MAX_SIGNED_HEAD_BYTES } from './limits.ts';
export * from './peers/index.ts';
export { type RateLimit, RateLimiter } from './rate-limiter.ts';
export * from './sync/index.ts';
export * from './updates/index.ts';
