import type { PayloadMeasure } from '../codec/types.ts';
import { KinshipError } from './errors.ts';
import { meanKinship } from './fixed.ts';
import { type GateName, type GateResult, GateResults, GateSheet, type Outcome, passIf } from './gates.ts';
import type { Pair } from './pair.ts';
import type { AdmissionPolicy } from './policy.ts';
import { RunningMedian } from './running-median.ts';

/** One held record, as admission sees it. */
export interface Candidate {
  readonly id: string;
  readonly kind: 'update';
  /** The payload's measure, or the decode error that every node gets from these payload bytes. */
  readonly payload: PayloadMeasure | { readonly fault: string; readonly message: string };
  /** True when the author signed another record with the same `seq`, or this one continues such a record. */
  readonly equivocation?: boolean;
  /** False when the author is no member by the rules in effect. */
  readonly member?: boolean;
  /** What the author's chain has used with this update, and the budget in effect. */
  readonly budget?: BudgetUse;
}

/** What an author has published, and what it may. */
export interface BudgetUse {
  readonly updates: number;
  /** Sum of payload sizes. */
  readonly bytes: number;
  readonly most: { readonly updates: number; readonly bytes: number };
}

/** What was decided on one update, and why. */
export interface Decision {
  readonly id: string;
  readonly accepted: boolean;
  /** The gate that declined it, null for an accepted update. */
  readonly gate: GateName | null;
  /** Every check in order, those that were not reached included. */
  readonly gates: readonly GateResult[];
}

/** Looks up a comparison; it must not depend on the order of its arguments. Undefined: not measured yet. */
export type PairLookup = (a: string, b: string) => Pair | undefined;

/** What one step came to: a decision, or the comparisons that it lacks. */
export type Step =
  | { readonly decision: Decision; readonly missing?: undefined }
  | { readonly decision?: undefined; readonly missing: readonly [string, string][] };

/**
 * Decides over the canonical order: a pure function of the candidates in it, the policy and what pairs measure.
 * A decision depends on the candidates before it alone, so a longer order keeps the decisions of its prefix.
 * Stops at the first candidate whose comparisons with accepted updates are not all there, and lists those.
 *
 * @throws KinshipError REPEATED_CANDIDATE
 */
export function decide(
  candidates: readonly Candidate[],
  policy: AdmissionPolicy,
  pair: PairLookup,
): { decisions: Decision[]; missing: [string, string][] } {
  const admission = new Admission(policy);
  const decisions: Decision[] = [];
  for (const candidate of candidates) {
    const step = admission.next(candidate, pair);
    if (step.decision === undefined) return { decisions, missing: [...step.missing] };
    decisions.push(step.decision);
  }
  return { decisions, missing: [] };
}

/**
 * The same, one candidate at a time, for a caller that keeps the state of a prefix: a step costs one look-up per accepted
 * update. A step that lacks comparisons changes nothing and can be taken again.
 */
export class Admission {
  #policy: AdmissionPolicy;
  readonly #seen = new Set<string>();
  /** Norms of the accepted updates that are not taken out, in canonical order. */
  readonly #accepted = new Map<string, number>();
  /** Accepted updates that were taken out: a copy of one is still a duplicate. */
  readonly #takenOut: string[] = [];
  readonly #norms = new RunningMedian();
  readonly #results = new GateResults();

  /** @param policy - as `parsePolicy` or `policyForBase` return it */
  constructor(policy: AdmissionPolicy) {
    this.#policy = policy;
  }

  /** Ids of the accepted updates that are not taken out, in canonical order. */
  get accepted(): readonly string[] {
    return [...this.#accepted.keys()];
  }

  /** Other limits hold from here on. */
  set policy(policy: AdmissionPolicy) {
    this.#policy = policy;
  }

  /**
   * Takes an accepted update out: later updates are compared with the others, except that its copies stay duplicates.
   *
   * @returns false when it was not accepted, or is out already
   */
  takeOut(id: string): boolean {
    const norm = this.#accepted.get(id);
    if (norm === undefined) return false;
    this.#accepted.delete(id);
    this.#norms.remove(norm);
    this.#takenOut.push(id);
    return true;
  }

  /**
   * Takes a decision that is known, without asking again.
   *
   * @param norm - of an accepted update
   * @throws KinshipError REPEATED_CANDIDATE
   */
  assume(id: string, norm: number | null): void {
    this.#see(id);
    if (norm === null) return;
    this.#accepted.set(id, norm);
    this.#norms.add(norm);
  }

  next(candidate: Candidate, pair: PairLookup): Step {
    if (this.#seen.has(candidate.id)) throw repeated(candidate.id);
    const sheet = new GateSheet(this.#results);
    askEquivocation(sheet, candidate);
    askMembership(sheet, candidate);
    askBudget(sheet, candidate.budget);
    askBounds(sheet, candidate.payload, this.#policy);
    this.#askNorm(sheet, candidate.payload);
    const relations: Relation[] = [];
    const past: Relation[] = [];
    if (sheet.failed === null) {
      const missing: [string, string][] = [];
      const relate = (ids: Iterable<string>, to: Relation[]) => {
        for (const id of ids) {
          const found = pair(candidate.id, id);
          if (found === undefined) missing.push([candidate.id, id]);
          else to.push({ id, pair: found });
        }
      };
      relate(this.#accepted.keys(), relations);
      relate(this.#takenOut, past);
      if (missing.length > 0) return { missing };
    }
    askDuplicate(sheet, past.length === 0 ? relations : [...relations, ...past], this.#policy);
    askOpposite(sheet, relations, this.#policy);
    this.#askKinship(sheet, relations);

    const accepted = sheet.failed === null;
    this.assume(candidate.id, accepted && !('fault' in candidate.payload) ? candidate.payload.norm : null);
    return { decision: { id: candidate.id, accepted, gate: sheet.failed, gates: sheet.results } };
  }

  #askNorm(sheet: GateSheet, payload: Candidate['payload']): void {
    const [least, most] = this.#policy.normRatio;
    sheet.ask('norm', 'norm', this.#policy.normRatio, () => {
      const median = this.#norms.median();
      const ratio = 'fault' in payload || median === null ? null : payload.norm / median;
      if (!this.#hasReference()) return { measured: ratio, ...this.#notEnoughReference() };
      return { measured: ratio, verdict: passIf(ratio !== null && ratio >= least && ratio <= most) };
    });
  }

  #askKinship(sheet: GateSheet, relations: readonly Relation[]): void {
    const [least, most] = this.#policy.kinship;
    sheet.ask('kinship', 'kinship', this.#policy.kinship, () => {
      let sum = 0n;
      for (const { pair } of relations) sum += pair.fixed;
      const mean = meanKinship(sum, relations.length);
      if (!this.#hasReference()) return { measured: mean, ...this.#notEnoughReference() };
      return { measured: mean, verdict: passIf(mean !== null && mean >= least && mean <= most) };
    });
  }

  #see(id: string): void {
    if (this.#seen.has(id)) throw repeated(id);
    this.#seen.add(id);
  }

  #hasReference(): boolean {
    return this.#accepted.size >= this.#policy.minReference;
  }

  #notEnoughReference(): { verdict: 'not enough reference'; note: string } {
    const note = `${this.#accepted.size} of ${this.#policy.minReference} accepted updates`;
    return { verdict: 'not enough reference', note };
  }
}

/** An accepted update and how the candidate compares with it. */
interface Relation {
  readonly id: string;
  readonly pair: Pair;
}

function askEquivocation(sheet: GateSheet, candidate: Candidate): void {
  sheet.ask('equivocation', 'equivocation', 'one record per seq', () =>
    candidate.equivocation === true
      ? { measured: 'two records with one seq', verdict: 'fail' }
      : { measured: 'one record per seq', verdict: 'pass' },
  );
}

function askMembership(sheet: GateSheet, { member }: Candidate): void {
  sheet.ask('membership', 'membership', 'a member', () =>
    member === false
      ? { measured: 'not a member', verdict: 'fail', note: 'by the rules that are sealed so far' }
      : { measured: 'a member', verdict: 'pass' },
  );
}

function askBudget(sheet: GateSheet, budget: BudgetUse | undefined): void {
  if (budget === undefined) return;
  const { updates, bytes, most } = budget;
  sheet.ask('budget', 'updates', most.updates, () => ({ measured: updates, verdict: passIf(updates <= most.updates) }));
  sheet.ask('budget', 'update bytes', most.bytes, () => ({ measured: bytes, verdict: passIf(bytes <= most.bytes) }));
}

/** Absolute limits. Each comparison is written so that a NaN fails it. */
function askBounds(sheet: GateSheet, payload: Candidate['payload'], policy: AdmissionPolicy): void {
  sheet.ask('bounds', 'payload', 'decodes', () =>
    'fault' in payload
      ? { measured: payload.fault, verdict: 'fail', note: payload.message }
      : { measured: 'decodes', verdict: 'pass' },
  );
  const atMost = (check: string, limit: number, value: (measure: PayloadMeasure) => number) =>
    sheet.ask('bounds', check, limit, () => {
      const measured = 'fault' in payload ? Number.NaN : value(payload);
      return { measured, verdict: passIf(measured <= limit) };
    });
  atMost('bytes', policy.maxPayloadBytes, (measure) => measure.bytes);
  sheet.ask('bounds', 'not zero', 'above 0', () => {
    const measured = 'fault' in payload ? 0 : payload.norm;
    return { measured, verdict: passIf(measured > 0) };
  });
  atMost('density', policy.maxDensity, (measure) => measure.nnz / measure.elements);
  atMost('absolute norm', policy.maxNorm, (measure) => measure.norm);
  atMost('scale', policy.maxScale, (measure) => {
    let largest = 0;
    for (const { scale, peak } of measure.tensors) largest = Math.max(largest, scale * peak);
    return largest;
  });
}

/** The mean over many accepted updates dilutes a copy or a negative of one of them: these gates look at the extremes. */
function askDuplicate(sheet: GateSheet, relations: readonly Relation[], policy: AdmissionPolicy): void {
  sheet.ask('duplicate', 'duplicate', policy.duplicate, () =>
    extreme(
      relations,
      (cosine, best) => cosine > best,
      (cosine) => cosine <= policy.duplicate,
    ),
  );
}

function askOpposite(sheet: GateSheet, relations: readonly Relation[], policy: AdmissionPolicy): void {
  sheet.ask('opposite', 'opposite', policy.opposite, () =>
    extreme(
      relations,
      (cosine, best) => cosine < best,
      (cosine) => cosine >= policy.opposite,
    ),
  );
}

/** Judges the most extreme cosine to an accepted update, the earliest of equals; an undefined one fails at once. */
function extreme(
  relations: readonly Relation[],
  exceeds: (cosine: number, best: number) => boolean,
  passes: (cosine: number) => boolean,
): Outcome {
  let found: { id: string; cosine: number } | undefined;
  for (const { id, pair } of relations) {
    const { cosine } = pair;
    if (cosine === null || Number.isNaN(cosine)) {
      return { measured: null, verdict: 'fail', other: id, note: 'undefined similarity' };
    }
    if (found === undefined || exceeds(cosine, found.cosine)) found = { id, cosine };
  }
  if (found === undefined) return { measured: null, verdict: 'pass', note: 'no accepted update yet' };
  return { measured: found.cosine, verdict: passIf(passes(found.cosine)), other: found.id };
}

function repeated(id: string): KinshipError {
  return new KinshipError('REPEATED_CANDIDATE', `Update ${id} stands twice in the order.`, { id });
}
