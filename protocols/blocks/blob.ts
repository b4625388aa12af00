import { setTimeout as sleep } from 'node:timers/promises';
import type { PeerId } from '@libp2p/interface';
import type { CID } from 'multiformats/cid';
import { equalBytes, sha256 } from '../../src/log/canonical.ts';
import { blockSize, decodeManifest, type Manifest } from '../../src/log/index.ts';
import { asError, type Channel } from '../channel.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_CONTENT_BYTES } from '../limits.ts';
import { type BlocksClient, badBytes, fetchObject, incomplete, openBlocks, unexpected } from './client.ts';
import { MAX_RETRIES, MAX_SOURCES_AT_ONCE, PIPELINE_DEPTH, REDIAL_WAIT_MS, SLOW_BLOCK_MS } from './constants.ts';
import type { BlobSink, FetchBlobOptions, FetchReport } from './index.ts';
import { decodeAnswer, encodeRequest } from './schema.ts';
import { BlockWork } from './work.ts';

/** What the peers of one fetch share. */
interface Fetch {
  readonly client: BlocksClient;
  readonly id: CID;
  readonly manifest: Manifest;
  readonly sink: BlobSink;
  readonly work: BlockWork;
  /** Aborted by the caller, or when this side fails: then every peer stops. */
  readonly signal: AbortSignal;
  /** Aborted when nothing is left to fetch: what slow peers still owe is of no use. */
  readonly over: AbortController;
  /** Whether a peer that has given something is dialled again when its connection is lost. */
  readonly redial: boolean;
  /** Whether other peers wait for their turn as a source. */
  readonly others: () => boolean;
  readonly fail: (error: Error) => void;
  readonly wrote: (bytes: number) => void;
}

export async function fetchBlob(
  client: BlocksClient,
  peers: readonly PeerId[],
  id: CID,
  sink: BlobSink,
  options: FetchBlobOptions = {},
): Promise<FetchReport> {
  options.signal?.throwIfAborted();
  const maxBytes = Math.min(options.maxBytes ?? MAX_CONTENT_BYTES, MAX_CONTENT_BYTES);
  const manifest =
    options.manifest ?? decodeManifest(await fetchObject(client, peers, id, { signal: options.signal }), maxBytes);
  if (manifest.size > maxBytes) {
    const fields = { bytes: manifest.size, limit: maxBytes, id: id.toString() };
    throw new ProtocolError('TOO_LARGE', `${id} has ${manifest.size} bytes, more than the limit.`, fields);
  }
  await options.onManifest?.(manifest);

  const own = new AbortController();
  const signal = options.signal === undefined ? own.signal : AbortSignal.any([options.signal, own.signal]);
  const has = async (index: number): Promise<boolean> => {
    try {
      return await sink.has(index);
    } catch (error) {
      own.abort(error);
      throw error;
    }
  };
  const work = new BlockWork(manifest.blocks.length, has, { hedgeMs: client.hedgeMs });
  const standby = [...peers];
  let fetched = 0;
  let bytes = 0;
  const fetch: Fetch = {
    client,
    id,
    manifest,
    sink,
    work,
    signal,
    over: new AbortController(),
    redial: options.redial === true,
    others: () => standby.length > 0,
    fail: (error) => own.abort(error),
    wrote: (count) => {
      fetched++;
      bytes += count;
      options.onProgress?.({ phase: 'fetching blocks', done: bytes, total: manifest.size, unit: 'bytes' });
    },
  };

  const faults: ProtocolError[] = [];
  const worker = async (): Promise<void> => {
    for (let peer = standby.shift(); peer !== undefined; peer = standby.shift()) {
      const fault = await fetchFrom(fetch, peer);
      if (fault === undefined) return;
      faults.push(fault);
      options.onFault?.(peer, fault);
    }
  };
  // Also for one block: those without a block of their own stand in for a peer that is slow.
  const workers = Math.min(MAX_SOURCES_AT_ONCE, peers.length);
  // All of them end before the caller hears of a failure: nothing is written afterwards.
  await Promise.allSettled(Array.from({ length: workers }, worker));
  signal.throwIfAborted();
  if (peers.length === 0) {
    const missing = await work.take();
    if (missing !== undefined) work.giveBack([missing]);
  }
  if (!work.finished) throw incomplete(id, faults);
  return { manifest, fetched, skipped: work.skipped, bytes };
}

/** Fetches blocks from one peer until none is left (undefined) or the peer fails (its fault). */
async function fetchFrom(fetch: Fetch, peer: PeerId): Promise<ProtocolError | undefined> {
  let begun = false;
  for (let retries = 0; ; retries++) {
    let progressed = false;
    try {
      await fetchOnce(fetch, peer, () => {
        progressed = true;
      });
      return undefined;
    } catch (error) {
      fetch.signal.throwIfAborted();
      if (fetch.over.signal.aborted) return undefined;
      if (!(error instanceof ProtocolError)) {
        fetch.fail(asError(error));
        throw error;
      }
      if (progressed) retries = 0;
      begun ||= progressed;
      const wait = waitAfter(error, fetch.redial && begun);
      if (wait === undefined) return error;
      // With others to turn to, nobody has to be waited for.
      if (retries >= MAX_RETRIES || fetch.others()) return error;
      await sleep(wait, undefined, { signal: AbortSignal.any([fetch.signal, fetch.over.signal]) }).catch(() => {});
      fetch.signal.throwIfAborted();
    }
  }
}

/** Milliseconds until the same peer may be asked again; undefined when that is of no use. */
function waitAfter({ code, fields }: ProtocolError, redial: boolean): number | undefined {
  if (code === 'RATE_LIMITED' || code === 'BUSY') return fields.retryAfterMs as number;
  if (redial && (code === 'TRUNCATED' || code === 'UNREACHABLE')) return REDIAL_WAIT_MS;
  return undefined;
}

async function fetchOnce(fetch: Fetch, peer: PeerId, onProgress: () => void): Promise<void> {
  const { id, work } = fetch;
  const outstanding: number[] = [];
  let channel: Channel | undefined;
  try {
    for (;;) {
      let index = await work.take();
      if (index === undefined && outstanding.length === 0) {
        // Other peers may still give blocks back. An open stream without requests would be closed by the server.
        await channel?.close();
        channel = undefined;
        index = await work.takeOrWait();
      }
      if (index !== undefined) {
        outstanding.push(index);
        channel ??= await openBlocks(fetch.client, peer, AbortSignal.any([fetch.signal, fetch.over.signal]));
        await channel.write(encodeRequest({ kind: 'block', manifest: id, index }));
        if (outstanding.length < PIPELINE_DEPTH) continue;
      }
      const [due] = outstanding;
      if (due === undefined || channel === undefined) break;
      const bytes = await readBlock(fetch, channel, due);
      outstanding.shift();
      onProgress();
      if (!work.claim(due)) continue;
      try {
        await fetch.sink.write(due, bytes);
      } catch (error) {
        fetch.fail(asError(error));
        throw error;
      }
      fetch.wrote(bytes.length);
      work.done();
      if (work.finished) fetch.over.abort(new Error('every block is here'));
    }
    await channel?.close();
  } catch (error) {
    work.giveBack(outstanding);
    channel?.abort(asError(error));
    throw error;
  }
}

async function readBlock(fetch: Fetch, channel: Channel, index: number): Promise<Uint8Array> {
  const { id, manifest } = fetch;
  const answer = decodeAnswer(await expectSoon(fetch, channel), channel.peer);
  if (answer.status !== 'block') throw unexpected(answer.status, channel.peer, { id: id.toString(), index });
  const hash = manifest.blocks[index];
  const right =
    hash !== undefined && answer.bytes.length === blockSize(manifest, index) && equalBytes(sha256(answer.bytes), hash);
  if (!right) throw badBytes(channel.peer, id, index);
  return answer.bytes;
}

/** The next message, from a peer that has to be quick about it while others could take its place. */
async function expectSoon({ client, others }: Fetch, channel: Channel): Promise<Uint8Array> {
  const slowMs = client.slowBlockMs ?? SLOW_BLOCK_MS;
  const timer = setInterval(() => {
    if (!others()) return;
    const message = `${channel.peer} took more than ${slowMs} ms for one block; use another peer.`;
    channel.abort(new ProtocolError('TIMEOUT', message, { peer: channel.peer, timeoutMs: slowMs }));
  }, slowMs);
  try {
    return await channel.expect();
  } finally {
    clearInterval(timer);
  }
}
