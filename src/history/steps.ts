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
  | UpdateStep
  | { readonly kind: 'take-out'; readonly update: string };

interface UpdateStep {
  readonly kind: 'update';
  readonly update: JudgedUpdate;
  readonly adopted?: AdoptedDecision;
}

export interface AdoptedDecision {
  readonly accepted: boolean;
  readonly gate: Decision['gate'];
}

/** What a step came to: a decision, whether something was taken out, or nothing. */
export type StepResult = Decision | boolean | null;

/** Whether two steps have the same result after the same steps. */
export function isSameStep(a: Step, b: Step): boolean {
  if (a === b) return true;
  if (a.kind === 'update') return b.kind === 'update' && isSameUpdate(a.update, b.update) && isSameAdoption(a, b);
  if (a.kind === 'take-out') return b.kind === 'take-out' && a.update === b.update;
  return b.kind === 'policy' && (a.policy === b.policy || JSON.stringify(a.policy) === JSON.stringify(b.policy));
}

function isSameUpdate(a: JudgedUpdate, b: JudgedUpdate): boolean {
  return (
    a.id === b.id && a.equivocation === b.equivocation && a.member === b.member && isSameBudget(a.budget, b.budget)
  );
}

function isSameBudget(a: BudgetUse, b: BudgetUse): boolean {
  return (
    a.updates === b.updates && a.bytes === b.bytes && a.most.updates === b.most.updates && a.most.bytes === b.most.bytes
  );
}

function isSameAdoption(a: UpdateStep, b: UpdateStep): boolean {
  return (a.adopted === undefined) === (b.adopted === undefined) && a.adopted?.gate === b.adopted?.gate;
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
