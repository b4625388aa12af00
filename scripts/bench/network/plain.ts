/** The reference of catching up: the same bytes over one stream of the same transports, and nothing of ours around it. */
import { once } from 'node:events';
import type { Stream } from '@libp2p/interface';
import { tcp } from '@libp2p/tcp';
import { tls } from '@libp2p/tls';
import { yamux } from '@libp2p/yamux';
import { createLibp2p } from 'libp2p';

export const PLAIN_PROTOCOL = '/kinmerge-bench/plain/1';

/** Bytes of the two lengths before every update: of its signed record, and of its payload. */
export const PREFIX_BYTES = 8;

/** A host with the transports, the encryption and the muxer of a node, and no service. */
export function plainHost(listen: readonly string[]) {
  return createLibp2p({
    addresses: { listen: [...listen] },
    transports: [tcp()],
    connectionEncrypters: [tls()],
    streamMuxers: [yamux()],
    connectionMonitor: { enabled: false },
  });
}

/** Sends one update, and waits while the stream has no room. */
export async function sendUpdate(stream: Stream, record: Uint8Array, payload: Uint8Array): Promise<void> {
  const prefix = Buffer.alloc(PREFIX_BYTES);
  prefix.writeUInt32LE(record.length, 0);
  prefix.writeUInt32LE(payload.length, 4);
  if (!stream.send(Buffer.concat([prefix, record, payload]))) await once(stream, 'drain');
}

/** Hands over every update of a stream, in order, until it ends. */
export async function receiveUpdates(
  stream: Stream,
  take: (record: Uint8Array, payload: Uint8Array) => Promise<void>,
): Promise<void> {
  let chunks: Uint8Array[] = [];
  let length = 0;
  let wanted = PREFIX_BYTES;
  for await (const chunk of stream) {
    chunks.push(chunk.subarray());
    length += chunk.byteLength;
    if (length < wanted) continue;
    let bytes = Buffer.concat(chunks);
    for (;;) {
      if (bytes.length < PREFIX_BYTES) break;
      const record = bytes.readUInt32LE(0);
      wanted = PREFIX_BYTES + record + bytes.readUInt32LE(4);
      if (bytes.length < wanted) break;
      await take(bytes.subarray(PREFIX_BYTES, PREFIX_BYTES + record), bytes.subarray(PREFIX_BYTES + record, wanted));
      bytes = bytes.subarray(wanted);
      wanted = PREFIX_BYTES;
    }
    chunks = [bytes];
    length = bytes.length;
  }
}
