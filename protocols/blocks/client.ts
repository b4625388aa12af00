import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { idOf } from '../../src/log/index.ts';
import type { Channel } from '../channel.ts';
import { openChannel, type ProtocolComponents } from '../components.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_OBJECT_BYTES } from '../limits.ts';
import { BLOCKS_PROTOCOL, MAX_BUFFERED_BYTES, OBJECT_PART_BYTES, RESPONSE_LIMITS } from './constants.ts';
import type { FetchObjectOptions } from './index.ts';
import { decodeAnswer, encodeRequest } from './schema.ts';

export interface BlocksClient {
  readonly components: ProtocolComponents;
  readonly progressTimeoutMs: number | undefined;
}

export function openBlocks(client: BlocksClient, peer: PeerId, signal: AbortSignal | undefined): Promise<Channel> {
  return openChannel(client.components, peer, BLOCKS_PROTOCOL, {
    maxMessageBytes: RESPONSE_LIMITS.maxBytes,
    maxBufferedBytes: MAX_BUFFERED_BYTES,
    signal,
    ...(client.progressTimeoutMs === undefined ? {} : { progressTimeoutMs: client.progressTimeoutMs }),
  });
}

export async function fetchObject(
  client: BlocksClient,
  peers: readonly PeerId[],
  id: CID,
  options: FetchObjectOptions = {},
): Promise<Uint8Array> {
  const faults: ProtocolError[] = [];
  for (const peer of peers) {
    options.signal?.throwIfAborted();
    try {
      return await fetchObjectFrom(client, peer, id, options);
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!(error instanceof ProtocolError)) throw error;
      faults.push(error);
    }
  }
  throw incomplete(id, faults);
}

async function fetchObjectFrom(
  client: BlocksClient,
  peer: PeerId,
  id: CID,
  options: FetchObjectOptions,
): Promise<Uint8Array> {
  const limit = Math.min(options.maxBytes ?? MAX_OBJECT_BYTES, MAX_OBJECT_BYTES);
  const channel = await openBlocks(client, peer, options.signal);
  try {
    // Parts, not one buffer of the announced size: memory follows what was really sent.
    const parts: Uint8Array[] = [];
    let size: number | undefined;
    let offset = 0;
    do {
      await channel.write(encodeRequest({ kind: 'object', id, offset }));
      const answer = decodeAnswer(await channel.expect(), channel.peer);
      if (answer.status !== 'object') throw unexpected(answer.status, channel.peer, { id: id.toString() });
      if (answer.size > limit) {
        const fields = { peer: channel.peer, bytes: answer.size, limit };
        throw new ProtocolError('TOO_LARGE', `${channel.peer} offers ${answer.size} bytes for ${id}.`, fields);
      }
      size ??= answer.size;
      const due = Math.min(OBJECT_PART_BYTES, size - offset);
      if (answer.size !== size || answer.bytes.length !== due) throw badBytes(channel.peer, id);
      parts.push(answer.bytes);
      offset += due;
    } while (offset < size);
    const object = new Uint8Array(Buffer.concat(parts));
    if (!idOf(object).equals(id)) throw badBytes(channel.peer, id);
    await channel.close();
    return object;
  } catch (error) {
    channel.abort(error instanceof Error ? error : new Error(String(error)));
    throw error;
  }
}

export function badBytes(peer: string, id: CID, index?: number): ProtocolError {
  const what = index === undefined ? `${id}` : `block ${index} of ${id}`;
  const fields = { peer, id: id.toString(), ...(index === undefined ? {} : { index }) };
  return new ProtocolError('BAD_BYTES', `${peer} sent other bytes for ${what}; use another peer.`, fields);
}

/** An answer of another kind than the request asks for. */
export function unexpected(status: string, peer: string, fields: Record<string, unknown>): ProtocolError {
  if (status === 'not-found') {
    return new ProtocolError('NOT_FOUND', `${peer} does not have it; use another peer.`, { peer, ...fields });
  }
  return new ProtocolError('MALFORMED', `${peer} answered with a ${status}.`, { peer, ...fields });
}

/** The one fault there is, or one error that lists them all. */
export function incomplete(id: CID, faults: readonly ProtocolError[]): ProtocolError {
  const [only] = faults;
  if (only !== undefined && faults.length === 1) return only;
  const list = faults.map(({ peer, code }) => ({ peer, code }));
  const message =
    faults.length === 0 ? `There is no peer to fetch ${id} from.` : `None of ${faults.length} peers could give ${id}.`;
  return new ProtocolError('INCOMPLETE', message, { id: id.toString(), faults: list }, { cause: only });
}
