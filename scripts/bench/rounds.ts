/** Interleaved rounds: what is compared is measured side by side, so that a machine that slows down slows both. */
import type { Fraction } from './bars.ts';

/** Fewest rounds behind a published ratio. */
export const MIN_ROUNDS = 5;

type Steps = Readonly<Record<string, () => Promise<unknown>>>;
type Measured<S extends Steps> = { [K in keyof S]: Awaited<ReturnType<S[K]>> };

/** Runs all steps in order, `rounds` times (A B A B ...), one at a time. */
export async function interleave<S extends Steps>(
  rounds: number,
  steps: S,
  onRound?: (round: number) => void,
): Promise<Measured<S>[]> {
  const out: Measured<S>[] = [];
  for (let round = 0; round < rounds; round++) {
    onRound?.(round);
    const measured: Record<string, unknown> = {};
    for (const [name, step] of Object.entries(steps)) measured[name] = await step();
    out.push(measured as Measured<S>);
  }
  return out;
}

/** The round whose ratio is the median; of an even number the larger middle one. Its ratio and figures agree exactly. */
export function medianRatio(rounds: readonly Fraction[]): Fraction & { readonly rounds: readonly number[] } {
  const sorted = [...rounds].sort((a, b) => a.numerator / a.denominator - b.numerator / b.denominator);
  const middle = sorted[sorted.length >> 1];
  if (middle === undefined) throw new Error('a median of no rounds');
  return { ...middle, rounds: rounds.map(({ numerator, denominator }) => numerator / denominator) };
}

/** The middle value; of an even number the larger middle one. */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted[sorted.length >> 1];
  if (middle === undefined) throw new Error('a median of no values');
  return middle;
}
