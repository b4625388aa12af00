import type { CID } from 'multiformats/cid';
import type { Decision } from '../kinship/index.ts';
import type { Charter, Log, Recipe, Rules, Seal, SealSet, SignedRecord, SignedSeal } from '../log/index.ts';
import { charterRules, encodeRecipe, idKey, idOf, isSealedBy, MERGE_ALGORITHM } from '../log/index.ts';
import type { RunOptions } from '../run-options.ts';
import { EpochChains } from './epoch-chains.ts';
import { chooseEpoch, headsOf } from './propose.ts';
import { describeEpoch, differences } from './seal-content.ts';
import { amendments, makeSection, type Section, sealedSteps } from './section.ts';
import { adoptedDecision, type JudgedUpdate, type Step, type StepResult } from './steps.ts';
import type { AppliedSeal, History, SealAlarm, Snapshot } from './types.ts';

/** Runs steps from the first one on, and gives a result for each. */
export type Decide = (steps: readonly Step[], options: RunOptions) => Promise<readonly StepResult[]>;

export interface HistorianOptions {
  readonly charter: Charter;
  /** The community id. */
  readonly charterId: CID;
  /** Whether a seal's decisions are taken as they are instead of recomputed; never when left out. */
  readonly adopts?: (seal: SignedSeal) => boolean;
}

/** What the log held at one moment. */
interface Held {
  readonly records: ReadonlyMap<string, SignedRecord>;
  readonly frontier: readonly CID[];
  /** Those that their author's equivocation declines in the tail. */
  readonly equivocated: ReadonlySet<SignedRecord>;
}

/** An epoch that is over. */
interface Epoch {
  readonly seal: SignedSeal;
  readonly section: Section;
  readonly steps: readonly Step[];
  readonly results: readonly StepResult[];
  readonly applied: AppliedSeal;
  /** Accepted up to its end. */
  readonly accepted: readonly JudgedUpdate[];
  readonly after: Rules;
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
  #epochs: Epoch[] = [];
  /** Keys of the records in the epochs. */
  #sealed = new Set<string>();
  #chains = new EpochChains();
  #snapshot: { readonly seal: SignedSeal; readonly sealed: Snapshot } | undefined;

  constructor(options: HistorianOptions, components: { log: Log; seals: SealSet; decide: Decide }) {
    this.#options = options;
    this.#log = components.log;
    this.#seals = components.seals;
    this.#decide = components.decide;
  }

  /** Reads the log once, at the call. Calls must not overlap. */
  async derive(options: RunOptions = {}): Promise<History> {
    this.#undoConflicts();
    // What comes while decisions are made is for the next call.
    const held = this.#look();
    const { alarm, waiting } = await this.#advance(held, options);
    const tail = this.#tail(held);
    const steps = [...this.#sealedSteps(), ...tail.steps];
    const results = await this.#decide(steps, options);
    return { ...this.#summary(tail, results), frontier: held.frontier, alarm, waiting };
  }

  /** Steps of everything that is decided now, for a look at what an update at the end would come to. */
  stepsSoFar(): { steps: readonly Step[]; rules: Rules } {
    const tail = this.#tail(this.#look());
    return { steps: [...this.#sealedSteps(), ...tail.steps], rules: tail.rules };
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
    const chains = this.#chainsWith(chosen.records);
    const section = this.#section(chosen.records, (signed) => chains.isEquivocated(signed));
    const { seal } = await this.#compute(section, chosen.frontier, options);
    return seal;
  }

  /** Drops epochs whose seal is not the only one with its number any more, or whose decisions were adopted and now are to be recomputed. */
  #undoConflicts(): void {
    const keep = this.#epochs.findIndex((epoch, place) => {
      const rules = place === 0 ? charterRules(this.#options.charter) : this.#epochs[place - 1]!.after;
      const stillAdopted = epoch.applied.replayed || this.#adopts(epoch.seal);
      return !stillAdopted || this.#signed(epoch.seal.seal.number, rules).length !== 1;
    });
    if (keep < 0) return;
    this.#epochs = this.#epochs.slice(0, keep);
    this.#sealed = new Set();
    this.#chains = new EpochChains();
    for (const { section } of this.#epochs) this.#note(section.records);
  }

  async #advance(held: Held, options: RunOptions): Promise<{ alarm: SealAlarm | null; waiting: SignedSeal | null }> {
    for (;;) {
      options.signal?.throwIfAborted();
      const number = this.#epochs.length + 1;
      const candidates = this.#signed(number, this.#rules());
      if (candidates.length > 1) {
        const seals = candidates.map(({ id }) => id.toString()).sort();
        return { alarm: { code: 'SEAL_CONFLICT', number, seals }, waiting: null };
      }
      const signed = candidates[0];
      if (signed === undefined) return { alarm: null, waiting: null };
      if (!signed.seal.frontier.every((id) => held.records.has(idKey(id)))) return { alarm: null, waiting: signed };
      const differs = await this.#apply(signed, options);
      if (differs.length > 0) {
        return { alarm: { code: 'SEAL_MISMATCH', number, seal: signed.id.toString(), differs }, waiting: null };
      }
    }
  }

  /** Applies a seal whose records are held; returns the fields in which it differs from what follows here. */
  async #apply(signed: SignedSeal, options: RunOptions): Promise<string[]> {
    const { seal } = signed;
    const last = this.#epochs.at(-1)?.seal.id ?? null;
    if (seal.previous === null ? last !== null : !seal.previous.equals(last)) return ['previous'];
    if (!seal.charter.equals(this.#options.charterId)) return ['charter'];
    const records: SignedRecord[] = [];
    for (const record of this.#log.ancestors(seal.frontier)) {
      if (!this.#sealed.has(idKey(record.id))) records.push(record);
    }
    if (records.length !== seal.decisions.length) return ['decisions'];
    const adopt = this.#adopts(signed);
    const chains = this.#chainsWith(records);
    const isEquivocated = (record: SignedRecord) => chains.isEquivocated(record);
    const adopted = adopt ? Array.from(seal.decisions, adoptedDecision) : undefined;
    const section = this.#section(records, isEquivocated, adopted);
    const computed = await this.#compute(section, seal.frontier, options);
    const differs = differences(seal, computed.seal);
    if (differs.length > 0) return differs;
    const before = this.#epochs.at(-1)?.applied.records ?? 0;
    this.#epochs.push({
      seal: signed,
      section,
      steps: computed.steps,
      results: computed.results,
      accepted: computed.accepted,
      after: computed.after,
      applied: {
        number: seal.number,
        id: signed.id,
        records: before + records.length,
        replayed: !adopt,
      },
    });
    this.#note(records);
    return [];
  }

  /** What a seal of this section says. */
  async #compute(section: Section, frontier: readonly CID[], options: RunOptions) {
    const steps = sealedSteps(section);
    const before = this.#sealedSteps();
    const all = await this.#decide([...before, ...steps], options);
    const results = all.slice(before.length);
    const accepted = acceptedOf([...before, ...steps], all);
    const { effective, after } = amendments(section);
    const seal: Seal = {
      version: 1,
      charter: this.#options.charterId,
      number: this.#epochs.length + 1,
      previous: this.#epochs.at(-1)?.seal.id ?? null,
      frontier: [...frontier],
      amendments: effective.map(({ id }) => id),
      accepted: accepted.length,
      recipe: this.#recipe(accepted).recipeId,
      ...describeEpoch(section, results),
    };
    return { seal, steps, results, accepted, after };
  }

  #summary(tail: Section, results: readonly StepResult[]): Omit<History, 'frontier' | 'alarm' | 'waiting'> {
    const steps = [...this.#sealedSteps(), ...tail.steps];
    const updates = steps.flatMap((step) => (step.kind === 'update' ? [step.update] : []));
    const decisions = new Map<string, Decision>();
    const takenOut = new Set<string>();
    for (const [place, step] of steps.entries()) {
      const result = results[place];
      if (step.kind === 'update') decisions.set(step.update.id, result as Decision);
      else if (step.kind === 'take-out' && result === true) takenOut.add(step.update);
    }
    const accepted = acceptedOf(steps, results);
    const last = this.#epochs.at(-1);
    return {
      records: [...this.#epochs.flatMap(({ section }) => section.records), ...tail.records],
      updates,
      decisions,
      accepted,
      takenOut,
      ...this.#recipe(accepted),
      seal: last === undefined ? null : { number: last.applied.number, id: last.seal.id },
      sealed: this.#sealedSnapshot(),
      seals: this.#epochs.map(({ applied }) => applied),
      rules: this.#rules(),
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
    const tail: SignedRecord[] = [];
    for (const [key, signed] of records) if (!this.#sealed.has(key)) tail.push(signed);
    return this.#section(tail, (signed) => equivocated.has(signed));
  }

  #section(
    records: Iterable<SignedRecord>,
    isEquivocated: (signed: SignedRecord) => boolean,
    adopted?: readonly ReturnType<typeof adoptedDecision>[],
  ): Section {
    const salt = (this.#epochs.at(-1)?.seal.id ?? this.#options.charterId).bytes;
    const input = { records, salt, rules: this.#rules(), isEquivocated };
    return makeSection(adopted === undefined ? input : { ...input, adopted }, { log: this.#log });
  }

  #rules(): Rules {
    return this.#epochs.at(-1)?.after ?? charterRules(this.#options.charter);
  }

  #signed(number: number, { sealers }: Rules): SignedSeal[] {
    return this.#seals.withNumber(number).filter((signed) => isSealedBy(signed, sealers));
  }

  #adopts(seal: SignedSeal): boolean {
    return this.#options.adopts?.(seal) ?? false;
  }

  #sealedSteps(): Step[] {
    return this.#epochs.flatMap(({ steps }) => steps);
  }

  #note(records: readonly SignedRecord[]): void {
    for (const { id } of records) this.#sealed.add(idKey(id));
    this.#chains.add(records);
  }

  /** The chains of the epochs with these records besides. */
  #chainsWith(records: readonly SignedRecord[]): EpochChains {
    const chains = this.#chains.fork();
    chains.add(records);
    return chains;
  }

  #sealedSnapshot(): Snapshot | null {
    const last = this.#epochs.at(-1);
    if (last === undefined) return null;
    if (this.#snapshot?.seal !== last.seal) {
      const { accepted, applied, seal } = last;
      const frontier = headsOf(this.#epochs.flatMap(({ section }) => section.records));
      const sealed = { ...this.#recipe(accepted), accepted, frontier, seal: { number: applied.number, id: seal.id } };
      this.#snapshot = { seal, sealed };
    }
    return this.#snapshot.sealed;
  }

  #recipe(accepted: readonly JudgedUpdate[]): { recipe: Recipe; recipeId: CID } {
    const { charter, charterId } = this.#options;
    const updates = accepted.map(({ cid }) => cid);
    const recipe: Recipe = {
      version: 1,
      charter: charterId,
      algorithm: MERGE_ALGORITHM,
      updates,
      merge: charter.merge,
    };
    return { recipe, recipeId: idOf(encodeRecipe(recipe)) };
  }
}

function acceptedOf(steps: readonly Step[], results: readonly StepResult[]): JudgedUpdate[] {
  const accepted = new Map<string, JudgedUpdate>();
  for (const [place, step] of steps.entries()) {
    if (step.kind === 'update' && (results[place] as Decision).accepted) accepted.set(step.update.id, step.update);
    else if (step.kind === 'take-out') accepted.delete(step.update);
  }
  return [...accepted.values()];
}
