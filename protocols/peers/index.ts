/**
 * `/kinmerge/peers/1`: a small bounded exchange of peers' addresses, so that a network outlives the node that everyone
 * joined through. An address is passed on only to where it can be dialled from, and taken only from there: a peer on the
 * internet can neither learn this node's private neighbours nor make it dial into its own network.
 *
 * - `constants.ts`, `schema.ts`: limits and messages
 * - `exchange.ts`: server and client over an injected list of peers
 */
import type { PeerId, Startable } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { CID } from 'multiformats/cid';
import type { ProtocolComponents } from '../components.ts';
import { PeersExchange } from './exchange.ts';

export { MAX_ADDRESSES, MAX_PEERS, PEERS_PROTOCOL } from './constants.ts';

export interface KnownPeer {
  readonly id: PeerId;
  /** Each ends in the peer's id. */
  readonly addresses: readonly Multiaddr[];
}

export interface PeersOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface Peers extends Startable {
  readonly protocol: string;
  /**
   * Asks a peer for the peers it knows: at most `MAX_PEERS`, without this node and without the peer asked, only
   * addresses that pass the checks of this protocol.
   * @throws ProtocolError naming the peer
   */
  ask(peer: PeerId, options?: PeersOptions): Promise<KnownPeer[]>;
}

export interface PeersInit {
  readonly charter: CID;
  /** Peers worth passing on, best first; more than fit are cut. */
  readonly source: () => readonly KnownPeer[] | Promise<readonly KnownPeer[]>;
  /** Milliseconds without progress; for tests and unusual networks. */
  readonly progressTimeoutMs?: number;
}

/** A libp2p service: `services: { peers: peers({ charter, source }) }`. */
export function peers(init: PeersInit): (components: ProtocolComponents) => Peers {
  return (components) => new PeersExchange(components, init);
}
