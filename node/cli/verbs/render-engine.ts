import type { EigensolverStatus, Phase } from '../../../src/compute/index.ts';

/** Rows of a table of names and values: which eigensolver runs, and how to get a faster one. */
export function eigensolverRows({ description, hint }: EigensolverStatus): string[][] {
  return [['eigensolver', description], ...(hint === null ? [] : [['', hint]])];
}

/** A line on where the time of matrix work went; rates are of the products, per thread. */
export function phasesLine(phases: readonly Phase[]): string {
  return phases
    .map(({ name, device, seconds, gflop }) => {
      const rate = gflop > 0 && seconds > 0 ? ` at ${(gflop / seconds).toFixed(1)} GFLOP/s` : '';
      return `${name}${device === 'cpu' ? '' : ` on ${device}`} ${seconds.toFixed(2)} s${rate}`;
    })
    .join(', ');
}
