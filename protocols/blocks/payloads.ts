import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { equalBytes, sha256 } from '../../src/log/canonical.ts';
import { decodeManifest, idOf, LogError, type Manifest } from '../../src/log/index.ts';
import { asError, type Channel } from '../channel.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_CONTENT_BYTES } from '../limits.ts';
import { type BlocksClient, badBytes, openBlocks, unexpected } from './client.ts';
import { BUNDLE_TIMEOUT_MS, MAX_BUNDLED_CONTENT_BYTES, MAX_PAYLOADS_PER_REQUEST, PIPELINE_DEPTH } from './constants.ts';
import type { FetchedPayload, FetchPayloadsOptions } from './index.ts';
import { decodeAnswer, encodeRequest, type SentPayload } from './schema.ts';

/** Asks one peer over one stream, some requests ahead of the answers. What an answer has no room for is asked for again. */
export async function fetchPayloads(
  client: BlocksClient,
  peer: PeerId,
  ids: readonly CID[],
  take: (payload: FetchedPayload) => void | Promise<void>,
  options: FetchPayloadsOptions = {},
): Promise<CID[]> {
  const maxBytes = Math.min(options.maxBytes ?? MAX_CONTENT_BYTES, MAX_CONTENT_BYTES);
  const timeoutMs = options.timeoutMs ?? BUNDLE_TIMEOUT_MS;
  const absent: CID[] = [];
  const order = new InOrder(ids.length);
  let waiting = [...ids.keys()];
  const outstanding: number[][] = [];
  // Falls to what an answer had room for, so that few are asked for twice.
  let most = MAX_PAYLOADS_PER_REQUEST;
  const channel = await openBlocks(client, peer, options.signal);
  try {
    for (;;) {
      while (waiting.length > 0 && outstanding.length < PIPELINE_DEPTH) {
        const asked = waiting.slice(0, most);
        waiting = waiting.slice(asked.length);
        outstanding.push(asked);
        await channel.write(encodeRequest({ kind: 'payloads', ids: asked.map((place) => ids[place]!) }));
      }
      const asked = outstanding.shift();
      if (asked === undefined) break;
      const answer = decodeAnswer(await expectSoon(channel, timeoutMs), channel.peer);
      if (answer.status !== 'payloads' || answer.payloads.length > asked.length) {
        throw unexpected(answer.status, channel.peer, {});
      }
      const { length } = answer.payloads;
      if (length < asked.length) {
        waiting.unshift(...asked.slice(length));
        most = length;
      }
      for (const [i, sent] of answer.payloads.entries()) {
        const place = asked[i]!;
        order.put(place, checked(sent, ids[place]!, channel.peer, maxBytes));
      }
      for (const [place, payload] of order.ready()) {
        if (payload === undefined) absent.push(ids[place]!);
        else await take(payload);
      }
    }
    await channel.close();
    return absent;
  } catch (error) {
    channel.abort(asError(error));
    throw error;
  }
}

/** Puts back in order what came after something that an answer had no room for: at most what is asked for at once. */
class InOrder {
  readonly #came = new Map<number, FetchedPayload | undefined>();
  readonly #count: number;
  #next = 0;

  constructor(count: number) {
    this.#count = count;
  }

  put(place: number, payload: FetchedPayload | undefined): void {
    this.#came.set(place, payload);
  }

  /** What is next, as far as it came. */
  *ready(): Generator<[number, FetchedPayload | undefined]> {
    for (; this.#next < this.#count && this.#came.has(this.#next); this.#next++) {
      const payload = this.#came.get(this.#next);
      this.#came.delete(this.#next);
      yield [this.#next, payload];
    }
  }
}

async function expectSoon(channel: Channel, timeoutMs: number): Promise<Uint8Array> {
  const timer = setTimeout(() => {
    const message = `${channel.peer} took more than ${timeoutMs} ms for the next payloads; use another peer.`;
    channel.abort(new ProtocolError('TIMEOUT', message, { peer: channel.peer, timeoutMs }));
  }, timeoutMs);
  try {
    return await channel.expect();
  } finally {
    clearTimeout(timer);
  }
}

/** Undefined when the peer does not have it, and for what its author made no manifest of. */
function checked([bytes, content]: SentPayload, id: CID, peer: string, maxBytes: number): FetchedPayload | undefined {
  if (bytes === null) return undefined;
  if (!idOf(bytes).equals(id)) throw badBytes(peer, id);
  let manifest: Manifest;
  try {
    manifest = decodeManifest(bytes, maxBytes);
  } catch (error) {
    // The bytes are those of the id: no fault of the peer's.
    if (error instanceof LogError) return undefined;
    throw error;
  }
  if (content !== null) {
    const { size, blocks } = manifest;
    const right = size <= MAX_BUNDLED_CONTENT_BYTES && blocks.length === 1 && content.length === size;
    if (!right || !equalBytes(sha256(content), blocks[0]!)) throw badBytes(peer, id, 0);
  }
  // A copy: a manifest may be kept for long, and a view would keep the whole answer.
  return { id, manifest, bytes: new Uint8Array(bytes), content };
}
