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
import { MAX_CONNECTIONS } from '../../protocols/host.ts';
import { BLOCKS_PROTOCOL, type HostInit, SYNC_PROTOCOL } from '../../protocols/index.ts';
import { type Connection, Connections } from './connections.ts';
import { GossipModel } from './gossip/model.ts';
import { controlBytes, kindOfTopic, messageBytes, type Rpc } from './gossip/rpc.ts';
import { SimStream } from './stream.ts';
import type { TrafficKind } from './trace.ts';
import { Wire } from './wire.ts';
import type { Place } from './world.ts';

/** Bytes of a handshake (TCP, TLS with a certificate, the multiplexer) and of identify, in one direction. */
const HANDSHAKE_BYTES = 1_400;
const IDENTIFY_BYTES = 600;
/** Bytes that negotiate a stream's protocol, in one direction. */
const NEGOTIATE_BYTES = 64;

const KINDS: Readonly<Record<string, TrafficKind>> = { [SYNC_PROTOCOL]: 'sync', [BLOCKS_PROTOCOL]: 'blocks' };

interface HostEvents {
  'peer:connect': CustomEvent<PeerId>;
  'peer:disconnect': CustomEvent<PeerId>;
  'peer:identify': CustomEvent<IdentifyResult>;
}

/** A message from one end of a connection, and what is counted of it. */
interface Asked {
  readonly kind: TrafficKind;
  readonly bytes: number;
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
  readonly #connections = new Connections();
  readonly #log = this.logger.forComponent('kinmerge:simulate');

  constructor(init: HostInit, place: Place) {
    super();
    this.#place = place;
    this.peerId = peerIdFromPrivateKey(init.privateKey);
    this.#address = multiaddr(`${init.listen[0]}/p2p/${this.peerId}`);
    const { links, after } = place.world;
    this.gossip = new GossipModel({ now: () => links.now, send: (peer, rpc) => this.#sendRpc(peer, rpc), after });
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
  async exchange(
    peer: PeerId,
    signal: AbortSignal | undefined,
    { kind, bytes }: Asked,
    answer: (remote: SimHost) => number,
  ): Promise<void> {
    const request = { kind, bytes: NEGOTIATE_BYTES + bytes };
    await this.#roundTrip(peer, signal, request, (remote) => ({
      bytes: NEGOTIATE_BYTES + answer(remote),
      value: undefined,
    }));
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
          peer === undefined ? this.#connections.all() : this.#connections.of(peer.toString()),
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
    for (const { wire } of this.#connections.all()) wire.break('the node has stopped');
    for (const service of Object.values(this.services)) await (service as { stop(): unknown }).stop();
  }

  getPeers(): PeerId[] {
    return this.#connections.peers();
  }

  getMultiaddrs(): Multiaddr[] {
    return [this.#address];
  }

  async hangUp(peer: PeerId): Promise<void> {
    for (const { wire } of this.#connections.of(peer.toString())) wire.break('hung up');
  }

  /** Dials the addresses one after another. */
  async dial(targets: readonly Multiaddr[], { signal, force }: { signal: AbortSignal; force?: boolean }) {
    let failure: unknown = new Error('there is no address to dial');
    for (const target of targets) {
      signal.throwIfAborted();
      const id = target.getComponents().find(({ name }) => name === 'p2p')?.value ?? '';
      const [open] = this.#connections.of(id);
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
    if (Math.max(remote.#connections.size, this.#connections.size) >= MAX_CONNECTIONS)
      throw new Error(`${target} has no room`);
    world.trace.sent('connect', remote.node, node, HANDSHAKE_BYTES);
    const wire = new Wire([node, remote.node], world);
    world.wires.add(wire);
    wire.onBreak(() => world.wires.delete(wire));
    const connection = this.#add(wire, 0, remote);
    remote.#add(wire, 1, this);
    return connection;
  }

  #add(wire: Wire, end: 0 | 1, remote: SimHost): Connection {
    const connection: Connection = {
      wire,
      end,
      remote,
      remotePeer: remote.peerId,
      remoteAddr: remote.#address,
      close: async () => wire.breakSoon('closed'),
    };
    wire.onBreak(() => this.#remove(connection));
    const isFirst = this.#connections.add(connection);
    if (isFirst) this.dispatchEvent(new CustomEvent('peer:connect', { detail: remote.peerId }));
    wire.send(end, 'connect', IDENTIFY_BYTES, () => remote.#identified(wire, this));
    return connection;
  }

  #identified(wire: Wire, remote: SimHost): void {
    const connections = this.#connections.of(remote.peerId.toString());
    const connection = connections.find((other) => other.wire === wire);
    if (connection === undefined) return;
    // Gossip has one stream for a peer, however many connections there are.
    if (connections[0] === connection) this.gossip.addPeer(remote.peerId, connection.end === 0);
    const detail = {
      peerId: remote.peerId,
      protocols: [...remote.#handlers.keys()],
      listenAddrs: remote.getMultiaddrs(),
      connection,
    } as unknown as IdentifyResult;
    this.dispatchEvent(new CustomEvent('peer:identify', { detail }));
  }

  #remove(connection: Connection): void {
    if (!this.#connections.remove(connection)) return;
    this.gossip.removePeer(connection.remotePeer);
    this.dispatchEvent(new CustomEvent('peer:disconnect', { detail: connection.remotePeer }));
  }

  #sendRpc(peer: PeerId, rpc: Rpc): void {
    const [connection] = this.#connections.of(peer.toString());
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
  async #openStream(peer: PeerId, protocol: string, signal: AbortSignal): Promise<Stream> {
    const request: Asked = { kind: 'connect', bytes: NEGOTIATE_BYTES };
    const { connection, value: handler } = await this.#roundTrip(peer, signal, request, (remote) => ({
      bytes: NEGOTIATE_BYTES,
      value: remote.#handlers.get(protocol),
    }));
    const { wire, end, remote } = connection;
    if (handler === undefined || !wire.open) throw new Error(`${peer} does not speak ${protocol}, or is gone`);
    const [opened, accepted] = SimStream.pair(
      { wire, protocol, kind: KINDS[protocol] ?? 'connect' },
      {
        opened: { end, log: this.#log },
        accepted: { end: otherEnd(end), log: remote.#log, tamper: remote.#place.tamper },
      },
    );
    const theirs = remote.#connections.of(this.peerId.toString()).find((other) => other.wire === wire);
    void handler(accepted, theirs as unknown as Parameters<StreamHandler>[1]);
    return opened;
  }

  /** A request to a peer, and what it answered, when that has arrived. */
  async #roundTrip<T>(
    peer: PeerId,
    signal: AbortSignal | undefined,
    { kind, bytes }: Asked,
    answer: (remote: SimHost) => { readonly bytes: number; readonly value: T },
  ): Promise<{ connection: Connection; value: T }> {
    const connection = this.#connections.to(peer);
    const { wire, end, remote } = connection;
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const onAbort = () => reject(signal?.reason);
    signal?.addEventListener('abort', onAbort, { once: true });
    const forget = wire.onBreak(reject);
    wire.send(end, kind, bytes, () => {
      const answered = answer(remote);
      wire.send(otherEnd(end), kind, answered.bytes, () => resolve(answered.value));
    });
    try {
      return { connection, value: await promise };
    } finally {
      forget();
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

function otherEnd(end: 0 | 1): 0 | 1 {
  return end === 0 ? 1 : 0;
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
