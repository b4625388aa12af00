import { randomBytes } from 'node:crypto';
import { pipe } from 'it-pipe';
import type { CID } from 'multiformats/cid';
import { equalBytes } from '../../src/log/canonical.ts';
import { IdTree, sha256, treeKey, treeKeyBytes } from '../../src/log/index.ts';
import { ProtocolError } from '../errors.ts';
import { Turns } from '../turns.ts';
import { Comparison, type Own } from './comparison.ts';
import { MAX_COMPARES, MAX_ENTRIES_PER_ROUND, MAX_NAMED, SALT_BYTES } from './constants.ts';
import type { EntrySink, LogSource, PullOptions, PullResult } from './index.ts';
import { Intake, type Page } from './intake.ts';
import { packPrefixes, type Tagger, tagger, unpackNodes } from './packing.ts';
import { decodeAnswer, encodeRequest, type SyncAnswer, type SyncRequest } from './schema.ts';
import { Wanted } from './wanted.ts';

/** Sends one request and gives its answer, both encoded: a stream, or a session in the same process. */
export type Ask = (request: Uint8Array) => Promise<Uint8Array>;

export interface Reconciliation extends PullOptions {
  readonly source: LogSource;
  readonly sink: EntrySink;
  /** Who answers, for errors. */
  readonly peer: string;
  /** Entries taken in one round; default and maximum `MAX_ENTRIES_PER_ROUND`. */
  readonly maxEntries?: number | undefined;
  /** Requests that compare in one round; default and maximum `MAX_COMPARES`. */
  readonly maxCompares?: number | undefined;
  /** `SALT_BYTES` bytes that nobody can foresee; drawn when left out, which is right but for runs that repeat. */
  readonly salt?: Uint8Array | undefined;
}

type Answer<S extends SyncAnswer['status']> = SyncAnswer & { status: S };
const NOTHING_LACKING = { count: 0, ids: [] as readonly CID[] };

/**
 * One round with a peer as its client: compares, gets what is missing, and tells what the peer lacks.
 *
 * @param ask - in the order of the calls, each after the answer to the one before
 * @throws ProtocolError naming the peer; errors of `ask` and of the sink as they are
 */
export function reconcile(ask: Ask, options: Reconciliation): Promise<PullResult> {
  return new Round(ask, options).run();
}

class Round {
  readonly #send: Ask;
  readonly #options: Reconciliation;
  readonly #salt: Uint8Array;
  readonly #tag: Tagger;

  constructor(send: Ask, options: Reconciliation) {
    this.#send = send;
    this.#options = options;
    this.#salt = options.salt ?? new Uint8Array(randomBytes(SALT_BYTES));
    this.#tag = tagger(this.#salt);
  }

  async run(): Promise<PullResult> {
    const { source, turn, named } = this.#options;
    const digest = source.ids.at().digest;
    const head = source.head();
    const hello = await this.#ask('hello', {
      kind: 'hello',
      charter: source.charter,
      digest,
      size: source.ids.size,
      head: head === null ? null : sha256(head),
      salt: this.#salt,
    });
    const equal = equalBytes(hello.digest, digest);
    if (equal !== (hello.node.length === 0)) throw this.#breach('MALFORMED', 'contradicts itself about its digest');
    const theirHead = await this.#heads(hello, head);
    const base = { head: theirHead, equal };
    if (equal) return { ...base, ...NOTHING_RECEIVED };
    const release = await turn?.();
    try {
      // After the wait: what came meanwhile from others is not asked for again.
      const own: Own = {
        held: source.ids.snapshot(),
        known: source.known.snapshot(),
        passedOver: this.#options.passedOver?.snapshot() ?? new IdTree(),
      };
      const { wanted, lacking } = named === undefined ? await this.#compare(hello, own) : this.#name(named, own);
      const got = wanted.isEmpty ? NOTHING_RECEIVED : await this.#fetch(wanted, own);
      if (lacking.count > 0) await this.#tell(lacking);
      return { ...base, ...got, lacking: lacking.count };
    } finally {
      release?.();
    }
  }

  /** Gives the own head when it is asked for, and gets the peer's when it is not known here. */
  async #heads({ head, wantsHead }: Answer<'hello'>, own: Uint8Array | null): Promise<Uint8Array | null> {
    const want = head !== null && !this.#options.source.hasHead(head);
    if (!want && !wantsHead) return null;
    const answer = await this.#ask('heads', { kind: 'heads', head: wantsHead ? own : null, want });
    if (answer.head === null) return null;
    if (!want || !equalBytes(sha256(answer.head), head)) {
      throw this.#breach('BAD_BYTES', 'sent another head than it announced');
    }
    return answer.head;
  }

  async #compare(hello: Answer<'hello'>, own: Own): Promise<Comparison> {
    const { peer, signal } = this.#options;
    const comparison = new Comparison(own, this.#tag, peer);
    // What a peer has may have come while we waited for the turn, or may itself wait here for a payload.
    if (equalBytes(hello.digest, own.known.at().digest)) return comparison;
    if (own.known.size + own.passedOver.size === 0) {
      comparison.wanted.addWhole('');
      return comparison;
    }
    comparison.take('', unpackNodes(hello.node, 1, peer)[0]!);
    const maxCompares = Math.min(this.#options.maxCompares ?? MAX_COMPARES, MAX_COMPARES);
    const turns = new Turns();
    let compares = 0;
    for (let prefixes = comparison.next(); prefixes.length > 0; prefixes = comparison.next()) {
      signal?.throwIfAborted();
      if (++compares > maxCompares) throw this.#breach('NO_PROGRESS', 'leads a comparison nowhere');
      const { nodes } = await this.#ask('nodes', { kind: 'compare', prefixes: packPrefixes(prefixes) });
      const unpacked = unpackNodes(nodes, prefixes.length, peer);
      for (const [place, prefix] of prefixes.entries()) {
        comparison.take(prefix, unpacked[place]!);
        await turns.next();
      }
    }
    const nothing = comparison.wanted.isEmpty && comparison.lacking.count === 0;
    // With nothing that is here but not held, a difference would have to show.
    const isSimple = own.known.size === own.held.size && own.passedOver.size === 0;
    if (nothing && isSimple) throw this.#breach('NO_PROGRESS', 'shows a difference where there is none');
    return comparison;
  }

  #name(named: readonly CID[], own: Own): { wanted: Wanted; lacking: typeof NOTHING_LACKING } {
    const wanted = new Wanted(this.#tag);
    const lacked = named.filter((id) => !own.known.has(id) && !own.passedOver.has(id));
    for (const id of lacked.slice(0, MAX_NAMED)) wanted.addNamed(id);
    return { wanted, lacking: NOTHING_LACKING };
  }

  async #fetch(wanted: Wanted, own: Own): Promise<typeof NOTHING_RECEIVED> {
    const { source, sink, peer, signal } = this.#options;
    const intake = new Intake(source, own, wanted, peer);
    await pipe(
      this.#pages(wanted),
      (pages) => intake.check(pages),
      async (batches) => {
        for await (const batch of batches) {
          signal?.throwIfAborted();
          const refused = batch.length > 0 ? await sink(batch) : undefined;
          if (refused === undefined || refused.length === 0) continue;
          intake.refuse(refused);
          return;
        }
      },
    );
    const { received, unreadable, refused, complete } = intake;
    return { received, unreadable, refused, complete, withheld: complete ? wanted.owed : 0, lacking: 0 };
  }

  /** The pages of what is wanted; asks for the next one only when the last was taken. */
  async *#pages(wanted: Wanted): AsyncGenerator<Page> {
    const maxEntries = Math.min(this.#options.maxEntries ?? MAX_ENTRIES_PER_ROUND, MAX_ENTRIES_PER_ROUND);
    let page: Page = { entries: [], done: false };
    for (const request of wanted.requests()) page = await this.#ask('page', request);
    for (let entries = page.entries.length; ; entries += page.entries.length) {
      // An honest page is empty only at the end; a peer that sends empty pages for ever must not hold us.
      if (page.entries.length === 0 && !page.done) throw this.#breach('NO_PROGRESS', 'promises more but sends nothing');
      yield page;
      if (page.done || entries >= maxEntries) return;
      try {
        page = await this.#ask('page', { kind: 'next' });
      } catch (error) {
        // What came so far is good; the next round goes on from there.
        if (error instanceof ProtocolError && error.code === 'RATE_LIMITED') return;
        throw error;
      }
    }
  }

  async #tell({ count, ids }: { count: number; ids: readonly CID[] }): Promise<void> {
    const digests = ids.map((id) => treeKeyBytes(treeKey(id)));
    await this.#ask('noted', { kind: 'lacks', count, ids: new Uint8Array(Buffer.concat(digests)) });
  }

  async #ask<S extends SyncAnswer['status']>(status: S, request: SyncRequest): Promise<Answer<S>> {
    const answer = decodeAnswer(await this.#send(encodeRequest(request)), this.#options.peer);
    if (!isAnswer(answer, status)) throw this.#breach('MALFORMED', `answered with an unexpected ${answer.status}`);
    return answer;
  }

  #breach(code: 'MALFORMED' | 'BAD_BYTES' | 'NO_PROGRESS', what: string): ProtocolError {
    const { peer } = this.#options;
    return new ProtocolError(code, `${peer} ${what}.`, { peer });
  }
}

const NOTHING_RECEIVED = {
  received: 0,
  unreadable: [] as readonly CID[],
  refused: 0,
  complete: true,
  withheld: 0,
  lacking: 0,
};

function isAnswer<S extends SyncAnswer['status']>(answer: SyncAnswer, status: S): answer is Answer<S> {
  return answer.status === status;
}
