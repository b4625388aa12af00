import type { PeerId } from '@libp2p/interface';
import { pipe } from 'it-pipe';
import type { CID } from 'multiformats/cid';
import { errorCode } from '../../src/errors.ts';
import { equalBytes } from '../../src/log/canonical.ts';
import { decodeSigned, type SignedRecord } from '../../src/log/index.ts';
import { asError, type Channel } from '../channel.ts';
import { openChannel, type ProtocolComponents } from '../components.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_KNOWN, MAX_RECORDS_PER_ROUND, MAX_WANTED, RESPONSE_LIMITS, SYNC_PROTOCOL } from './constants.ts';
import type { LogSource, PullOptions, PullResult, RecordSink } from './index.ts';
import { decodeAnswer, encodeRequest, type SyncAnswer, type SyncRequest, tipsDigest } from './schema.ts';

export interface SyncClient {
  readonly components: ProtocolComponents;
  readonly source: LogSource;
  readonly progressTimeoutMs: number | undefined;
}

type Hello = SyncAnswer & { status: 'hello' };
interface Page {
  readonly records: readonly Uint8Array[];
  readonly done: boolean;
}

export async function pull(
  client: SyncClient,
  peer: PeerId,
  sink: RecordSink,
  options: PullOptions = {},
): Promise<PullResult> {
  const { source } = client;
  const maxRecords = Math.min(options.maxRecords ?? MAX_RECORDS_PER_ROUND, MAX_RECORDS_PER_ROUND);
  return withChannel(client, peer, options, async (channel) => {
    const digest = tipsDigest(source.tips());
    const known = source.known(MAX_KNOWN).slice(0, MAX_KNOWN);
    const hello = await ask(channel, {
      kind: 'hello',
      charter: source.charter,
      digest,
      known: [...known],
      head: source.head(),
    });
    if (hello.status !== 'hello') throw unexpected(hello, channel);
    const equal = equalBytes(hello.digest, digest);
    const session = new PullSession(source, channel.peer);

    await pipe(
      pages(channel, hello, maxRecords),
      (input) => session.check(input),
      async (batches) => {
        for await (const batch of batches) {
          options.signal?.throwIfAborted();
          if (batch.length > 0) await sink(batch);
        }
      },
    );
    const missing = hello.tips.filter((tip) => !session.seen(tip) && !source.has(tip));
    return { received: session.received, complete: session.complete, head: hello.head, missing, equal };
  });
}

export async function fetchRecords(
  client: SyncClient,
  peer: PeerId,
  ids: readonly CID[],
  options: PullOptions = {},
): Promise<(SignedRecord | undefined)[]> {
  if (ids.length === 0) return [];
  if (ids.length > MAX_WANTED) {
    const fields = { ids: ids.length, limit: MAX_WANTED };
    throw new ProtocolError('TOO_LARGE', `Ask for at most ${MAX_WANTED} records at once.`, fields);
  }
  return withChannel(client, peer, options, async (channel) => {
    const answer = await ask(channel, { kind: 'records', charter: client.source.charter, ids: [...ids] });
    if (answer.status !== 'records' || answer.records.length !== ids.length) throw unexpected(answer, channel);
    return answer.records.map((bytes, place) => {
      if (bytes === null) return undefined;
      const signed = decodeRecord(bytes, channel.peer);
      if (!ids[place]!.equals(signed.id)) {
        const fields = { peer: channel.peer, asked: `${ids[place]}`, got: `${signed.id}` };
        throw new ProtocolError('BAD_RECORD', `${channel.peer} sent another record than was asked for.`, fields);
      }
      return signed;
    });
  });
}

/** The pages of one exchange; asks for the next one only when the last was taken. */
async function* pages(channel: Channel, hello: Hello, maxRecords: number): AsyncGenerator<Page> {
  let page: Page = hello;
  let records = page.records.length;
  for (;;) {
    // An honest page is empty only at the end; a peer that sends empty pages for ever must not hold us.
    if (page.records.length === 0 && !page.done) {
      const message = `${channel.peer} promises more records but sends none.`;
      throw new ProtocolError('NO_PROGRESS', message, { peer: channel.peer });
    }
    yield page;
    if (page.done || records >= maxRecords) return;
    let answer: SyncAnswer;
    try {
      answer = await ask(channel, { kind: 'next' });
    } catch (error) {
      // What came so far is good; the next round goes on from there.
      if (error instanceof ProtocolError && error.code === 'RATE_LIMITED') return;
      throw error;
    }
    if (answer.status !== 'page') throw unexpected(answer, channel);
    page = answer;
    records += page.records.length;
  }
}

/** Checks what one peer sends: every record decodes, comes once, and after its parents. */
class PullSession {
  readonly #source: LogSource;
  readonly #peer: string;
  readonly #seen = new Set<string>();
  received = 0;
  complete = false;

  constructor(source: LogSource, peer: string) {
    this.#source = source;
    this.#peer = peer;
  }

  seen(id: CID): boolean {
    return this.#seen.has(id.toString());
  }

  async *check(input: AsyncIterable<Page>): AsyncGenerator<readonly SignedRecord[]> {
    for await (const page of input) {
      const fresh: SignedRecord[] = [];
      for (const bytes of page.records) {
        const signed = decodeRecord(bytes, this.#peer);
        this.#place(signed);
        if (!this.#source.has(signed.id)) fresh.push(signed);
      }
      this.received += fresh.length;
      yield fresh;
      if (page.done) this.complete = true;
    }
  }

  #place({ id, record }: SignedRecord): void {
    const name = id.toString();
    if (!record.charter.equals(this.#source.charter)) {
      const message = `${this.#peer} sent a record of another community.`;
      throw new ProtocolError('BAD_RECORD', message, { peer: this.#peer, record: name });
    }
    // A record that this log has may come: the server knows only a part of what is here. Twice it may not.
    if (this.#seen.has(name)) {
      const message = `${this.#peer} sent record ${name} again.`;
      throw new ProtocolError('OUT_OF_ORDER', message, { peer: this.#peer, record: name });
    }
    for (const parent of record.parents) {
      if (this.#seen.has(parent.toString()) || this.#source.has(parent)) continue;
      const message = `${this.#peer} sent record ${name} before its parent ${parent}.`;
      throw new ProtocolError('OUT_OF_ORDER', message, { peer: this.#peer, record: name, parent: `${parent}` });
    }
    this.#seen.add(name);
  }
}

function decodeRecord(bytes: Uint8Array, peer: string): SignedRecord {
  try {
    // A copy: records are kept, and a view would keep the whole page.
    return decodeSigned(new Uint8Array(bytes));
  } catch (cause) {
    const fields = { peer, reason: errorCode(cause) };
    if (fields.reason === 'VERSION_UNKNOWN' || fields.reason === 'RECORD_KIND_UNKNOWN') {
      const message = `${peer} holds records of a newer kinmerge; update this node to follow them.`;
      throw new ProtocolError('NEWER_VERSION', message, fields, { cause });
    }
    throw new ProtocolError('BAD_RECORD', `${peer} sent a bad record: ${errorCode(cause)}.`, fields, { cause });
  }
}

async function ask(channel: Channel, request: SyncRequest): Promise<SyncAnswer> {
  await channel.write(encodeRequest(request));
  return decodeAnswer(await channel.expect(), channel.peer);
}

function unexpected(answer: SyncAnswer, channel: Channel): ProtocolError {
  return new ProtocolError('MALFORMED', `${channel.peer} answered with an unexpected ${answer.status}.`, {
    peer: channel.peer,
  });
}

async function withChannel<T>(
  client: SyncClient,
  peer: PeerId,
  options: PullOptions,
  use: (channel: Channel) => Promise<T>,
): Promise<T> {
  const channel = await openChannel(client.components, peer, SYNC_PROTOCOL, {
    maxMessageBytes: RESPONSE_LIMITS.maxBytes,
    // Twice: an answer above its limit is then known by its length before the buffer overflows.
    maxBufferedBytes: 2 * RESPONSE_LIMITS.maxBytes,
    signal: options.signal,
    ...(client.progressTimeoutMs === undefined ? {} : { progressTimeoutMs: client.progressTimeoutMs }),
  });
  try {
    const result = await use(channel);
    await channel.close();
    return result;
  } catch (error) {
    channel.abort(asError(error));
    throw error;
  }
}
