/** Several writers, each of whom sees a part of what the others wrote, and who now and then do what they should not. */

import type { SigningKey } from '../../../src/log/index.ts';
import type { Id } from '../documents.ts';
import { isValid } from '../validity.ts';
import { ancestors, type World } from '../world.ts';
import { type Cast, drawCast } from './community.ts';
import { drawAmendment, drawParents } from './contents.ts';
import { Dice } from './dice.ts';
import { commonDirection, drawPayload, type Synthetic } from './payloads.ts';
import { drawSeals } from './sealing.ts';
import { type Content, keyText, type Made, type MadeSeal, makeRecord } from './signing.ts';
import { type Writing, worldOf } from './writing.ts';

/** What a writer has read. */
interface View {
  readonly records: Map<Id, Made>;
  readonly seals: Set<MadeSeal>;
}

/** How often something happens, in shares of all steps. */
const STEPS = { update: 58, revocation: 11, amendment: 7, fork: 1, seal: 12, meet: 14, wrong: 4 } as const;
/** Share of the histories in which sealers misbehave. */
const BAD_SEALERS = 0.35;
/** Share of the histories that end with several updates at one time, much like each other. */
const BURSTS = 0.7;

/** Number of records, both ends included. */
export interface Size {
  readonly least: number;
  readonly most: number;
}

interface SignOptions {
  /** What the author pretends to have read. */
  readonly from?: ReadonlyMap<Id, Made>;
  /** Keep it also when it is invalid. */
  readonly evenInvalid?: boolean;
  readonly seq?: number;
  readonly prev?: Id | undefined;
  readonly charter?: Id;
  readonly skip?: number;
}

/**
 * The history of a seed.
 *
 * @param realise - gives a payload its real bytes; left out where nobody looks at them
 */
export function write(seed: number, size: Size, realise = (payload: Synthetic): Synthetic => payload): Writing {
  return new Writers(seed, realise).write(size);
}

class Writers {
  readonly #dice: Dice;
  readonly #seed: number;
  readonly #realise: (payload: Synthetic) => Synthetic;
  readonly #cast: Cast;
  readonly #common: number[];
  readonly #badSealers: boolean;
  readonly #views: View[];
  readonly #payloads = new Map<Id, Synthetic>();
  readonly #records: Made[] = [];
  readonly #seals: MadeSeal[] = [];

  constructor(seed: number, realise: (payload: Synthetic) => Synthetic) {
    this.#realise = realise;
    this.#seed = seed;
    this.#dice = new Dice(seed);
    this.#cast = drawCast(this.#dice, seed);
    this.#common = commonDirection(this.#dice);
    this.#badSealers = this.#dice.chance(BAD_SEALERS);
    this.#views = Array.from({ length: this.#dice.from(1, 3) }, () => ({ records: new Map(), seals: new Set() }));
  }

  write({ least, most }: Size): Writing {
    const size = this.#dice.from(least, most);
    const steps: Record<keyof typeof STEPS, (view: View) => void> = {
      update: (view) => this.#sign(view, this.#dice.pick(this.#writersOf(view)), this.#newUpdate()),
      revocation: (view) => this.#revoke(view),
      amendment: (view) => this.#sign(view, this.#cast.owner, 'amendment'),
      fork: (view) => this.#fork(view),
      seal: (view) => this.#seal(view),
      meet: (view) => this.#meet(view),
      wrong: (view) => this.#wrong(view),
    };
    for (let tries = 0; this.#records.length < size && tries < 20 * size; tries++) {
      steps[this.#dice.weighted(STEPS)](this.#dice.pick(this.#views));
    }
    if (this.#dice.chance(BURSTS)) this.#burst();
    return {
      seed: this.#seed,
      cast: this.#cast,
      payloads: this.#payloads,
      records: this.#records,
      seals: this.#seals,
    };
  }

  /** Authors stay with one view, so that they sign two records with one number only when a step wants it. */
  #writersOf(view: View): SigningKey[] {
    const at = this.#views.indexOf(view);
    const writers = this.#cast.authors.filter((_, i) => i % this.#views.length === at);
    return at === 0 ? [this.#cast.owner, ...writers] : writers;
  }

  /** @param like - a payload that it is much like */
  #newUpdate(like?: Id): Content {
    const known = like === undefined ? [...this.#payloads.values()] : [this.#payloads.get(like)!];
    const place = { seed: this.#seed, count: this.#payloads.size };
    const again = known.length > 0 && this.#dice.chance(0.04);
    const kind = like === undefined ? null : 'copy';
    const payload = again
      ? this.#dice.pick(known)
      : this.#realise(drawPayload(this.#dice, place, this.#common, known, kind));
    this.#payloads.set(payload.id, payload);
    return { kind: 'update', payload: payload.id, note: String(this.#records.length) };
  }

  /** Authors that do not see each other's updates: which of them is first decides what becomes of the others. */
  #burst(): void {
    let first: Id | undefined;
    for (const view of this.#views) {
      const from = new Map(view.records);
      for (const author of this.#dice.shuffled(this.#writersOf(view))) {
        const content = this.#newUpdate(first);
        if (content.kind === 'update') first ??= content.payload;
        this.#sign(view, author, content, { from });
      }
    }
  }

  #revoke(view: View): void {
    const updates = [...view.records.values()].filter(({ rec }) => rec.kind === 'update');
    if (updates.length === 0) return;
    const { rec } = this.#dice.pick(updates);
    const writers = this.#writersOf(view);
    const own = writers.find((key) => keyText(key) === rec.author);
    const signer = own !== undefined && this.#dice.chance(0.6) ? own : this.#cast.owner;
    if (writers.includes(signer) || this.#dice.chance(0.2)) {
      this.#sign(view, signer, { kind: 'revocation', target: rec.id });
    }
  }

  /** Signs a second record with a number that the author has used already. */
  #fork(view: View): void {
    const used = [...view.records.values()].filter(({ rec }) => rec.kind !== 'revocation');
    if (used.length === 0) return;
    const { rec } = this.#dice.pick(used);
    const signer = [this.#cast.owner, ...this.#cast.authors].find((key) => keyText(key) === rec.author);
    if (signer === undefined) return;
    const known = this.#known();
    // As if neither the record itself nor anything that builds on it had been seen.
    const isAfter = (made: Made): boolean =>
      [made.rec, ...ancestors(known, made.rec)!.values()].some(
        (one) => one.author === rec.author && one.seq >= rec.seq,
      );
    const from = new Map([...view.records].filter(([, made]) => !isAfter(made)));
    this.#sign(view, signer, rec.kind === 'amendment' ? 'amendment' : this.#newUpdate(), { from });
  }

  #seal(view: View): void {
    // Good sealers agree who seals; where they do not, one number is soon used twice.
    if (view !== this.#views[0] && !this.#badSealers) return;
    const world = worldOf(
      { cast: this.#cast, payloads: this.#payloads },
      view.records.values(),
      this.#payloads.keys(),
      view.seals,
    );
    for (const seal of drawSeals(this.#dice, this.#cast, { world, bad: this.#badSealers })) {
      if (this.#seals.some((other) => other.seal.id === seal.seal.id)) continue;
      this.#seals.push(seal);
      view.seals.add(seal);
    }
  }

  /** One view reads the other, or both read each other. */
  #meet(view: View): void {
    const other = this.#dice.pick(this.#views);
    const read = (from: View, to: View): void => {
      for (const [id, made] of from.records) to.records.set(id, made);
      for (const seal of from.seals) to.seals.add(seal);
    };
    read(other, view);
    if (this.#dice.chance(0.5)) read(view, other);
  }

  /** A record that is invalid for one reason or another: given to everybody, built on by nobody. */
  #wrong(view: View): void {
    const dice = this.#dice;
    const signer = dice.pick(this.#cast.authors);
    const ids = [...view.records.keys()];
    const evenInvalid = true;
    const wrongs = {
      stranger: () => this.#sign(view, this.#cast.stranger, this.#newUpdate(), { evenInvalid }),
      chain: () => this.#sign(view, signer, this.#newUpdate(), { evenInvalid, seq: dice.from(1, 3), prev: ids.at(-1) }),
      number: () =>
        this.#sign(view, dice.pick([signer, this.#cast.owner]), 'amendment', { evenInvalid, skip: dice.from(0, 1) }),
      target: () =>
        ids.length > 0 && this.#sign(view, signer, { kind: 'revocation', target: dice.pick(ids) }, { evenInvalid }),
      community: () => {
        const content = this.#newUpdate();
        this.#sign(view, signer, content, { evenInvalid, charter: dice.pick([...this.#payloads.keys()]) });
      },
    };
    wrongs[dice.pick(Object.keys(wrongs) as (keyof typeof wrongs)[])]();
  }

  #sign(view: View, signer: SigningKey, what: Content | 'amendment', options: SignOptions = {}): void {
    const seen = options.from ?? view.records;
    const author = keyText(signer);
    const own = [...seen.values()].filter(({ rec }) => rec.author === author).sort((a, b) => b.rec.seq - a.rec.seq)[0];
    const prev = options.prev ?? own?.rec.id ?? null;
    const parents = new Set(drawParents(this.#dice, seen));
    if (prev !== null) parents.add(prev);
    if (what !== 'amendment' && what.kind === 'revocation') parents.add(what.target);
    const known = this.#known();
    const named = [...parents].map((id) => known.records.get(id)!);
    const content =
      what === 'amendment' ? drawAmendment(this.#dice, this.#cast, known, named, options.skip ?? 0) : what;
    const made = makeRecord(
      signer,
      {
        charter: options.charter ?? this.#cast.charterId,
        seq: prev === null ? 0 : (options.seq ?? (own?.rec.seq ?? 0) + 1),
        prev,
        parents: [...parents],
      },
      content,
    );
    if (known.records.has(made.rec.id)) return;
    known.records.set(made.rec.id, made.rec);
    const valid = isValid(known, made.rec);
    if (!valid && options.evenInvalid !== true && !this.#dice.chance(0.1)) return;
    this.#records.push(made);
    if (valid) view.records.set(made.rec.id, made);
  }

  #known(): World & { readonly records: Map<Id, Made['rec']> } {
    const world = worldOf({ cast: this.#cast, payloads: this.#payloads }, this.#records, this.#payloads.keys(), []);
    return { ...world, records: new Map(world.records) };
  }
}
