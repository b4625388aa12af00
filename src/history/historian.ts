import type { CID } from 'multiformats/cid';
import type { Decision } from '../kinship/index.ts';
import type { Charter, Log, Rules, Seal, SealSet, SignedRecord, SignedSeal, SignedUpdate } from '../log/index.ts';
import { idKey, isSealedBy } from '../log/index.ts';
import type { RunOptions } from '../run-options.ts';
import { declinedAhead } from './ahead.ts';
import { Epochs } from './epochs.ts';
import { acceptedOf, recipeOf } from './models.ts';
import { chooseEpoch } from './propose.ts';
import { describeEpoch, differences } from './seal-content.ts';
import { amendments, makeSection, type Section, sealedSteps } from './section.ts';
import { adoptedDecision, type Step, type StepResult } from './steps.ts';
import type { History, SealAlarm } from './types.ts';

/** Runs steps from the first one on, and gives a result for each. */
export type Decide = (steps: readonly Step[], options: RunOptions) => Promise<readonly StepResult[]>;

export interface HistorianOptions {
  readonly charter: Charter;
  /** The community id. */
  readonly charterId: CID;
  /**
   * Whether a seal's decisions are taken as they are instead of recomputed; never when left out. Told how many records are in
   * earlier epochs, and asked again at every call: what is not to be adopted any more is recomputed.
   */
  readonly adopts?: (seal: SignedSeal, before: number) => boolean;
  /**
   * Whether a payload is not here, although its record is held: of a sealed update that was declined. Then the seal's decision
   * is taken as it is.
   */
  readonly lacksPayload?: (payload: CID) => boolean;
}

/** What the log held at one moment. */
interface Held {
  readonly records: ReadonlyMap<string, SignedRecord>;
  readonly frontier: readonly CID[];
  /** Those that their author's equivocation declines in the tail. */
  readonly equivocated: ReadonlySet<SignedRecord>;
}

/**
 * Derives what follows from the held records and the known seals. Epochs that are over are kept between calls: nothing that
 * comes later changes them, except a second seal with the same number, which undoes them.
 */
export class Historian {
  readonly #options: HistorianOptions;
  readonly #log: Log;
  readonly #seals: SealSet;
  readonly #decide: Decide;
  readonly #epochs: Epochs;

  constructor(options: HistorianOptions, components: { log: Log; seals: SealSet; decide: Decide }) {
    this.#options = options;
    this.#log = components.log;
    this.#seals = components.seals;
    this.#decide = components.decide;
    this.#epochs = new Epochs(options);
  }

  /** Reads the log once, at the call. Calls must not overlap. */
  async derive(options: RunOptions = {}): Promise<History> {
    // A second seal undoes its epoch; so does the time to recompute what was adopted.
    this.#epochs.keepWhile(
      ({ seal, applied }, rules, before) =>
        (applied.replayed || this.#adopts(seal, before)) && this.#signed(seal.seal.number, rules).length === 1,
    );
    // What comes while decisions are made is for the next call.
    const held = this.#look();
    const { alarm, waiting } = await this.#advance(held, options);
    const tail = this.#tail(held);
    const steps = [...this.#epochs.steps, ...tail.steps];
    const results = await this.#decide(steps, options);
    return { ...this.#summary(tail, steps, results), frontier: held.frontier, alarm, waiting };
  }

  /** Steps of everything that is decided now, for a look at what an update at the end would come to. */
  stepsSoFar(): { steps: readonly Step[]; rules: Rules } {
    const tail = this.#tail(this.#look());
    return { steps: [...this.#epochs.steps, ...tail.steps], rules: tail.rules };
  }

  /**
   * The seal of what is in the tail now, or of as much of it as one seal can hold; null when it is empty.
   *
   * @param history - the last one that was derived
   */
  async propose(history: History, options: RunOptions = {}): Promise<Seal | null> {
    const records = history.records.slice(history.seals.at(-1)?.records ?? 0);
    const chosen = chooseEpoch(records);
    if (chosen === null) return null;
    const { seal } = await this.#compute(this.#epochOf(chosen.records), chosen.frontier, options);
    return seal;
  }

  /** Waiting updates that the next seal declines: nothing will ever depend on their payloads. */
  declinedAhead(): SignedUpdate[] {
    const [signed, ...others] = this.#signed(this.#epochs.next, this.#epochs.rules);
    if (signed === undefined || others.length > 0) return [];
    return declinedAhead(signed.seal, { log: this.#log, epochs: this.#epochs });
  }

  async #advance(held: Held, options: RunOptions): Promise<{ alarm: SealAlarm | null; waiting: SignedSeal | null }> {
    for (;;) {
      options.signal?.throwIfAborted();
      const number = this.#epochs.next;
      const candidates = this.#signed(number, this.#epochs.rules);
      if (candidates.length > 1) {
        const seals = candidates.map(({ id }) => id.toString()).sort();
        return { alarm: { code: 'SEAL_CONFLICT', number, seals }, waiting: null };
      }
      const signed = candidates[0];
      if (signed === undefined) return { alarm: null, waiting: null };
      // A seal that does not follow the last one never will, whatever it waits for.
      if (this.#epochs.continuedBy(signed.seal) && !signed.seal.frontier.every((id) => held.records.has(idKey(id)))) {
        return { alarm: null, waiting: signed };
      }
      const differs = await this.#apply(signed, options);
      if (differs.length > 0) {
        return { alarm: { code: 'SEAL_MISMATCH', number, seal: signed.id.toString(), differs }, waiting: null };
      }
    }
  }

  /** Applies a seal whose records are held; returns the fields in which it differs from what follows here. */
  async #apply(signed: SignedSeal, options: RunOptions): Promise<string[]> {
    const { seal } = signed;
    if (!this.#epochs.continuedBy(seal)) return ['previous'];
    if (!seal.charter.equals(this.#options.charterId)) return ['charter'];
    const records = [...this.#log.ancestors(seal.frontier)].filter((record) => !this.#epochs.has(record));
    if (records.length !== seal.decisions.length) return ['decisions'];
    const adopt = this.#adopts(signed, this.#epochs.size);
    const section = this.#epochOf(records, { decisions: seal.decisions, all: adopt });
    const { seal: computed, ...outcome } = await this.#compute(section, seal.frontier, options);
    const differs = differences(seal, computed);
    if (differs.length > 0) return differs;
    const { number } = seal;
    const applied = { number, id: signed.id, records: this.#epochs.size + records.length, replayed: !adopt };
    this.#epochs.push({ seal: signed, section, ...outcome, applied });
    return [];
  }

  /** What a seal of this section says, and what follows from it. */
  async #compute(section: Section, frontier: readonly CID[], options: RunOptions) {
    const steps = sealedSteps(section);
    const before = this.#epochs.steps;
    const all = await this.#decide([...before, ...steps], options);
    const accepted = acceptedOf([...before, ...steps], all);
    const { effective, after } = amendments(section);
    const seal: Seal = {
      version: 1,
      charter: this.#options.charterId,
      number: this.#epochs.next,
      previous: this.#epochs.last?.id ?? null,
      frontier: [...frontier],
      amendments: effective.map(({ id }) => id),
      accepted: accepted.length,
      recipe: recipeOf(this.#options, accepted).recipeId,
      ...describeEpoch(section, all.slice(before.length)),
    };
    return { seal, steps, accepted, after };
  }

  #summary(
    tail: Section,
    steps: readonly Step[],
    results: readonly StepResult[],
  ): Omit<History, 'frontier' | 'alarm' | 'waiting'> {
    const decisions = new Map<string, Decision>();
    const takenOut = new Set<string>();
    for (const [place, step] of steps.entries()) {
      const result = results[place];
      if (step.kind === 'update') decisions.set(step.update.id, result as Decision);
      else if (step.kind === 'take-out' && result === true) takenOut.add(step.update);
    }
    const accepted = acceptedOf(steps, results);
    const { last, sealed, seals, rules, records } = this.#epochs;
    return {
      records: [...records, ...tail.records],
      updates: steps.flatMap((step) => (step.kind === 'update' ? [step.update] : [])),
      decisions,
      accepted,
      takenOut,
      ...recipeOf(this.#options, accepted),
      seal: last,
      sealed,
      seals,
      rules,
    };
  }

  #look(): Held {
    const records = new Map([...this.#log.held()].map((signed) => [idKey(signed.id), signed]));
    const equivocated = new Set<SignedRecord>();
    if (this.#log.equivocations().length > 0) {
      for (const signed of records.values()) if (this.#log.isEquivocated(signed.id)) equivocated.add(signed);
    }
    return { records, frontier: this.#log.heads(), equivocated };
  }

  #tail({ records, equivocated }: Held): Section {
    const tail = [...records.values()].filter((signed) => !this.#epochs.has(signed));
    return this.#section(tail, (signed) => equivocated.has(signed));
  }

  /** These records as an epoch: what is known of their authors' chains ends with them. */
  #epochOf(
    records: readonly SignedRecord[],
    sealed?: { readonly decisions: Uint8Array; readonly all: boolean },
  ): Section {
    const chains = this.#epochs.chainsWith(records);
    const isEquivocated = (signed: SignedRecord) => chains.isEquivocated(signed);
    if (sealed === undefined) return this.#section(records, isEquivocated);
    const lacks = this.#options.lacksPayload;
    return this.#section(records, isEquivocated, (place, payload) =>
      sealed.all || lacks?.(payload) === true ? adoptedDecision(sealed.decisions[place]!) : undefined,
    );
  }

  #section(
    records: Iterable<SignedRecord>,
    isEquivocated: (signed: SignedRecord) => boolean,
    adopted?: (place: number, payload: CID) => ReturnType<typeof adoptedDecision>,
  ): Section {
    const { salt, rules } = this.#epochs;
    const input = { records, salt, rules, isEquivocated, ...(adopted && { adopted }) };
    return makeSection(input, { log: this.#log });
  }

  #signed(number: number, { sealers }: Rules): SignedSeal[] {
    return this.#seals.withNumber(number).filter((signed) => isSealedBy(signed, sealers));
  }

  #adopts(seal: SignedSeal, before: number): boolean {
    return this.#options.adopts?.(seal, before) ?? false;
  }
}
