import type { PeerId } from '@libp2p/interface';
import { peerIdFromString } from '@libp2p/peer-id';
import { multiaddr } from '@multiformats/multiaddr';
import type { RememberedPeer } from '../../node/net/peer-book.ts';
import { type KnownPeer, MAX_PEERS, PEERS_PROTOCOL, type Peers, type PeersOptions } from '../../protocols/index.ts';
import type { SimHost } from './host.ts';

/** Bytes of a request, of an answer without addresses, and of one address in it. */
const REQUEST_BYTES = 64;
const ANSWER_BYTES = 32;
const ADDRESS_BYTES = 56;

/** The parsed form of every peer that anybody has told of: parsing the same addresses again and again is most of a run. */
export type ParsedPeers = Map<string, KnownPeer>;

/**
 * Stands in for `/kinmerge/peers/1`: asks a peer for the peers that it has reached, the latest first, as the protocol
 * does, without encoding and parsing addresses.
 */
export class PeersModel implements Peers {
  readonly protocol = PEERS_PROTOCOL;
  readonly #host: SimHost;
  readonly #parsed: ParsedPeers;

  constructor(components: { host: SimHost; parsed: ParsedPeers }) {
    this.#host = components.host;
    this.#parsed = components.parsed;
  }

  start(): void {}

  stop(): void {}

  async ask(peer: PeerId, { signal }: PeersOptions = {}): Promise<KnownPeer[]> {
    const own = this.#host.peerId.toString();
    const peers: KnownPeer[] = [];
    await this.#host.exchange(peer, signal, { kind: 'peers', bytes: REQUEST_BYTES }, (remote) => {
      const known = remote.known().filter(({ id, reached }) => reached > 0 && id !== own);
      known.sort((a, b) => b.lastSeen - a.lastSeen);
      for (const entry of known.slice(0, MAX_PEERS)) peers.push(this.#parse(entry));
      return ANSWER_BYTES + peers.length * ADDRESS_BYTES;
    });
    return peers;
  }

  #parse({ id, addresses }: RememberedPeer): KnownPeer {
    let peer = this.#parsed.get(id);
    if (peer === undefined) {
      peer = { id: peerIdFromString(id), addresses: addresses.map((address) => multiaddr(address)) };
      this.#parsed.set(id, peer);
    }
    return peer;
  }
}
