/** Bars: figures with a target that a benchmark must reach. Every declared bar is reported, measured or not. */

export interface BarDefinition {
  readonly id: string;
  readonly what: string;
  /** Of the value. */
  readonly unit: 'ratio' | 'GiB' | 'MB' | 'bytes' | '%';
  readonly target: number;
  readonly sense: 'at most' | 'at least';
  /** What the two numbers are; the value is the first divided by the second. */
  readonly numeratorIs: string;
  readonly denominatorIs: string;
}

/** Two figures of one round, or of a count. */
export interface Fraction {
  readonly numerator: number;
  readonly denominator: number;
}

/** What became of a bar: its figures (of the median round where there were rounds), or why there are none. */
export type BarOutcome = (Fraction & { readonly rounds?: readonly number[] }) | { readonly reason: string };

export interface Bar extends BarDefinition {
  readonly value: number | null;
  readonly numerator: number | null;
  readonly denominator: number | null;
  readonly holds: boolean;
  /** The value of every round, in order. */
  readonly rounds?: readonly number[];
  /** Why there is no value. */
  readonly reason?: string;
}

/** Why a bar that nobody asked for has no value. */
export const NOT_ASKED = 'not asked for: --only names other bars';

/** Joins definitions and outcomes; a bar without an outcome does not hold. */
export function judge(definitions: readonly BarDefinition[], outcomes: ReadonlyMap<string, BarOutcome>): Bar[] {
  for (const id of outcomes.keys()) {
    if (!definitions.some((definition) => definition.id === id)) throw new Error(`the bar ${id} is not declared`);
  }
  return definitions.map((definition) => {
    const outcome = outcomes.get(definition.id) ?? { reason: 'not measured' };
    if ('reason' in outcome) {
      return { ...definition, value: null, numerator: null, denominator: null, holds: false, reason: outcome.reason };
    }
    const value = outcome.numerator / outcome.denominator;
    if (!Number.isFinite(value)) {
      const reason = `no finite value: ${outcome.numerator} / ${outcome.denominator}`;
      return { ...definition, value: null, numerator: null, denominator: null, holds: false, reason };
    }
    const holds = definition.sense === 'at most' ? value <= definition.target : value >= definition.target;
    return { ...definition, value, ...outcome, holds };
  });
}

/** True when `--only` asks for a bar: by its id, or by the first parts of it. */
export function isAsked(id: string, only: readonly string[] | undefined): boolean {
  return only === undefined || only.some((wanted) => id === wanted || id.startsWith(`${wanted}.`));
}
