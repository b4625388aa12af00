import type { RememberedPeer } from '../../node/net/peer-book.ts';
import type { SimHost } from './host.ts';
import type { GossipObserver } from './observation.ts';
import type { ParsedPeers } from './peers-model.ts';
import type { Wire, WireParts } from './wire.ts';

/** What all hosts share: those that can be dialled, by address without the peer's id, and all connections. */
export interface World extends WireParts {
  readonly hosts: Map<string, SimHost>;
  /** The open ones. */
  readonly wires: Set<Wire>;
  readonly parsed: ParsedPeers;
  /** Sees everything that gossip brings. */
  readonly observer?: GossipObserver | undefined;
}

/** Where a node is in the world. */
export interface Place {
  readonly world: World;
  /** Number of the node. */
  readonly node: number;
  /** Whom the node knows. */
  readonly known: () => readonly RememberedPeer[];
  /** Changes what this node answers on streams that others open. */
  readonly tamper?: (bytes: Uint8Array) => Uint8Array;
}
