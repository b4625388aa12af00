import type { Command } from 'commander';
import type { AdmissionPolicy } from '../../../src/kinship/index.ts';
import { parseCount, parseNumber } from '../parse.ts';

/** Admission limits, as `community create`, `policy set` and `policy dry-run` take them. */
export interface LimitOptions {
  readonly duplicate?: number;
  readonly opposite?: number;
  readonly kinshipMin?: number;
  readonly kinshipMax?: number;
  readonly normMin?: number;
  readonly normMax?: number;
  readonly minReference?: number;
  readonly maxPayload?: number;
  readonly maxDensity?: number;
}

export function withLimitOptions(command: Command): Command {
  return command
    .option('--duplicate <cosine>', 'decline above this cosine to one accepted update', parseNumber)
    .option('--opposite <cosine>', 'decline below this cosine to one accepted update', parseNumber)
    .option('--kinship-min <cosine>', 'lowest mean cosine to the accepted updates', parseNumber)
    .option('--kinship-max <cosine>', 'highest mean cosine to the accepted updates', parseNumber)
    .option('--norm-min <ratio>', 'smallest norm relative to the median of the accepted', parseNumber)
    .option('--norm-max <ratio>', 'largest norm relative to the median of the accepted', parseNumber)
    .option('--min-reference <n>', 'accepted updates from which on the relative gates apply', parseCount)
    .option('--max-payload <bytes>', 'largest payload', parseCount)
    .option('--max-density <share>', 'largest share of non-zero entries', parseNumber);
}

/** The limits that were given; `otherwise` has the other half of a band of which one was. */
export function limitsFrom(
  options: LimitOptions,
  otherwise: Pick<AdmissionPolicy, 'kinship' | 'normRatio'>,
): Partial<AdmissionPolicy> {
  const pair = (low: number | undefined, high: number | undefined, fallback: readonly [number, number]) =>
    low === undefined && high === undefined ? undefined : ([low ?? fallback[0], high ?? fallback[1]] as const);
  const limits = {
    duplicate: options.duplicate,
    opposite: options.opposite,
    kinship: pair(options.kinshipMin, options.kinshipMax, otherwise.kinship),
    normRatio: pair(options.normMin, options.normMax, otherwise.normRatio),
    minReference: options.minReference,
    maxPayloadBytes: options.maxPayload,
    maxDensity: options.maxDensity,
  };
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}
