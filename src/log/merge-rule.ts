import { LogError } from './errors.ts';
import { checkNumber, Fields } from './fields.ts';

/** Largest factor on the exported task vector; measured optima lie between 1 and 3. */
export const MAX_MERGE_SCALE = 1000;

/** How a community merges (docs/algorithms.md C). */
export interface MergeRule {
  readonly method: 'opcm';
  readonly variant: 'ref' | 'lite';
  /** Share of the nuclear norm in the head block, 0 to 1. */
  readonly alpha: number;
  /** Factor on the exported merged task vector, above 0 and at most `MAX_MERGE_SCALE`. */
  readonly scale: number;
}

/** @throws LogError */
export function checkMergeRule(rule: MergeRule, field: string): MergeRule {
  return readMergeRule(new Fields({ ...rule }, field));
}

/** @throws LogError; `ALGORITHM_UNKNOWN` says that a newer program may know the method or the variant */
export function readMergeRule(fields: Fields): MergeRule {
  const method = fields.text('method', { minBytes: 1, maxBytes: 64 });
  if (method !== 'opcm') throw unknown('merge method', method);
  fields.closed(['method', 'variant', 'alpha', 'scale']);
  const variant = fields.text('variant', { minBytes: 1, maxBytes: 64 });
  if (variant !== 'ref' && variant !== 'lite') throw unknown('opcm variant', variant);
  return {
    method,
    variant,
    alpha: checkNumber(fields.raw('alpha'), 'merge.alpha', 0, 1),
    scale: checkNumber(fields.raw('scale'), 'merge.scale', Number.MIN_VALUE, MAX_MERGE_SCALE),
  };
}

function unknown(what: string, value: string): LogError {
  return new LogError('ALGORITHM_UNKNOWN', `this program does not know the ${what} ${value}; a newer one may`, {
    value,
  });
}
