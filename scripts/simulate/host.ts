import type { Libp2p } from '@libp2p/interface';
import {
  type IdentifyResult,
  type PeerId,
  type Stream,
  type StreamHandler,
  TypedEventEmitter,
} from '@libp2p/interface';
import { defaultLogger } from '@libp2p/logger';
import { peerIdFromPrivateKey } from '@libp2p/peer-id';
import { type Multiaddr, multiaddr } from '@multiformats/multiaddr';
import type { RememberedPeer } from '../../node/net/peer-book.ts';
import type { createHost, HostInit } from '../../protocols/host.ts';
import { MAX_CONNECTIONS } from '../../protocols/host.ts';
import { BLOCKS_PROTOCOL, SYNC_PROTOCOL } from '../../protocols/index.ts';
import { GossipModel } from './gossip/model.ts';
import { controlBytes, kindOfTopic, messageBytes, type Rpc } from './gossip/rpc.ts';
import type { GossipObserver } from './observation.ts';
import { type ParsedPeers, PeersModel } from './peers-model.ts';
import { SimStream } from './stream.ts';
import type { TrafficKind } from './trace.ts';
import { Wire, type WireParts } from './wire.ts';

/** Bytes of a handshake (TCP, TLS with a certificate, the multiplexer) and of identify, in one direction. */
const HANDSHAKE_BYTES = 1_400;
const IDENTIFY_BYTES = 600;
/** Bytes that negotiate a stream's protocol, in one direction. */
const NEGOTIATE_BYTES = 64;

const KINDS: Readonly<Record<string, TrafficKind>> = {
  [SYNC_PROTOCOL]: 'sync',
  [BLOCKS_PROTOCOL]: 'blocks',
};

/** The hosts that can be dialled, by address without the peer id; and what their connections are made of. */
export interface World extends WireParts {
  readonly hosts: Map<string, SimHost>;
  /** All open connections. */
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

interface Connection {
  readonly wire: Wire;
  readonly end: 0 | 1;
  readonly remote: SimHost;
  readonly remotePeer: PeerId;
  readonly remoteAddr: Multiaddr;
  close(): Promise<void>;
}

interface HostEvents {
  'peer:connect': CustomEvent<PeerId>;
  'peer:disconnect': CustomEvent<PeerId>;
  'peer:identify': CustomEvent<IdentifyResult>;
}

/** Stands in for `createHost` of the protocols: the same services over the simulated network, and the gossip model. */
export function simulatedHost(place: Place): typeof createHost {
  return async (init, factories) => {
    const host = new SimHost(init, place);
    const peers = new PeersModel({ host, parsed: place.world.parsed });
    const services: Record<string, unknown> = { gossip: host.gossip, peers };
    // The protocols' services take the small part of libp2p's components that `SimHost.components` has.
    for (const [name, create] of Object.entries(factories as Record<string, (components: unknown) => unknown>)) {
      services[name] ??= create(host.components);
    }
    await host.start(services);
    return host as unknown as Libp2p<never>;
  };
}

/** A libp2p node as far as the daemon sees one. */
export class SimHost extends TypedEventEmitter<HostEvents> {
  readonly peerId: PeerId;
  readonly logger = defaultLogger();
  readonly gossip: GossipModel;
  services: Record<string, unknown> = {};
  readonly #place: Place;
  readonly #address: Multiaddr;
  readonly #handlers = new Map<string, StreamHandler>();
  readonly #connections = new Map<string, Connection[]>();
  readonly #log = this.logger.forComponent('kinmerge:simulate');

  constructor(init: HostInit, place: Place) {
    super();
    this.#place = place;
    this.peerId = peerIdFromPrivateKey(init.privateKey);
    this.#address = multiaddr(`${init.listen[0]}/p2p/${this.peerId}`);
    const { links } = place.world;
    this.gossip = new GossipModel({ now: () => links.now, send: (peer, rpc) => this.#sendRpc(peer, rpc) });
  }

  get node(): number {
    return this.#place.node;
  }

  /** Whom the node knows. */
  known(): readonly RememberedPeer[] {
    return this.#place.known();
  }

  /**
   * One request and its answer on a stream of their own, as sizes.
   *
   * @param answer - runs at the peer; returns the bytes of its answer
   */
  exchange(
    peer: PeerId,
    kind: TrafficKind,
    signal: AbortSignal | undefined,
    bytes: number,
    answer: (remote: SimHost) => number,
  ): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const [connection] = this.#connections.get(peer.toString()) ?? [];
    if (connection === undefined) return Promise.reject(new Error(`${peer} is not connected`));
    const { wire, end, remote } = connection;
    const back = end === 0 ? 1 : 0;
    const onAbort = () => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const forget = wire.onBreak(reject);
    wire.send(end, kind, NEGOTIATE_BYTES + bytes, () => {
      wire.send(back, kind, NEGOTIATE_BYTES + answer(remote), resolve);
    });
    return promise.finally(() => {
      forget();
      signal?.removeEventListener('abort', onAbort);
    });
  }

  /** What the protocols' services are made with. */
  get components() {
    return {
      peerId: this.peerId,
      logger: this.logger,
      registrar: {
        handle: async (protocol: string, handler: StreamHandler) => {
          this.#handlers.set(protocol, handler);
        },
        unhandle: async (protocol: string) => {
          this.#handlers.delete(protocol);
        },
      },
      connectionManager: {
        openStream: (peer: PeerId, protocol: string, { signal }: { signal: AbortSignal }) =>
          this.#openStream(peer, protocol, signal),
        getConnections: (peer?: PeerId) =>
          peer === undefined ? [...this.#connections.values()].flat() : (this.#connections.get(peer.toString()) ?? []),
      },
    };
  }

  async start(services: Record<string, unknown>): Promise<void> {
    this.services = services;
    this.#place.world.hosts.set(addressOf(this.#address), this);
    for (const service of Object.values(services)) await (service as { start(): unknown }).start();
  }

  async stop(): Promise<void> {
    this.#place.world.hosts.delete(addressOf(this.#address));
    for (const { wire } of [...this.#connections.values()].flat()) wire.break('the node has stopped');
    for (const service of Object.values(this.services)) await (service as { stop(): unknown }).stop();
  }

  getPeers(): PeerId[] {
    return Array.from(this.#connections.values(), ([connection]) => connection!.remotePeer);
  }

  getMultiaddrs(): Multiaddr[] {
    return [this.#address];
  }

  async hangUp(peer: PeerId): Promise<void> {
    for (const { wire } of this.#connections.get(peer.toString()) ?? []) wire.break('hung up');
  }

  /** Dials the addresses one after another. */
  async dial(targets: readonly Multiaddr[], { signal, force }: { signal: AbortSignal; force?: boolean }) {
    let failure: unknown = new Error('there is no address to dial');
    for (const target of targets) {
      signal.throwIfAborted();
      const id = target.getComponents().find(({ name }) => name === 'p2p')?.value ?? '';
      const [open] = this.#connections.get(id) ?? [];
      if (open !== undefined && force !== true) return open;
      try {
        return await this.#connect(target, id, signal);
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #connect(target: Multiaddr, id: string, signal: AbortSignal): Promise<Connection> {
    const { world, node } = this.#place;
    const { links } = world;
    const found = world.hosts.get(addressOf(target));
    const roundTrip = 2 * links.delay(node, found?.node ?? node);
    world.trace.sent('connect', node, found?.node ?? -1, HANDSHAKE_BYTES);
    if (found !== undefined && !links.reaches(node, found.node)) await pause(Number.POSITIVE_INFINITY, signal);
    // One round trip for TCP, one for TLS.
    await pause(found === undefined ? roundTrip : 2 * roundTrip, signal);
    const remote = world.hosts.get(addressOf(target));
    if (remote === undefined || remote.peerId.toString() !== id || !links.reaches(node, remote.node)) {
      throw new Error(`${target} does not answer`);
    }
    if (remote.#size >= MAX_CONNECTIONS || this.#size >= MAX_CONNECTIONS) throw new Error(`${target} has no room`);
    world.trace.sent('connect', remote.node, node, HANDSHAKE_BYTES);
    const wire = new Wire([node, remote.node], world);
    world.wires.add(wire);
    wire.onBreak(() => world.wires.delete(wire));
    const connection = this.#add(wire, 0, remote);
    remote.#add(wire, 1, this);
    return connection;
  }

  get #size(): number {
    let size = 0;
    for (const connections of this.#connections.values()) size += connections.length;
    return size;
  }

  #add(wire: Wire, end: 0 | 1, remote: SimHost): Connection {
    const key = remote.peerId.toString();
    const connection: Connection = {
      wire,
      end,
      remote,
      remotePeer: remote.peerId,
      remoteAddr: remote.#address,
      close: async () => wire.breakSoon('closed'),
    };
    const connections = this.#connections.get(key) ?? [];
    connections.push(connection);
    this.#connections.set(key, connections);
    wire.onBreak(() => this.#remove(connection));
    if (connections.length === 1) this.dispatchEvent(new CustomEvent('peer:connect', { detail: remote.peerId }));
    wire.send(end, 'connect', IDENTIFY_BYTES, () => remote.#identified(wire, this));
    return connection;
  }

  #identified(wire: Wire, remote: SimHost): void {
    const connection = this.#connections.get(remote.peerId.toString())?.find((other) => other.wire === wire);
    if (connection === undefined) return;
    // Gossip has one stream for a peer, however many connections there are.
    if (this.#connections.get(remote.peerId.toString())![0] === connection) {
      this.gossip.addPeer(remote.peerId, connection.end === 0);
    }
    const detail = {
      peerId: remote.peerId,
      protocols: [...remote.#handlers.keys()],
      listenAddrs: remote.getMultiaddrs(),
      connection,
    } as unknown as IdentifyResult;
    this.dispatchEvent(new CustomEvent('peer:identify', { detail }));
  }

  #remove(connection: Connection): void {
    const key = connection.remotePeer.toString();
    const left = (this.#connections.get(key) ?? []).filter((other) => other !== connection);
    if (left.length > 0) {
      this.#connections.set(key, left);
      return;
    }
    this.#connections.delete(key);
    this.gossip.removePeer(connection.remotePeer);
    this.dispatchEvent(new CustomEvent('peer:disconnect', { detail: connection.remotePeer }));
  }

  #sendRpc(peer: PeerId, rpc: Rpc): void {
    const [connection] = this.#connections.get(peer.toString()) ?? [];
    if (connection === undefined) return;
    const { wire, end, remote } = connection;
    const { trace } = this.#place.world;
    let bytes = controlBytes(rpc);
    if (bytes > 0) trace.sent('control', this.node, remote.node, bytes);
    for (const message of rpc.messages ?? []) {
      bytes += messageBytes(message);
      trace.sent(kindOfTopic(message.topic), this.node, remote.node, messageBytes(message));
    }
    wire.send(end, null, bytes, () => {
      this.#place.world.observer?.received(remote.peerId, this.peerId, rpc, bytes);
      remote.gossip.receive(this.peerId, rpc);
    });
  }

  /** Negotiates the protocol, which takes a round trip, and opens a stream. */
  #openStream(peer: PeerId, protocol: string, signal: AbortSignal): Promise<Stream> {
    const { promise, resolve, reject } = Promise.withResolvers<Stream>();
    const [connection] = this.#connections.get(peer.toString()) ?? [];
    if (connection === undefined) return Promise.reject(new Error(`${peer} is not connected`));
    const { wire, end, remote } = connection;
    const back = end === 0 ? 1 : 0;
    const forget = wire.onBreak(reject);
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    wire.send(end, 'connect', NEGOTIATE_BYTES, () => {
      const handler = remote.#handlers.get(protocol);
      wire.send(back, 'connect', NEGOTIATE_BYTES, () => {
        if (handler === undefined) return reject(new Error(`${peer} does not speak ${protocol}`));
        if (signal.aborted) return;
        const [opened, accepted] = SimStream.pair(
          { wire, protocol, kind: KINDS[protocol] ?? 'connect' },
          {
            opened: { end, log: this.#log },
            accepted: { end: back, log: remote.#log, tamper: remote.#place.tamper },
          },
        );
        const theirs = remote.#connections.get(this.peerId.toString())?.find((other) => other.wire === wire);
        void handler(accepted, theirs as unknown as Parameters<StreamHandler>[1]);
        resolve(opened);
      });
    });
    return promise.finally(() => {
      forget();
      signal.removeEventListener('abort', onAbort);
    });
  }
}

/** An address as the world knows it: without the peer's id. */
function addressOf(address: Multiaddr): string {
  return address.toString().split('/p2p/')[0]!;
}

/** Waits, at most until the signal aborts. */
function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const onAbort = () => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = Number.isFinite(milliseconds) ? setTimeout(resolve, milliseconds) : undefined;
  return promise.finally(() => {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  });
}
