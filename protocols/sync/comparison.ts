import type { CID } from 'multiformats/cid';
import { type Ids, treeId, treeKeyBytes } from '../../src/log/index.ts';
import { ProtocolError } from '../errors.ts';
import { MAX_COMPARED, MAX_NAMED, MAX_PREFIX } from './constants.ts';
import { leafTags, longer, type NodeTags, type Tagger } from './packing.ts';
import { Wanted } from './wanted.ts';

/** The ids of the client's side; they must not change while a comparison goes on. */
export interface Own {
  /** What is offered to others. */
  readonly held: Ids;
  /** What needs no sending: `held`, and what waits. */
  readonly known: Ids;
  /** What is not known and not wanted either. */
  readonly passedOver: Ids;
}

/**
 * Finds how a peer's ids differ from the own ones, from the root down: what is wanted, and what the peer lacks. Only what
 * differs is asked about, so its length goes with the difference.
 *
 * A liar leads it at most to `MAX_PREFIX` along the own ids, and only to what it then has to deliver.
 */
export class Comparison {
  readonly wanted: Wanted;
  readonly #own: Own;
  readonly #tag: Tagger;
  readonly #peer: string;
  readonly #frontier: string[] = [];
  readonly #lacking: CID[] = [];
  #lackingCount = 0;

  constructor(own: Own, tag: Tagger, peer: string) {
    this.wanted = new Wanted(tag);
    this.#own = own;
    this.#tag = tag;
    this.#peer = peer;
  }

  /** What the peer lacks: how many, and the first of them. */
  get lacking(): { readonly count: number; readonly ids: readonly CID[] } {
    return { count: this.#lackingCount, ids: this.#lacking };
  }

  /** Prefixes to ask about next; none when it is over. Each is handed out once. */
  next(): string[] {
    return this.#frontier.splice(-MAX_COMPARED);
  }

  /** Takes what the peer has under a prefix. @throws ProtocolError `NO_PROGRESS` */
  take(prefix: string, node: NodeTags): void {
    if (node.kind === 'leaf') this.#takeLeaf(prefix, node.tags);
    else this.#takeBranch(prefix, node.tags);
  }

  #takeLeaf(prefix: string, tags: readonly number[]): void {
    const { held, known, passedOver } = this.#own;
    const mine = new Set([...leafTags(known.at(prefix), this.#tag), ...leafTags(passedOver.at(prefix), this.#tag)]);
    const places = [...tags.keys()].filter((place) => !mine.has(tags[place]!));
    if (places.length > 0) this.wanted.addSome({ prefix, places }, tags);
    const theirs = new Set(tags);
    for (const key of held.at(prefix).keys()) if (!theirs.has(this.#tag(treeKeyBytes(key)))) this.#lacks(key);
  }

  #takeBranch(prefix: string, tags: readonly (number | undefined)[]): void {
    if (prefix.length >= MAX_PREFIX) {
      const message = `${this.#peer} claims to have more ids under one prefix than can be made.`;
      throw new ProtocolError('NO_PROGRESS', message, { peer: this.#peer, prefix });
    }
    const { held, known, passedOver } = this.#own;
    for (const [place, child] of longer(prefix).entries()) {
      const theirs = tags[place];
      const mine = held.at(child);
      if (theirs === undefined) {
        for (const key of mine.keys()) this.#lacks(key);
        continue;
      }
      const all = known.at(child);
      // What they have is what is held here, or what is known: nothing to get. They may lack nothing then either.
      if (this.#tag(mine.digest) === theirs || this.#tag(all.digest) === theirs) continue;
      if (all.size + passedOver.at(child).size === 0) this.wanted.addWhole(child);
      else this.#frontier.push(child);
    }
  }

  #lacks(key: string): void {
    this.#lackingCount++;
    if (this.#lacking.length < MAX_NAMED) this.#lacking.push(treeId(key));
  }
}
