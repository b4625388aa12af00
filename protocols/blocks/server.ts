import type { CID } from 'multiformats/cid';
import { decodeManifest, LogError } from '../../src/log/index.ts';
import type { ProtocolComponents } from '../components.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_OBJECT_BYTES } from '../limits.ts';
import { type Remote, type Session, StreamServer } from '../stream-server.ts';
import {
  BLOCKS_PROTOCOL,
  BUNDLE_READ_MS,
  MAX_BUNDLE_BYTES,
  MAX_BUNDLED_CONTENT_BYTES,
  MAX_BUNDLED_MANIFEST_BYTES,
  MAX_QUEUED_REQUESTS,
  MAX_STREAMS,
  MAX_STREAMS_PER_PEER,
  OBJECT_PART_BYTES,
  REQUEST_LIMITS,
  REQUEST_RATE,
} from './constants.ts';
import type { BlockSource, BlocksInit } from './index.ts';
import { type BlocksAnswer, decodeRequest, encodeAnswer, type SentPayload } from './schema.ts';

export function createServer(components: ProtocolComponents, init: BlocksInit) {
  const objects = new ObjectCache(init.source);
  const server = new StreamServer(
    components,
    {
      protocol: BLOCKS_PROTOCOL,
      maxRequestBytes: REQUEST_LIMITS.maxBytes,
      maxQueuedRequests: MAX_QUEUED_REQUESTS,
      maxStreams: MAX_STREAMS,
      maxStreamsPerPeer: MAX_STREAMS_PER_PEER,
      rate: REQUEST_RATE,
      progressTimeoutMs: init.progressTimeoutMs,
    },
    (remote) => openSession(init.source, objects, remote),
  );
  return {
    protocol: BLOCKS_PROTOCOL,
    start: () => server.start(),
    stop: async () => {
      objects.clear();
      await server.stop();
    },
  };
}

function openSession(source: BlockSource, objects: ObjectCache, { signal }: Remote): Session {
  return {
    async answer(bytes) {
      const request = decodeRequest(bytes);
      if (request.kind === 'object') return encodeAnswer(await objects.part(request.id, request.offset, signal));
      if (request.kind === 'payloads') return encodeAnswer(await payloadsOf(source, request.ids, signal));
      const block = await source.block(request.manifest, request.index, signal);
      return encodeAnswer(block === undefined ? { status: 'not-found' } : { status: 'block', bytes: block });
    },
  };
}

/** As many as fit into one answer and are read in time; at least one. */
async function payloadsOf(source: BlockSource, ids: readonly CID[], signal: AbortSignal): Promise<BlocksAnswer> {
  const payloads: SentPayload[] = [];
  let room = MAX_BUNDLE_BYTES;
  const until = performance.now() + BUNDLE_READ_MS;
  for (const id of ids) {
    if (payloads.length > 0 && performance.now() > until) break;
    const payload = await payloadOf(source, id, signal);
    room -= (payload[0]?.length ?? 0) + (payload[1]?.length ?? 0);
    if (room < 0) break;
    payloads.push(payload);
  }
  return { status: 'payloads', payloads };
}

async function payloadOf(source: BlockSource, id: CID, signal: AbortSignal): Promise<SentPayload> {
  const manifest = await source.object(id, signal);
  if (manifest === undefined || manifest.length > MAX_BUNDLED_MANIFEST_BYTES) return [null, null];
  const size = sizeOf(manifest);
  if (size === undefined) return [null, null];
  const small = size > 0 && size <= MAX_BUNDLED_CONTENT_BYTES;
  return [manifest, (small && (await source.block(id, 0, signal))) || null];
}

/** Undefined for an object of another kind. */
function sizeOf(manifest: Uint8Array): number | undefined {
  try {
    return decodeManifest(manifest).size;
  } catch (error) {
    if (error instanceof LogError) return undefined;
    throw error;
  }
}

/** Keeps the last object served, so that its parts do not read it again each time: at most one, of bounded size. */
class ObjectCache {
  readonly #source: BlockSource;
  #last: { id: CID; bytes: Uint8Array } | undefined;

  constructor(source: BlockSource) {
    this.#source = source;
  }

  clear(): void {
    this.#last = undefined;
  }

  async part(id: CID, offset: number, signal: AbortSignal): Promise<BlocksAnswer> {
    let bytes = this.#last?.id.equals(id) ? this.#last.bytes : undefined;
    if (bytes === undefined) {
      bytes = await this.#source.object(id, signal);
      if (bytes === undefined) return { status: 'not-found' };
      if (bytes.length > MAX_OBJECT_BYTES || bytes.length === 0) {
        throw new ProtocolError('LOCAL_SOURCE_FAILED', `Object ${id} has a size that cannot be sent.`, {
          bytes: bytes.length,
        });
      }
      if (bytes.length > OBJECT_PART_BYTES) this.#last = { id, bytes };
    }
    if (offset >= bytes.length || offset % OBJECT_PART_BYTES !== 0) {
      throw new ProtocolError('MALFORMED', `Offset ${offset} is no part of object ${id}.`, { offset });
    }
    const part = bytes.subarray(offset, offset + OBJECT_PART_BYTES);
    if (offset + part.length === bytes.length) this.#last = undefined;
    return { status: 'object', size: bytes.length, bytes: part };
  }
}
