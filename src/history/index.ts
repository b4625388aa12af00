/**
 * What follows from held records and seals: order, decisions, recipe. The same at every node that holds the same.
 *
 * - `historian`: applies seals and derives the history of everything held; `types`: what comes out
 * - `section`, `epoch-chains`: the order of an epoch or of the tail, and what happens in it
 * - `steps`, `decider`: what happens, step by step, and admission over it
 * - `seal-content`, `propose`: what a seal says, and of which records a node makes one
 *
 * The rules: docs/log-format.md, from _Seal_ on.
 */
export { Decider, type Measured, type Taken } from './decider.ts';
export { type Decide, Historian, type HistorianOptions } from './historian.ts';
export { chooseEpoch } from './propose.ts';
export { adoptedDecision, decisionByte, type JudgedUpdate, type Step, type StepResult, stepKey } from './steps.ts';
export type { AppliedSeal, History, SealAlarm, Snapshot } from './types.ts';
