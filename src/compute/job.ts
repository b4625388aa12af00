/** Checks on a job before its buffers are given away. */
import { OPCM_VARIANTS } from '../merge/opcm.ts';
import type { ProjectionJob } from './engine.ts';
import { ComputeError } from './errors.ts';

/**
 * Longest short side of a projected matrix: its k x k float64 matrices are addressed with 32-bit element counts, and
 * the eigenproblem grows with its cube.
 */
export const SHORT_SIDE_MAX = 32_768;

/** @throws ComputeError `BAD_JOB` */
export function checkJob(job: ProjectionJob): void {
  const { rows, columns, sum, update, rule } = job;
  const fail = (message: string): never => {
    throw new ComputeError('BAD_JOB', message, { rows, columns, sum: sum.length, update: update.length, rule });
  };
  if (!(Number.isSafeInteger(rows) && Number.isSafeInteger(columns) && rows >= 1 && columns >= 1)) {
    fail(`A projection needs a matrix of at least 1 x 1, not ${rows} x ${columns}.`);
  }
  if (Math.min(rows, columns) > SHORT_SIDE_MAX) {
    fail(`The shorter side of a projected matrix may be ${SHORT_SIDE_MAX} at most: list this tensor as not linear.`);
  }
  if (sum.length !== rows * columns || update.length !== rows * columns) {
    fail(`A ${rows} x ${columns} matrix needs ${rows * columns} entries in the sum and in the update.`);
  }
  if (sum.buffer === update.buffer) fail('The sum and the update must not share one buffer: both are transferred.');
  if (!OPCM_VARIANTS.includes(rule.variant)) fail(`There is no OPCM variant '${rule.variant}'.`);
  if (!(rule.alpha >= 0)) fail('alpha must be a number >= 0.');
}
