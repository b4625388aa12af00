import type { PeerId } from '@libp2p/interface';
import type { Multiaddr } from '@multiformats/multiaddr';
import { type AddressScope, parsePeerAddress, scopeOf } from '../addresses.ts';
import { asError } from '../channel.ts';
import { openChannel, type ProtocolComponents } from '../components.ts';
import { ProtocolError } from '../errors.ts';
import { type Remote, StreamServer } from '../stream-server.ts';
import {
  MAX_ADDRESS_BYTES,
  MAX_ADDRESSES,
  MAX_PEERS,
  MAX_STREAMS,
  MAX_STREAMS_PER_PEER,
  PEERS_PROTOCOL,
  REQUEST_LIMITS,
  REQUEST_RATE,
  RESPONSE_LIMITS,
} from './constants.ts';
import type { KnownPeer, Peers, PeersInit, PeersOptions } from './index.ts';
import { decodeAnswer, decodeRequest, encodeAnswer, encodeRequest } from './schema.ts';

export class PeersExchange implements Peers {
  readonly protocol = PEERS_PROTOCOL;
  readonly #components: ProtocolComponents;
  readonly #init: PeersInit;
  readonly #server: StreamServer;

  constructor(components: ProtocolComponents, init: PeersInit) {
    this.#components = components;
    this.#init = init;
    this.#server = new StreamServer(
      components,
      {
        protocol: PEERS_PROTOCOL,
        maxRequestBytes: REQUEST_LIMITS.maxBytes,
        maxQueuedRequests: 1,
        maxStreams: MAX_STREAMS,
        maxStreamsPerPeer: MAX_STREAMS_PER_PEER,
        rate: REQUEST_RATE,
        progressTimeoutMs: init.progressTimeoutMs,
      },
      (remote) => ({ answer: (request) => this.#answer(request, remote) }),
    );
  }

  start(): Promise<void> {
    return this.#server.start();
  }

  stop(): Promise<void> {
    return this.#server.stop();
  }

  async ask(peer: PeerId, options: PeersOptions = {}): Promise<KnownPeer[]> {
    const channel = await openChannel(this.#components, peer, PEERS_PROTOCOL, {
      maxMessageBytes: RESPONSE_LIMITS.maxBytes,
      // Twice: an answer above its limit is then known by its length before the buffer overflows.
      maxBufferedBytes: 2 * RESPONSE_LIMITS.maxBytes,
      signal: options.signal,
      ...(this.#init.progressTimeoutMs === undefined ? {} : { progressTimeoutMs: this.#init.progressTimeoutMs }),
    });
    try {
      await channel.write(encodeRequest({ charter: this.#init.charter }));
      const { peers } = decodeAnswer(await channel.expect(), channel.peer);
      await channel.close();
      return this.#accept(peers, peer);
    } catch (error) {
      channel.abort(asError(error));
      throw error;
    }
  }

  async #answer(bytes: Uint8Array, { peer, connection }: Remote): Promise<Uint8Array> {
    const request = decodeRequest(bytes);
    if (!request.charter.equals(this.#init.charter)) {
      throw new ProtocolError('WRONG_COMMUNITY', 'The peer asks for another community.', {});
    }
    const scope = scopeOf(connection.remoteAddr);
    const peers: Uint8Array[][] = [];
    for (const known of await this.#init.source()) {
      if (peers.length >= MAX_PEERS) break;
      if (known.id.equals(peer)) continue;
      const addresses = known.addresses.filter((address) => fits(address, known.id, scope)).slice(0, MAX_ADDRESSES);
      if (addresses.length > 0) peers.push(addresses.map((address) => address.bytes));
    }
    return encodeAnswer({ status: 'peers', peers });
  }

  /** Addresses that are malformed, of no use from here, or not of one peer are dropped; the rest of the list counts. */
  #accept(lists: readonly (readonly Uint8Array[])[], from: PeerId): KnownPeer[] {
    const scope = this.#scopeTo(from);
    const seen = new Set<string>([this.#components.peerId.toString(), from.toString()]);
    const known: KnownPeer[] = [];
    for (const list of lists) {
      const parsed = list.map((bytes) => parsePeerAddress(bytes));
      const id = parsed[0]?.id;
      if (id === undefined || seen.has(id.toString())) continue;
      if (!parsed.every((entry) => entry?.id.equals(id))) continue;
      const addresses = new Map<string, Multiaddr>();
      for (const entry of parsed) {
        if (entry && scopeOf(entry.address) >= scope) addresses.set(entry.address.toString(), entry.address);
      }
      if (addresses.size === 0) continue;
      seen.add(id.toString());
      known.push({ id, addresses: [...addresses.values()] });
    }
    return known;
  }

  /** From how near the peer itself is connected; the widest when it is connected several times. */
  #scopeTo(peer: PeerId): AddressScope {
    let scope: AddressScope | undefined;
    for (const connection of this.#components.connectionManager.getConnections(peer)) {
      const next = scopeOf(connection.remoteAddr);
      if (scope === undefined || next > scope) scope = next;
    }
    return scope ?? 2;
  }
}

function fits(address: Multiaddr, id: PeerId, scope: AddressScope): boolean {
  if (address.bytes.length > MAX_ADDRESS_BYTES || scopeOf(address) < scope) return false;
  return parsePeerAddress(address)?.id.equals(id) ?? false;
}
