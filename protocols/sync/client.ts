import type { PeerId } from '@libp2p/interface';
import { pipe } from 'it-pipe';
import type { CID } from 'multiformats/cid';
import { errorCode } from '../../src/errors.ts';
import { equalBytes } from '../../src/log/canonical.ts';
import { decodeSigned, type SignedRecord } from '../../src/log/index.ts';
import { asError, type Channel } from '../channel.ts';
import { openChannel, type ProtocolComponents } from '../components.ts';
import { ProtocolError } from '../errors.ts';
import { Turns } from '../turns.ts';
import { MAX_KNOWN, RESPONSE_LIMITS, SYNC_PROTOCOL } from './constants.ts';
import type { LogSource, PullOptions, PullResult, RecordSink } from './index.ts';
import { decodeAnswer, encodeRequest, type SyncAnswer, type SyncRequest, tipsDigest } from './schema.ts';

export interface SyncClient {
  readonly components: ProtocolComponents;
  readonly source: LogSource;
  readonly progressTimeoutMs: number | undefined;
  readonly maxRecords: number;
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
  const { source, maxRecords } = client;
  return withChannel(client, peer, options, async (channel) => {
    const digest = tipsDigest(source.tips());
    // Half of the places for the log itself: what waits may be dropped, what is held stays.
    const waiting = (options.known ?? []).slice(0, MAX_KNOWN / 2);
    const known = [...source.known(MAX_KNOWN - waiting.length).slice(0, MAX_KNOWN - waiting.length), ...waiting];
    const hello = await ask(channel, {
      kind: 'hello',
      charter: source.charter,
      digest,
      known,
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
          const refused = batch.length > 0 ? await sink(batch) : undefined;
          if (refused === undefined || refused.length === 0) continue;
          session.refuse(refused);
          return;
        }
      },
    );
    const missing = hello.tips.filter((tip) => !session.seen(tip) && !source.has(tip));
    const { received, unreadable, refused, complete } = session;
    return { received, unreadable, refused, complete, head: hello.head, missing, equal };
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
  unreadable = 0;
  refused = 0;
  complete = false;

  constructor(source: LogSource, peer: string) {
    this.#source = source;
    this.#peer = peer;
  }

  /** Takes back what the sink had no room for. */
  refuse(ids: readonly CID[]): void {
    for (const id of ids) this.#seen.delete(id.toString());
    this.refused += ids.length;
    this.received -= ids.length;
  }

  seen(id: CID): boolean {
    return this.#seen.has(id.toString());
  }

  async *check(input: AsyncIterable<Page>): AsyncGenerator<readonly SignedRecord[]> {
    const turns = new Turns();
    for await (const page of input) {
      const fresh: SignedRecord[] = [];
      for (const bytes of page.records) {
        const signed = decodeRecord(bytes, this.#peer);
        if (signed === undefined || !this.#place(signed)) this.unreadable++;
        else if (!this.#source.has(signed.id)) fresh.push(signed);
        // A page of signatures takes a tenth of a second.
        await turns.next();
      }
      this.received += fresh.length;
      yield fresh;
      if (page.done) this.complete = true;
    }
  }

  /** False for a record that depends on one that cannot be read here. */
  #place({ id, record }: SignedRecord): boolean {
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
      if (this.unreadable > 0) return false;
      const message = `${this.#peer} sent record ${name} before its parent ${parent}.`;
      throw new ProtocolError('OUT_OF_ORDER', message, { peer: this.#peer, record: name, parent: `${parent}` });
    }
    this.#seen.add(name);
    return true;
  }
}

/** Undefined for a record that a newer program may understand. */
function decodeRecord(bytes: Uint8Array, peer: string): SignedRecord | undefined {
  try {
    // A copy: records are kept, and a view would keep the whole page.
    return decodeSigned(new Uint8Array(bytes));
  } catch (cause) {
    const fields = { peer, reason: errorCode(cause) };
    if (fields.reason === 'VERSION_UNKNOWN' || fields.reason === 'RECORD_KIND_UNKNOWN') return undefined;
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
