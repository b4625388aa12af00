/** The rule of one standard error: what cannot be told from the best is as good as the best. */
import type { TaskScore } from '../evaluate/index.ts';
import { defaultScaleFactor } from './settings.ts';
import type { EvaluatedSetting } from './types.ts';

export type Tried = Omit<EvaluatedSetting, 'good'>;

/**
 * Standard error of a mean accuracy over tasks, in percentage points: the tasks' binomial errors, independent of each
 * other. One right and one wrong sample are added to each task, so that 0 % and 100 % are not taken for certain.
 */
export function standardErrorOf({ tasks }: { readonly tasks: Readonly<Record<string, TaskScore>> }): number {
  const scores = Object.values(tasks);
  let variance = 0;
  for (const { n, correct } of scores) {
    const share = (correct + 1) / (n + 2);
    variance += (share * (1 - share)) / n;
  }
  return (100 * Math.sqrt(variance)) / scores.length;
}

/** The settings within one standard error of the best. @param tried - at least one */
export function goodSettings(tried: readonly Tried[]): { good: ReadonlySet<Tried>; standardError: number } {
  const best = tried.reduce((a, b) => (b.accuracy > a.accuracy ? b : a));
  const standardError = standardErrorOf(best);
  return { good: new Set(tried.filter((t) => t.accuracy >= best.accuracy - standardError)), standardError };
}

/** Of the smallest density, the setting whose factor is nearest in ratio to the default; the smaller of two. */
export function nearestToDefault(settings: readonly Tried[]): Tried {
  const distance = ({ density, scaleFactor }: Tried) => Math.abs(Math.log(scaleFactor / defaultScaleFactor(density)));
  const density = Math.min(...settings.map((s) => s.density));
  const candidates = settings.filter((s) => s.density === density).sort((a, b) => a.scaleFactor - b.scaleFactor);
  return candidates.reduce((a, b) => (distance(b) < distance(a) ? b : a));
}
