import type { PeerId } from '@libp2p/interface';
import { asError } from '../channel.ts';
import { openChannel, type ProtocolComponents } from '../components.ts';
import { reconcile } from './client.ts';
import { RESPONSE_LIMITS, SYNC_PROTOCOL } from './constants.ts';
import type { EntrySink, PullOptions, PullResult, SyncInit } from './index.ts';

/** One round over a libp2p stream. */
export async function pull(
  components: ProtocolComponents,
  init: SyncInit,
  peer: PeerId,
  sink: EntrySink,
  options: PullOptions,
): Promise<PullResult> {
  const { source, progressTimeoutMs, maxEntries } = init;
  const channel = await openChannel(components, peer, SYNC_PROTOCOL, {
    maxMessageBytes: RESPONSE_LIMITS.maxBytes,
    // Twice: an answer above its limit is then known by its length before the buffer overflows.
    maxBufferedBytes: 2 * RESPONSE_LIMITS.maxBytes,
    signal: options.signal,
    ...(progressTimeoutMs === undefined ? {} : { progressTimeoutMs }),
  });
  const ask = async (request: Uint8Array) => {
    await channel.write(request);
    return channel.expect();
  };
  try {
    const result = await reconcile(ask, { ...options, source, sink, maxEntries, peer: channel.peer });
    await channel.close();
    return result;
  } catch (error) {
    channel.abort(asError(error));
    throw error;
  }
}
