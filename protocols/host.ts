/** The libp2p node that kinmerge runs: transports, encryption, limits, gossip. Knows no disk: the caller has the key. */
import { type GossipSub, gossipsub } from '@libp2p/gossipsub';
import { type Identify, identify } from '@libp2p/identify';
import type { ComponentLogger, Libp2p, Metrics, PrivateKey, ServiceMap, Startable } from '@libp2p/interface';
import { noise } from '@libp2p/noise';
import { type Ping, ping } from '@libp2p/ping';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { createLibp2p, type ServiceFactoryMap } from 'libp2p';
import type { CID } from 'multiformats/cid';
import { OPEN_TIMEOUT_MS } from './limits.ts';
import { gossipOptions } from './updates/gossip-options.ts';

/** Connections kept at most: a mesh needs a dozen, the rest is room for peers that come to pull. */
export const MAX_CONNECTIONS = 128;

/**
 * New connections per second from one address. The default of 5 cuts off several nodes on one machine or behind one
 * router that start together, and a node that many redial after its restart.
 */
export const INBOUND_CONNECTIONS_PER_SECOND = 64;

/** Connections in the handshake at once. The default of 10 has the same effect. */
export const MAX_PENDING_INBOUND_CONNECTIONS = 64;

/** Milliseconds between pings to every connected peer. */
export const PING_INTERVAL_MS = 5_000;

/**
 * Milliseconds for an answer to a ping before the connection is dropped: within 10 s a frozen peer is noticed, and a
 * peer on a busy machine is not lost.
 */
export const PING_TIMEOUT_MS = 5_000;
/** The ping timeout grows with a slow network up to this many milliseconds. */
export const MAX_PING_TIMEOUT_MS = 15_000;

export interface HostInit {
  /** The node's key: its peer id on the network. */
  readonly privateKey: PrivateKey;
  /** Multiaddrs to listen on; none for a node that only dials. */
  readonly listen: readonly string[];
  /** Multiaddrs that others are told instead, without peer id: behind a router or a proxy the own ones are of no use. */
  readonly announce?: readonly string[];
  /** Version of the program, for `agentVersion`. */
  readonly version: string;
  /** Communities whose topics this node takes part in. */
  readonly communities: readonly CID[];
  readonly maxConnections?: number;
  /** Milliseconds between pings, and for their answers; default `PING_INTERVAL_MS` and `PING_TIMEOUT_MS`. */
  readonly monitor?: { readonly pingIntervalMs: number; readonly pingTimeoutMs: number };
  readonly logger?: ComponentLogger;
  /** Watches connections and streams. */
  readonly metrics?: Metrics | undefined;
}

export type HostServices = { identify: Identify; ping: Ping; gossip: GossipSub };

/**
 * Creates and starts a node with gossip and the given services (`blocks(…)`, `sync(…)`, `peers(…)`).
 * The caller stops it.
 */
export async function createHost<T extends ServiceMap>(
  init: HostInit,
  givenServices: ServiceFactoryMap<T>,
): Promise<Libp2p<T & HostServices>> {
  const own: ServiceFactoryMap<HostServices> = {
    identify: identify(),
    ping: ping(),
    gossip: gossipThatEnds(init.communities),
  };
  // Each factory is typed over all services; the compiler cannot join the two maps while T is open.
  const services = { ...givenServices, ...own } as unknown as ServiceFactoryMap<T & HostServices>;
  const { metrics } = init;
  return createLibp2p({
    privateKey: init.privateKey,
    nodeInfo: { name: 'kinmerge', version: init.version, userAgent: `kinmerge/${init.version}` },
    addresses: { listen: [...init.listen], announce: [...(init.announce ?? [])] },
    transports: [tcp()],
    // TLS first: a quarter less CPU per byte than noise, which stays for peers that speak only that.
    connectionEncrypters: [tls(), noise()],
    streamMuxers: [yamux()],
    connectionManager: {
      maxConnections: init.maxConnections ?? MAX_CONNECTIONS,
      inboundConnectionThreshold: INBOUND_CONNECTIONS_PER_SECOND,
      maxIncomingPendingConnections: MAX_PENDING_INBOUND_CONNECTIONS,
      dialTimeout: OPEN_TIMEOUT_MS,
    },
    connectionMonitor: {
      pingInterval: init.monitor?.pingIntervalMs ?? PING_INTERVAL_MS,
      pingTimeout: { minTimeout: init.monitor?.pingTimeoutMs ?? PING_TIMEOUT_MS, maxTimeout: MAX_PING_TIMEOUT_MS },
    },
    ...(metrics === undefined ? {} : { metrics: () => metrics }),
    ...(init.logger === undefined ? {} : { logger: init.logger }),
    services,
  });
}

/**
 * Gossipsub leaves its heartbeat's timer running when it stops (17.1), which keeps the process of a short command, or of
 * a daemon that shuts down, alive for another second.
 */
function gossipThatEnds(communities: readonly CID[]): ServiceFactoryMap<HostServices>['gossip'] {
  const create = gossipsub(gossipOptions(communities));
  return (components) => {
    const gossip = create(components);
    const inner = gossip as unknown as Startable & { status: { heartbeatTimeout?: NodeJS.Timeout } };
    const stop = inner.stop.bind(gossip);
    inner.stop = () => {
      clearTimeout(inner.status.heartbeatTimeout);
      return stop();
    };
    return gossip;
  };
}
