import type { ProtocolComponents } from '../components.ts';
import { StreamServer } from '../stream-server.ts';
import {
  HELLO_COST,
  MAX_QUEUED_REQUESTS,
  MAX_STREAMS,
  MAX_STREAMS_PER_PEER,
  REQUEST_LIMITS,
  REQUEST_RATE,
  REQUEST_UNIT_BYTES,
  SYNC_PROTOCOL,
} from './constants.ts';
import type { SyncInit } from './index.ts';
import { SyncSession } from './session.ts';

export function createServer(components: ProtocolComponents, init: SyncInit) {
  const { source, onHead, onLacks, progressTimeoutMs } = init;
  const server = new StreamServer(
    components,
    {
      protocol: SYNC_PROTOCOL,
      maxRequestBytes: REQUEST_LIMITS.maxBytes,
      maxQueuedRequests: MAX_QUEUED_REQUESTS,
      maxStreams: MAX_STREAMS,
      maxStreamsPerPeer: MAX_STREAMS_PER_PEER,
      rate: REQUEST_RATE,
      firstCost: HELLO_COST,
      unitBytes: REQUEST_UNIT_BYTES,
      progressTimeoutMs,
    },
    ({ peer }) =>
      new SyncSession({
        source,
        onHead: onHead && ((head) => onHead(peer, head)),
        onLacks: onLacks && ((lacks) => onLacks(peer, lacks)),
      }),
  );
  return { protocol: SYNC_PROTOCOL, start: () => server.start(), stop: () => server.stop() };
}
