import { z } from 'zod';
import { KinshipError, type KinshipErrorCode } from './errors.ts';
import { MAX_KINSHIP_UPDATES } from './state.ts';

/**
 * When an update is accepted. All limits are inclusive: an update is declined beyond them, not at them. The charter
 * carries the policy, so every node of a community applies the same numbers.
 */
export interface AdmissionPolicy {
  /** Cosine to one accepted update above which an update is a duplicate of it. In (opposite, 1]; 1 turns the gate off. */
  readonly duplicate: number;
  /** Cosine to one accepted update below which an update works against it. In [-1, duplicate); -1 turns the gate off. */
  readonly opposite: number;
  /** Lowest and highest mean pairwise cosine to all accepted updates. */
  readonly kinship: readonly [number, number];
  /** Smallest and largest norm relative to the median norm of the accepted updates. Encloses 1. */
  readonly normRatio: readonly [number, number];
  /** Accepted updates from which on the relative norm and kinship gates apply. An integer from 1. */
  readonly minReference: number;
  /** Largest norm of an update, absolute. */
  readonly maxNorm: number;
  /**
   * How far an update may move a single weight, absolute: the largest scale of a ternary tensor, and of a low-rank one
   * its scale times the largest integer of its product.
   */
  readonly maxScale: number;
  /** Largest number of coded entries as a share of the whole table's elements. */
  readonly maxDensity: number;
  /** Largest payload, in bytes. */
  readonly maxPayloadBytes: number;
}

/** Largest payload unless a charter says otherwise: 2 GiB, a 7-billion-parameter update at density 0.5 and to spare. */
export const DEFAULT_MAX_PAYLOAD_BYTES = 2 ** 31;

/** The part of the default policy that holds for every base. */
export const DEFAULT_POLICY = {
  duplicate: 0.95,
  opposite: -0.5,
  kinship: [-0.1, 0.9],
  normRatio: [1 / 3, 3],
  minReference: 3,
  // The densest setting of the ComPEFT grid (docs/algorithms.md B.2). Beyond it the signs are mostly those of noise.
  maxDensity: 0.5,
  maxPayloadBytes: DEFAULT_MAX_PAYLOAD_BYTES,
} as const satisfies Omit<AdmissionPolicy, 'maxNorm' | 'maxScale'>;

/**
 * Largest update norm as a share of the base's norm. Eight honest fine-tunes, compressed in the default form, measured
 * 0.07 to 0.10 at 20 % density, and 0.09 to 0.13 at 5 %.
 */
export const MAX_NORM_TO_BASE = 0.2;

/**
 * Largest entry of an update in units of the base's root mean square weight. An update that keeps one weight in a
 * hundred meets the norm limit at 0.2 / √0.01 = 2, so this one stops only updates that concentrate their norm on fewer
 * weights than that. In the default form, with its scale per tensor, the largest entries of eight honest fine-tunes
 * measured 0.26 to 0.52 at 20 % density and 0.72 to 1.17 at 5 %; with one scale, 0.15 to 0.22 at 20 %.
 */
export const MAX_SCALE_TO_BASE = 2;

/**
 * The default policy with the absolute limits of one base, or with other limits where given.
 *
 * @param base - per float tensor of the base, in table order, its element count and float64 sum of squares
 * @throws KinshipError BASE_UNUSABLE for a base of zeros; POLICY_* when the given limits do not make a policy
 */
export function policyForBase(
  base: Iterable<{ readonly elements: number; readonly sumSquares: number }>,
  limits: Partial<AdmissionPolicy> = {},
): AdmissionPolicy {
  let elements = 0;
  let sumSquares = 0;
  for (const tensor of base) {
    elements += tensor.elements;
    sumSquares += tensor.sumSquares;
  }
  const norm = Math.sqrt(sumSquares);
  if (!(norm > 0 && norm < Number.POSITIVE_INFINITY)) {
    throw new KinshipError('BASE_UNUSABLE', `The base's norm is ${norm}: choose a trained base checkpoint.`, { norm });
  }
  return parsePolicy({
    ...DEFAULT_POLICY,
    maxNorm: MAX_NORM_TO_BASE * norm,
    maxScale: MAX_SCALE_TO_BASE * Math.sqrt(sumSquares / elements),
    ...limits,
  });
}

/** The fields of a policy and their types; `parsePolicy` checks their values too. */
export const POLICY_SHAPE = z.strictObject({
  duplicate: z.number(),
  opposite: z.number(),
  kinship: z.tuple([z.number(), z.number()]),
  normRatio: z.tuple([z.number(), z.number()]),
  minReference: z.number(),
  maxNorm: z.number(),
  maxScale: z.number(),
  maxDensity: z.number(),
  maxPayloadBytes: z.number(),
});
const SHAPE_FIELDS = Object.keys(POLICY_SHAPE.shape);

/**
 * Checks a policy that came from outside, such as a charter's, and returns a copy of it.
 *
 * @throws KinshipError POLICY_FIELDS, POLICY_NOT_FINITE, POLICY_RANGE, POLICY_ORDER; `fields.field` names the limit
 */
export function parsePolicy(value: unknown): AdmissionPolicy {
  const parsed = POLICY_SHAPE.safeParse(value);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const field = String(issue.path[0] ?? '');
    const given = field === '' ? undefined : (value as Record<string, unknown>)[field];
    const notFinite = [given].flat().some((part) => typeof part === 'number' && !Number.isFinite(part));
    if (notFinite) throw invalid('POLICY_NOT_FINITE', field, 'must be finite');
    throw invalid(
      'POLICY_FIELDS',
      field,
      `a policy has exactly the fields ${SHAPE_FIELDS.join(', ')}: ${issue.message}`,
    );
  }
  const policy = parsed.data;
  const { duplicate, opposite, kinship, normRatio } = policy;
  for (const [field, cosine] of Object.entries({
    duplicate,
    opposite,
    'kinship[0]': kinship[0],
    'kinship[1]': kinship[1],
  })) {
    within(field, cosine, -1, 1);
  }
  within('minReference', policy.minReference, 1, MAX_KINSHIP_UPDATES, 'integer');
  within('maxPayloadBytes', policy.maxPayloadBytes, 1, Number.MAX_SAFE_INTEGER, 'integer');
  within('maxDensity', policy.maxDensity, Number.MIN_VALUE, 1);
  within('maxNorm', policy.maxNorm, Number.MIN_VALUE, Number.MAX_VALUE);
  within('maxScale', policy.maxScale, Number.MIN_VALUE, Number.MAX_VALUE);
  within('normRatio[0]', normRatio[0], 0, 1);
  within('normRatio[1]', normRatio[1], 1, Number.MAX_VALUE);
  if (!(opposite < duplicate)) throw invalid('POLICY_ORDER', 'opposite', 'must be below duplicate');
  if (!(kinship[0] < kinship[1])) throw invalid('POLICY_ORDER', 'kinship', 'must ascend');
  return policy;
}

function within(field: string, value: number, least: number, most: number, kind?: 'integer'): void {
  if (value >= least && value <= most && (kind === undefined || Number.isInteger(value))) return;
  throw invalid('POLICY_RANGE', field, `must be ${kind ?? 'a number'} in ${least} to ${most}, not ${value}`);
}

function invalid(code: KinshipErrorCode, field: string, problem: string): KinshipError {
  return new KinshipError(code, `Admission policy, ${field === '' ? 'whole' : field}: ${problem}.`, { field });
}
