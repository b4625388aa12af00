import type {
  ComponentLogger,
  Connection,
  PeerId,
  Stream,
  StreamHandler,
  StreamHandlerOptions,
} from '@libp2p/interface';
import { asError, Channel, type ChannelInit } from './channel.ts';
import { ProtocolError } from './errors.ts';
import { OPEN_TIMEOUT_MS } from './limits.ts';

/** The part of a libp2p node that a request/response protocol uses. */
export interface ProtocolComponents {
  readonly peerId: PeerId;
  readonly logger: ComponentLogger;
  readonly registrar: {
    handle(protocol: string, handler: StreamHandler, options?: StreamHandlerOptions): Promise<void>;
    unhandle(protocol: string): Promise<void>;
  };
  readonly connectionManager: {
    openStream(
      peer: PeerId,
      protocol: string,
      options: { signal: AbortSignal; runOnLimitedConnection: boolean; maxOutboundStreams: number },
    ): Promise<Stream>;
    getConnections(peer?: PeerId): Connection[];
  };
}

/** Time for the oldest of several connections to open a stream, in milliseconds: a round trip to anywhere, twice. */
export const OPEN_OLDEST_TIMEOUT_MS = 1_000;

/** Streams of one protocol that this node opens to one peer at a time. */
const MAX_OUTBOUND_STREAMS = 16;

/**
 * Opens a channel to a peer, dialling it when needed.
 *
 * @throws ProtocolError `UNREACHABLE`; or the reason of the signal.
 */
export async function openChannel(
  components: ProtocolComponents,
  peer: PeerId,
  protocol: string,
  init: ChannelInit,
): Promise<Channel> {
  init.signal?.throwIfAborted();
  const timeout = AbortSignal.timeout(OPEN_TIMEOUT_MS);
  const signal = init.signal === undefined ? timeout : AbortSignal.any([init.signal, timeout]);
  try {
    return new Channel(await openStream(components, peer, protocol, signal), peer, init);
  } catch (cause) {
    init.signal?.throwIfAborted();
    const text = `${peer} cannot be reached with ${protocol}: ${asError(cause).message}`;
    throw new ProtocolError('UNREACHABLE', text, { peer: peer.toString(), protocol }, { cause });
  }
}

/**
 * Over the connection that is there for the longest time: a node that is told an address dials it to see whether it answers, and
 * hangs up, and such a connection is never the first one. If that one is just ending, or does not answer at once, over the newest
 * or a new one: a peer that lost its network dials in again, and the old connection shows that only by its silence.
 */
async function openStream(
  { connectionManager }: ProtocolComponents,
  peer: PeerId,
  protocol: string,
  signal: AbortSignal,
): Promise<Stream> {
  // Relays carry 128 KiB in two minutes by default: enough to cut a transfer, not to finish one.
  const options = { signal, runOnLimitedConnection: false, maxOutboundStreams: MAX_OUTBOUND_STREAMS };
  const [oldest, ...others] = connectionManager
    .getConnections(peer)
    .filter(({ status, limits }) => status === 'open' && limits === undefined)
    .sort((a, b) => a.timeline.open - b.timeline.open);
  if (oldest !== undefined) {
    const soon = others.length > 0 ? AbortSignal.any([signal, AbortSignal.timeout(OPEN_OLDEST_TIMEOUT_MS)]) : signal;
    try {
      return await oldest.newStream(protocol, { ...options, signal: soon });
    } catch (error) {
      // Whoever answers that it will not have the stream would not have it over another connection either.
      if (signal.aborted || REFUSALS.has(asError(error).name)) throw error;
    }
  }
  return connectionManager.openStream(peer, protocol, options);
}

const REFUSALS: ReadonlySet<string> = new Set(['UnsupportedProtocolError', 'TooManyOutboundProtocolStreamsError']);
