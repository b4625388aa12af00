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
    const stream = await components.connectionManager.openStream(peer, protocol, {
      signal,
      // Relays carry 128 KiB in two minutes by default: enough to cut a transfer, not to finish one.
      runOnLimitedConnection: false,
      maxOutboundStreams: MAX_OUTBOUND_STREAMS,
    });
    return new Channel(stream, peer, init);
  } catch (cause) {
    init.signal?.throwIfAborted();
    const text = `${peer} cannot be reached with ${protocol}: ${asError(cause).message}`;
    throw new ProtocolError('UNREACHABLE', text, { peer: peer.toString(), protocol }, { cause });
  }
}
