/** How a checkpoint may differ from the model that it belongs to, and how that is told and let pass. */
import { quote } from './errors.ts';

/** One difference between a checkpoint and the model that it should fit. */
export interface TensorDifference {
  readonly checkpoint: 'base' | 'fine-tune';
  readonly problem: 'missing' | 'extra' | 'reshaped' | 'not a float tensor';
  readonly tensor: string;
  readonly expected?: readonly number[];
  readonly found?: readonly number[];
  /** Of what is not a float tensor. */
  readonly dtype?: string;
  /** Only in notes: the tensor that is the same one in the model, and stands for it. */
  readonly tiedTo?: string;
}

/** What to do where a fine-tune differs; `error` is the default of each. */
export interface AlignPolicy {
  /** `unchanged`: what the fine-tune lacks is as in the base. */
  readonly missing?: 'error' | 'unchanged';
  /** `ignore`: what the base does not know is left out. */
  readonly extra?: 'error' | 'ignore';
  /** `unchanged`: what has another shape is as in the base. */
  readonly reshaped?: 'error' | 'unchanged';
}

/** Items of a list that a message names; the error's fields have all of them. */
export const SHOWN_DIFFERENCES = 12;

const FLAGS = {
  missing: '`--missing unchanged` keeps missing tensors as they are in the base',
  extra: '`--extra ignore` leaves out extra ones',
  reshaped: '`--reshaped unchanged` keeps reshaped ones as they are in the base',
} as const;

/** Whether the policy lets a difference pass. What is not a float never does: there is no value to take. */
export function isAccepted({ problem }: TensorDifference, policy: AlignPolicy): boolean {
  return problem !== 'not a float tensor' && (policy[problem] ?? 'error') !== 'error';
}

/**
 * The differences as sentences, the first SHOWN_DIFFERENCES of them, and what to do about them.
 *
 * @param flags - whether the caller takes a policy, so that the flags which let them pass are named
 */
export function describeDifferences(differences: readonly TensorDifference[], flags = true): string {
  const lines = differences.map((d) => {
    const shapes = d.problem === 'reshaped' ? ` (expected [${d.expected}], found [${d.found}])` : '';
    const dtype = d.dtype === undefined ? '' : ` but ${d.dtype}`;
    return `${d.checkpoint}: ${quote(d.tensor)} is ${d.problem}${shapes}${dtype}`;
  });
  return `${listSome(lines)}. ${adviceFor(differences, flags)}`;
}

/** The first SHOWN_DIFFERENCES of a list, and how many there are beyond. */
export function listSome(items: readonly string[]): string {
  const more = items.length > SHOWN_DIFFERENCES ? `; and ${items.length - SHOWN_DIFFERENCES} more` : '';
  return `${items.slice(0, SHOWN_DIFFERENCES).join('; ')}${more}`;
}

function adviceFor(differences: readonly TensorDifference[], named: boolean): string {
  // No flag helps while the base itself is another model than the table says.
  if (differences.some((d) => d.checkpoint === 'base')) return 'Name the base that the table was made from.';
  const flags = (['missing', 'extra', 'reshaped'] as const).filter((problem) =>
    differences.some((d) => d.problem === problem),
  );
  if (flags.length === 0) return 'Use the unquantised weights.';
  if (!named) return 'Name the base that it was made from.';
  return `Name the base that it was made from, or, if that is meant: ${flags.map((flag) => FLAGS[flag]).join('; ')}.`;
}
