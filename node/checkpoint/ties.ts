import type { VerifyReport } from '../../src/merge/index.ts';

/**
 * Folds of the whole recipe, beyond the first, that a verification may take to find the sides that another machine's
 * rounding took. Ties are rare: each needs a running share within 1e-9 of alpha. Eight settle three of them for
 * certain, and more where each turned side shows in the comparison; a forger cannot make it last longer.
 */
export const TIE_REFOLDS_MAX = 8;

/** A place where alpha falls on the running share of a sum: rounding decides which of two split ranks is taken. */
export interface Tie {
  /** Place of the update in the recipe, from 0. */
  readonly step: number;
  readonly tensor: string;
  /** What this machine's spectrum gives, and the split rank beside it. */
  readonly splitRank: number;
  readonly splitNeighbour: number;
  /** Which of the two this fold took. */
  readonly taken: number;
}

/** One fold of the recipe, with the ties met in it, and how the checkpoint compares. */
export interface Attempt {
  readonly ties: readonly Tie[];
  readonly report: VerifyReport;
}

/**
 * Looks for sides of the ties with which the checkpoint passes: both split ranks of a tie are right. Tensors do not
 * depend on each other but for the common lambda, so what brings more tensors to pass is followed first.
 *
 * @param attempt - folds with these ties turned to their neighbour, and compares
 * @returns the first attempt that passes, or the one with this machine's own sides
 */
export async function settleTies(
  attempt: (turned: readonly Tie[]) => Promise<Attempt>,
): Promise<Attempt & { readonly refolds: number }> {
  const own = await attempt([]);
  let refolds = 0;
  const open = own.report.verdict === 'pass' ? [] : continuations(own, []);
  while (open.length > 0 && refolds < TIE_REFOLDS_MAX) {
    open.sort((a, b) => a.failed - b.failed || a.turned.length - b.turned.length);
    const { turned } = open.shift()!;
    refolds++;
    const next = await attempt(turned);
    if (next.report.verdict === 'pass') return { ...next, refolds };
    open.push(...continuations(next, turned));
  }
  return { ...own, refolds };
}

interface Candidate {
  readonly turned: readonly Tie[];
  /** Tensors that failed before the last tie was turned. */
  readonly failed: number;
}

/** One more tie turned: in a tensor that did not pass, and after the turned ones in table order, so that no set recurs. */
function continuations({ ties, report }: Attempt, turned: readonly Tie[]): Candidate[] {
  const verdicts = new Map(report.tensors.map(({ name, verdict }) => [name, verdict]));
  const failed = report.tensors.filter(({ verdict }) => verdict === 'fail').length;
  const last = turned.at(-1);
  return ties
    .filter((tie) => verdicts.get(tie.tensor) !== 'pass' && (last === undefined || isAfter(tie, last)))
    .map((tie) => ({ turned: [...turned, tie], failed }));
}

/** By tensor, and within one by step: what a turned side changes of a tensor lies in its later steps. */
function isAfter(a: Tie, b: Tie): boolean {
  return a.tensor === b.tensor ? a.step > b.step : a.tensor > b.tensor;
}
