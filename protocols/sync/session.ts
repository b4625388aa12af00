import type { CID } from 'multiformats/cid';
import { equalBytes } from '../../src/log/canonical.ts';
import { DIGEST_BYTES, type Ids, sha256, treeId, treeKeyOf } from '../../src/log/index.ts';
import { ProtocolError } from '../errors.ts';
import type { Session } from '../stream-server.ts';
import { Turns } from '../turns.ts';
import { Choosing } from './choosing.ts';
import { MAX_COMPARED, MAX_PAGE_BYTES, MAX_PAGE_ENTRIES } from './constants.ts';
import type { LogSource } from './index.ts';
import { packNode, type Tagger, tagger, unpackPrefixes } from './packing.ts';
import { decodeRequest, encodeAnswer, type SyncAnswer, type SyncRequest } from './schema.ts';

export interface SyncSessionInit {
  readonly source: LogSource;
  /** The client's encoded signed head, bounded but not decoded, where this side did not have it. */
  readonly onHead?: ((head: Uint8Array) => void) | undefined;
  /** What the client says this side lacks: how many entries, and the first of them. */
  readonly onLacks?: ((lacks: { readonly count: number; readonly ids: readonly CID[] }) => void) | undefined;
}

type Request<K extends SyncRequest['kind']> = SyncRequest & { kind: K };

/**
 * Answers one client: compares with the ids as they are at its hello, and then walks what it wants. What becomes held
 * meanwhile is for its next round; so all that it is offered is there with its parents.
 */
export class SyncSession implements Session {
  readonly #init: SyncSessionInit;
  /** Since the hello. */
  #met: { readonly ids: Ids; readonly tag: Tagger; readonly head: Uint8Array | null } | undefined;
  #clientHead: Uint8Array | null = null;
  #choosing: Choosing | undefined;
  #walk: AsyncIterator<Uint8Array> | undefined;
  /** An entry that did not fit into the page before. */
  #kept: Uint8Array | undefined;
  #told = false;

  constructor(init: SyncSessionInit) {
    this.#init = init;
  }

  /** @throws ProtocolError `MALFORMED`, `TOO_LARGE`, `WRONG_COMMUNITY`; errors of the source as they are */
  async answer(bytes: Uint8Array): Promise<Uint8Array> {
    const request = decodeRequest(bytes);
    return encodeAnswer(await this.#answer(request));
  }

  async close(): Promise<void> {
    await this.#walk?.return?.();
    this.#walk = undefined;
  }

  async #answer(request: SyncRequest): Promise<SyncAnswer> {
    switch (request.kind) {
      case 'hello':
        return this.#hello(request);
      case 'heads':
        return this.#heads(request);
      case 'compare':
        return { status: 'nodes', nodes: await this.#nodes(request) };
      case 'want':
        return this.#want(request);
      case 'next':
        if (this.#walk === undefined) throw malformed('There is no page to continue.');
        return this.#page(this.#walk);
      case 'lacks':
        return this.#lacks(request);
    }
  }

  #hello({ charter, digest, head, salt }: Request<'hello'>): SyncAnswer {
    const { source } = this.#init;
    if (!charter.equals(source.charter)) {
      throw new ProtocolError('WRONG_COMMUNITY', 'The peer asks for another community.', { charter: `${charter}` });
    }
    if (this.#met !== undefined) throw malformed('A stream has one hello.');
    const met = { ids: source.ids.snapshot(), tag: tagger(salt), head: source.head() };
    this.#met = met;
    this.#choosing = new Choosing(met.ids);
    const wantsHead = head !== null && !source.hasHead(head);
    if (wantsHead) this.#clientHead = head;
    const mine = met.ids.at().digest;
    return {
      status: 'hello',
      digest: mine,
      size: met.ids.size,
      head: met.head === null ? null : sha256(met.head),
      wantsHead,
      node: equalBytes(mine, digest) ? new Uint8Array() : packNode(met.ids, '', met.tag),
    };
  }

  #heads({ head, want }: Request<'heads'>): SyncAnswer {
    const met = this.#begun();
    if (head !== null) {
      const announced = this.#clientHead;
      this.#clientHead = null;
      if (announced === null || !equalBytes(sha256(head), announced)) throw malformed('This head was not announced.');
      this.#init.onHead?.(head);
    }
    return { status: 'heads', head: want ? met.head : null };
  }

  async #nodes({ prefixes }: Request<'compare'>): Promise<Uint8Array> {
    const { ids, tag } = this.#begun();
    const turns = new Turns();
    const nodes: Uint8Array[] = [];
    for (const prefix of unpackPrefixes(prefixes, MAX_COMPARED)) {
      nodes.push(packNode(ids, prefix, tag));
      await turns.next();
    }
    return new Uint8Array(Buffer.concat(nodes));
  }

  async #want({ whole, some, ids, last }: Request<'want'>): Promise<SyncAnswer> {
    this.#begun();
    const choosing = this.#choosing;
    if (choosing === undefined) throw malformed('What is wanted is said once.');
    choosing.add(whole, some, digestKeys(ids));
    if (!last) return { status: 'page', entries: [], done: false };
    this.#choosing = undefined;
    this.#walk = this.#entries(choosing);
    return this.#page(this.#walk);
  }

  #lacks({ count, ids }: Request<'lacks'>): SyncAnswer {
    this.#begun();
    if (this.#told) throw malformed('What is lacking is said once.');
    this.#told = true;
    this.#init.onLacks?.({ count, ids: digestKeys(ids).map(treeId) });
    return { status: 'noted' };
  }

  #begun() {
    if (this.#met === undefined) throw malformed('A stream begins with a hello.');
    return this.#met;
  }

  async *#entries(choosing: Choosing): AsyncGenerator<Uint8Array> {
    const { source } = this.#init;
    const turns = new Turns();
    for (const id of source.order()) {
      if (choosing.left === 0) return;
      await turns.next();
      if (!choosing.take(id)) continue;
      const bytes = await source.entry(id);
      if (bytes !== undefined) yield bytes;
    }
  }

  async #page(walk: AsyncIterator<Uint8Array>): Promise<SyncAnswer> {
    const entries: Uint8Array[] = [];
    let bytes = 0;
    for (;;) {
      const entry = this.#kept ?? (await next(walk));
      this.#kept = undefined;
      if (entry === undefined) {
        this.#walk = undefined;
        return { status: 'page', entries, done: true };
      }
      if (entries.length >= MAX_PAGE_ENTRIES || (entries.length > 0 && bytes + entry.length > MAX_PAGE_BYTES)) {
        this.#kept = entry;
        return { status: 'page', entries, done: false };
      }
      entries.push(entry);
      bytes += entry.length;
    }
  }
}

async function next(walk: AsyncIterator<Uint8Array>): Promise<Uint8Array | undefined> {
  const result = await walk.next();
  return result.done ? undefined : result.value;
}

function digestKeys(digests: Uint8Array): string[] {
  const keys: string[] = [];
  for (let from = 0; from < digests.length; from += DIGEST_BYTES) {
    keys.push(treeKeyOf(digests.subarray(from, from + DIGEST_BYTES)));
  }
  return keys;
}

function malformed(message: string): ProtocolError {
  return new ProtocolError('MALFORMED', message, {});
}
