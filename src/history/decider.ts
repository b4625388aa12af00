import type { Candidate, PairLookup } from '../kinship/index.ts';
import { Admission } from '../kinship/index.ts';
import type { Step, StepResult } from './steps.ts';
import { isSameStep } from './steps.ts';

/** What one step came to, or the comparisons that it lacks. */
export type Taken = { readonly result: StepResult } | { readonly missing: readonly [string, string][] };

/** What is known of a payload: its measure, or the error that every node gets from its bytes. */
export type Measured = Candidate['payload'];

interface Done {
  readonly step: Step;
  readonly result: StepResult;
  /** Norm of an accepted update. */
  readonly norm: number | null;
}

/**
 * Runs steps through admission and remembers how far they go: an order that shares its beginning with the last one keeps the
 * results of that beginning, without a comparison looked up again.
 */
export class Decider {
  #admission: Admission | null = null;
  #done: Done[] = [];

  /** Ids accepted so far and not taken out. */
  get accepted(): readonly string[] {
    return this.#admission?.accepted ?? [];
  }

  /** Results of the steps so far. */
  get results(): StepResult[] {
    return this.#done.map(({ result }) => result);
  }

  /** Goes back to where these steps and the last ones part; returns how many of them are done. */
  rewind(steps: readonly Step[]): number {
    let same = 0;
    while (same < this.#done.length && same < steps.length && isSameStep(this.#done[same]!.step, steps[same]!)) same++;
    if (same === this.#done.length) return same;
    const kept = this.#done.slice(0, same);
    this.#done = [];
    this.#admission = null;
    for (const done of kept) this.#again(done);
    return same;
  }

  /** A copy that goes its own way from here. */
  fork(): Decider {
    const copy = new Decider();
    for (const done of this.#done) copy.#again(done);
    return copy;
  }

  /** @param measured - of the payload, for an update that is not declined by a sealer's decision. A step that lacks comparisons changes nothing. */
  take(step: Step, measured: Measured | null, pair: PairLookup): Taken {
    const keep = (result: StepResult, norm: number | null = null): Taken => {
      this.#done.push({ step, result, norm });
      return { result };
    };
    if (step.kind === 'policy') {
      this.#setPolicy(step);
      return keep(null);
    }
    const admission = this.#admission;
    if (admission === null) throw new Error('the first step says by which policy');
    if (step.kind === 'take-out') return keep(admission.takeOut(step.update));
    const { update, adopted } = step;
    const norm = measured === null || 'fault' in measured ? null : measured.norm;
    if (adopted !== undefined) {
      if (adopted.accepted && norm === null) throw new Error('what is accepted has a norm');
      admission.assume(update.id, adopted.accepted ? norm : null);
      return keep({ id: update.id, ...adopted, gates: [] }, adopted.accepted ? norm : null);
    }
    if (measured === null) throw new Error('an update is decided by its measure');
    const { id, equivocation, member, budget } = update;
    const next = admission.next({ id, kind: 'update', equivocation, member, budget, payload: measured }, pair);
    if (next.decision === undefined) return { missing: next.missing };
    return keep(next.decision, next.decision.accepted ? norm : null);
  }

  #again(done: Done): void {
    const { step, norm } = done;
    if (step.kind === 'policy') this.#setPolicy(step);
    else if (step.kind === 'take-out') this.#admission!.takeOut(step.update);
    else this.#admission!.assume(step.update.id, norm);
    this.#done.push(done);
  }

  #setPolicy({ policy }: Step & { kind: 'policy' }): void {
    if (this.#admission === null) this.#admission = new Admission(policy);
    else this.#admission.policy = policy;
  }
}
