/**
 * What follows from held records and seals: order, decisions, recipe. The same at every node that holds the same.
 *
 * - `historian`: applies seals and derives the history of everything held; `types`, `models`: what comes out
 * - `epochs`: what is over; `ahead`: what a seal says of records that are not held yet
 * - `section`, `epoch-chains`: the order of an epoch or of the tail, and what happens in it
 * - `steps`, `decider`: what happens, step by step, and admission over it
 * - `seal-content`, `propose`: what a seal says, and of which records a node makes one
 * - `leave-out`: a model without one of its updates
 *
 * The rules: docs/log-format.md, from _Seal_ on.
 */
export { Decider, type Measured, type Taken } from './decider.ts';
export { HistoryError, type HistoryErrorCode } from './errors.ts';
export { type Decide, Historian, type HistorianOptions } from './historian.ts';
export { leaveOut } from './leave-out.ts';
export { chooseEpoch } from './propose.ts';
export { adoptedDecision, decisionByte, type JudgedUpdate, type Step, type StepResult } from './steps.ts';
export type { AppliedSeal, History, SealAlarm, Snapshot } from './types.ts';
