import type { CID } from 'multiformats/cid';
import type { AdmissionPolicy, BudgetUse, Decision } from '../kinship/index.ts';
import { GATES } from '../kinship/index.ts';

/** One update as admission needs it. */
export interface JudgedUpdate {
  readonly id: string;
  readonly cid: CID;
  readonly payload: CID;
  /** The author signed two records with one `seq`, up to this section, and this is one of them or later. */
  readonly equivocation: boolean;
  /** By the rules in effect. */
  readonly member: boolean;
  readonly budget: BudgetUse;
}

/**
 * What happens in the canonical order, one after the other: limits come into effect, an update is decided on, an update is
 * taken out. An `adopted` decision is a sealer's: it is taken as it is.
 */
export type Step =
  | { readonly kind: 'policy'; readonly policy: AdmissionPolicy }
  | { readonly kind: 'update'; readonly update: JudgedUpdate; readonly adopted?: AdoptedDecision }
  | { readonly kind: 'take-out'; readonly update: string };

export interface AdoptedDecision {
  readonly accepted: boolean;
  readonly gate: Decision['gate'];
}

/** What a step came to: a decision, whether something was taken out, or nothing. */
export type StepResult = Decision | boolean | null;

/** Two steps with one key have the same result after the same steps. */
export function stepKey(step: Step): string {
  switch (step.kind) {
    case 'policy':
      return `policy ${JSON.stringify(step.policy)}`;
    case 'take-out':
      return `out ${step.update}`;
    case 'update': {
      const { id, equivocation, member, budget } = step.update;
      const { updates, bytes, most } = budget;
      const within = `${updates}/${most.updates} ${bytes}/${most.bytes}`;
      const adopted = step.adopted === undefined ? '' : ` adopted ${step.adopted.gate}`;
      return `update ${id} ${equivocation} ${member} ${within}${adopted}`;
    }
  }
}

/** The byte of a decision in a seal: 0, or the number of the gate that declined it. */
export function decisionByte({ gate }: Pick<Decision, 'gate'>): number {
  return gate === null ? 0 : GATES.indexOf(gate) + 1;
}

/** The decision of a seal's byte; undefined for a byte that is none. */
export function adoptedDecision(byte: number): AdoptedDecision | undefined {
  if (byte === 0) return { accepted: true, gate: null };
  const gate = GATES[byte - 1];
  return gate === undefined ? undefined : { accepted: false, gate };
}
