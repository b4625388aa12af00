import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { equalBytes, sha256 } from '../../src/log/canonical.ts';
import { decodeManifest, idOf, LogError, type Manifest } from '../../src/log/index.ts';
import { asError, type Channel } from '../channel.ts';
import { openChannel } from '../components.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_CONTENT_BYTES } from '../limits.ts';
import { type BlocksClient, badBytes, unexpected } from './client.ts';
import {
  BLOCKS_PROTOCOL,
  BUNDLE_DEPTH,
  BUNDLE_TIMEOUT_MS,
  MAX_BUNDLED_CONTENT_BYTES,
  PAYLOAD_ANSWER_BYTES,
} from './constants.ts';
import type { FetchedPayload, FetchPayloadsOptions } from './index.ts';
import { decodeAnswer, encodeRequest } from './schema.ts';

/** Asks one peer over one stream, several requests ahead of the answers. */
export async function fetchPayloads(
  client: BlocksClient,
  peer: PeerId,
  ids: readonly CID[],
  take: (payload: FetchedPayload) => void | Promise<void>,
  options: FetchPayloadsOptions = {},
): Promise<CID[]> {
  const maxBytes = Math.min(options.maxBytes ?? MAX_CONTENT_BYTES, MAX_CONTENT_BYTES);
  const absent: CID[] = [];
  const channel = await openChannel(client.components, peer, BLOCKS_PROTOCOL, {
    maxMessageBytes: PAYLOAD_ANSWER_BYTES,
    maxBufferedBytes: BUNDLE_DEPTH * (PAYLOAD_ANSWER_BYTES + 8),
    signal: options.signal,
    ...(client.progressTimeoutMs === undefined ? {} : { progressTimeoutMs: client.progressTimeoutMs }),
  });
  const timeoutMs = options.timeoutMs ?? BUNDLE_TIMEOUT_MS;
  try {
    let asked = 0;
    for (const [place, id] of ids.entries()) {
      for (; asked < Math.min(ids.length, place + BUNDLE_DEPTH); asked++) {
        await channel.write(encodeRequest({ kind: 'payload', id: ids[asked]! }));
      }
      const payload = read(await expectSoon(channel, timeoutMs), channel.peer, id, maxBytes);
      if (payload === undefined) absent.push(id);
      else await take(payload);
    }
    await channel.close();
    return absent;
  } catch (error) {
    channel.abort(asError(error));
    throw error;
  }
}

async function expectSoon(channel: Channel, timeoutMs: number): Promise<Uint8Array> {
  const timer = setTimeout(() => {
    const message = `${channel.peer} took more than ${timeoutMs} ms for the next payload; use another peer.`;
    channel.abort(new ProtocolError('TIMEOUT', message, { peer: channel.peer, timeoutMs }));
  }, timeoutMs);
  try {
    return await channel.expect();
  } finally {
    clearTimeout(timer);
  }
}

/** Undefined when the peer does not have it, and for what its author made no manifest of. */
function read(message: Uint8Array, peer: string, id: CID, maxBytes: number): FetchedPayload | undefined {
  const answer = decodeAnswer(message, peer);
  if (answer.status === 'not-found') return undefined;
  if (answer.status !== 'payload') throw unexpected(answer.status, peer, { id: id.toString() });
  if (!idOf(answer.manifest).equals(id)) throw badBytes(peer, id);
  let manifest: Manifest;
  try {
    manifest = decodeManifest(answer.manifest, maxBytes);
  } catch (error) {
    // The bytes are those of the id: no fault of the peer's.
    if (error instanceof LogError) return undefined;
    throw error;
  }
  const { content } = answer;
  if (content !== null) {
    const { size, blocks } = manifest;
    const right = size <= MAX_BUNDLED_CONTENT_BYTES && blocks.length === 1 && content.length === size;
    if (!right || !equalBytes(sha256(content), blocks[0]!)) throw badBytes(peer, id, 0);
  }
  return { id, manifest, bytes: answer.manifest, content };
}
