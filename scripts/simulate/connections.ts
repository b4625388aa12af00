import type { PeerId } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import type { SimHost } from './host.ts';
import type { Wire } from './wire.ts';

/** One end of a connection, with what the daemon reads of a libp2p connection. */
export interface Connection {
  readonly wire: Wire;
  readonly end: 0 | 1;
  readonly remote: SimHost;
  readonly remotePeer: PeerId;
  readonly remoteAddr: Multiaddr;
  close(): Promise<void>;
}

/** A host's connections: often one for a peer, sometimes two, when both dialled. */
export class Connections {
  readonly #byPeer = new Map<string, Connection[]>();

  get size(): number {
    let size = 0;
    for (const connections of this.#byPeer.values()) size += connections.length;
    return size;
  }

  peers(): PeerId[] {
    return Array.from(this.#byPeer.values(), ([connection]) => connection!.remotePeer);
  }

  all(): Connection[] {
    return [...this.#byPeer.values()].flat();
  }

  of(peer: string): readonly Connection[] {
    return this.#byPeer.get(peer) ?? [];
  }

  /** The one that is used, where there are several. @throws Error when the peer is not connected */
  to(peer: PeerId): Connection {
    const [connection] = this.of(peer.toString());
    if (connection === undefined) throw new Error(`${peer} is not connected`);
    return connection;
  }

  /** @returns whether it is the peer's first */
  add(connection: Connection): boolean {
    const key = connection.remotePeer.toString();
    const connections = [...this.of(key), connection];
    this.#byPeer.set(key, connections);
    return connections.length === 1;
  }

  /** @returns whether it was the peer's last */
  remove(connection: Connection): boolean {
    const key = connection.remotePeer.toString();
    const left = this.of(key).filter((other) => other !== connection);
    if (left.length > 0) this.#byPeer.set(key, left);
    else this.#byPeer.delete(key);
    return left.length === 0;
  }
}
