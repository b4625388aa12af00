import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { idOf } from '../../src/log/index.ts';
import { asError, type Channel } from '../channel.ts';
import { openChannel, type ProtocolComponents } from '../components.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_OBJECT_BYTES } from '../limits.ts';
import {
  BLOCKS_PROTOCOL,
  HEDGE_MS,
  MAX_ANSWER_BYTES,
  MAX_BUFFERED_BYTES,
  MAX_OBJECT_SOURCES,
  OBJECT_PART_BYTES,
  OBJECT_TIMEOUT_MS,
} from './constants.ts';
import type { FetchObjectOptions } from './index.ts';
import { decodeAnswer, encodeRequest } from './schema.ts';

export interface BlocksClient {
  readonly components: ProtocolComponents;
  readonly progressTimeoutMs: number | undefined;
  readonly hedgeMs: number | undefined;
  readonly slowBlockMs: number | undefined;
}

export function openBlocks(client: BlocksClient, peer: PeerId, signal: AbortSignal | undefined): Promise<Channel> {
  return openChannel(client.components, peer, BLOCKS_PROTOCOL, {
    maxMessageBytes: MAX_ANSWER_BYTES,
    maxBufferedBytes: MAX_BUFFERED_BYTES,
    signal,
    ...(client.progressTimeoutMs === undefined ? {} : { progressTimeoutMs: client.progressTimeoutMs }),
  });
}

/** Asks the peers in their order: the next one when one fails, and one more whenever nothing came for a while. */
export async function fetchObject(
  client: BlocksClient,
  peers: readonly PeerId[],
  id: CID,
  options: FetchObjectOptions = {},
): Promise<Uint8Array> {
  options.signal?.throwIfAborted();
  const hedgeMs = client.hedgeMs ?? HEDGE_MS;
  const faults: ProtocolError[] = [];
  const over = new AbortController();
  const signal = options.signal === undefined ? over.signal : AbortSignal.any([options.signal, over.signal]);
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  const waiting = [...peers];
  const asked = new Map<PeerId, Promise<void>>();
  const outrun = (slow: PeerId, timeoutMs: number) => {
    const message = `${slow} was slower than a peer that was asked later.`;
    options.onFault?.(slow, new ProtocolError('TIMEOUT', message, { peer: slow.toString(), timeoutMs }));
  };
  const ask = (): void => {
    const peer = asked.size < MAX_OBJECT_SOURCES ? waiting.shift() : undefined;
    if (peer === undefined || over.signal.aborted) {
      if (asked.size === 0) reject(incomplete(id, faults));
      return;
    }
    const found = (object: Uint8Array) => {
      for (const other of over.signal.aborted ? [] : asked.keys()) {
        if (other === peer) break;
        outrun(other, hedgeMs);
      }
      resolve(object);
      over.abort(new Error('the object is here'));
    };
    const attempt = fetchObjectFrom(client, peer, id, { ...options, signal }).then(found, (error: unknown) => {
      asked.delete(peer);
      if (over.signal.aborted) return;
      if (options.signal?.aborted === true) return reject(options.signal.reason);
      if (!(error instanceof ProtocolError)) return reject(error);
      faults.push(error);
      options.onFault?.(peer, error);
      ask();
    });
    asked.set(peer, attempt);
  };
  const hedge = setInterval(ask, hedgeMs);
  ask();
  try {
    return await promise;
  } finally {
    clearInterval(hedge);
    over.abort(new Error('the object is here'));
    // All of them end before the caller goes on.
    await Promise.all(asked.values());
  }
}

async function fetchObjectFrom(
  client: BlocksClient,
  peer: PeerId,
  id: CID,
  options: FetchObjectOptions,
): Promise<Uint8Array> {
  const limit = Math.min(options.maxBytes ?? MAX_OBJECT_BYTES, MAX_OBJECT_BYTES);
  const channel = await openBlocks(client, peer, options.signal);
  const timeoutMs = options.timeoutMs ?? OBJECT_TIMEOUT_MS;
  const timer = setTimeout(() => {
    const message = `${channel.peer} took more than ${timeoutMs} ms for ${id}; use another peer.`;
    channel.abort(new ProtocolError('TIMEOUT', message, { peer: channel.peer, timeoutMs }));
  }, timeoutMs);
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
    channel.abort(asError(error));
    throw error;
  } finally {
    clearTimeout(timer);
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
