/** Checks on what a fold is given, before anything is written. */
import { lstat } from 'node:fs/promises';
import { MergeError } from './errors.ts';
import { OPCM_VARIANTS, type OpcmRule } from './opcm.ts';
import type { MergeState } from './state.ts';
import type { FoldTensor } from './task-vector.ts';

/** @throws MergeError `BAD_INPUT` */
export function checkRule(rule: OpcmRule): void {
  if (!OPCM_VARIANTS.includes(rule.variant)) {
    throw new MergeError(
      'BAD_INPUT',
      `There is no OPCM variant '${rule.variant}'. Use ${OPCM_VARIANTS.join(' or ')}.`,
      {
        variant: rule.variant,
      },
    );
  }
  if (!(Number.isFinite(rule.alpha) && rule.alpha >= 0)) {
    throw new MergeError('BAD_INPUT', 'alpha must be a finite number >= 0.', { alpha: rule.alpha });
  }
}

/** @throws MergeError `BAD_INPUT` */
export function checkTensors(tensors: readonly FoldTensor[]): void {
  const names = new Set<string>();
  for (const { name, shape, linear } of tensors) {
    const fail = (message: string): never => {
      throw new MergeError('BAD_INPUT', `Tensor '${name}': ${message}`, { tensor: name, shape, linear });
    };
    if (names.has(name)) fail('it is listed twice.');
    names.add(name);
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) fail('its shape is not one.');
    if (linear && shape.length !== 2) fail('only a matrix can be linear; take it off the list of linear tensors.');
  }
}

/** @throws MergeError `BAD_INPUT` */
export function checkNorm(norm: number | undefined): void {
  if (norm === undefined || (Number.isFinite(norm) && norm >= 0)) return;
  throw new MergeError('BAD_INPUT', "The update's norm must be a finite number >= 0.", { norm });
}

/** @throws MergeError `STATE_MISMATCH` */
export function checkContinues(state: MergeState, tensors: readonly FoldTensor[], rule: OpcmRule): void {
  const { path } = state;
  if (state.rule.variant !== rule.variant || state.rule.alpha !== rule.alpha) {
    throw new MergeError(
      'STATE_MISMATCH',
      `The merge state in ${path} was made under another rule. Fold again from the first update.`,
      { path, found: state.rule, expected: { variant: rule.variant, alpha: rule.alpha } },
    );
  }
  const describe = (tensor: FoldTensor): string => `${tensor.linear} [${tensor.shape.join()}] ${tensor.name}`;
  const count = Math.max(state.tensors.length, tensors.length);
  for (let i = 0; i < count; i++) {
    const found = state.tensors[i];
    const expected = tensors[i];
    if (found !== undefined && expected !== undefined && describe(found) === describe(expected)) continue;
    throw new MergeError(
      'STATE_MISMATCH',
      `The merge state in ${path} was made for other tensors. Fold again from the first update.`,
      { path, index: i, found: found?.name ?? null, expected: expected?.name ?? null },
    );
  }
}

/** @throws MergeError `TARGET_EXISTS` */
export async function checkAbsent(path: string): Promise<void> {
  const found = await lstat(path).catch(() => null);
  if (found === null) return;
  throw new MergeError('TARGET_EXISTS', `${path} exists already. Choose another directory or remove it.`, { path });
}
