/**
 * The symmetric eigenproblem, in float64 on the CPU on every backend, by one of two solvers.
 *
 * - `solver.ts`: what a solver is, and the treatment that both share
 * - `lapack.ts`, `library.ts`: the platform's LAPACK, where one is installed
 * - `portable.ts`, `kernel/`: needs nothing installed
 */
import { ComputeError } from '../errors.ts';
import { openLapack } from './lapack.ts';
import { lapackInstallation } from './library.ts';
import { openPortable } from './portable.ts';
import type { Eigensolver, EigensolverName } from './solver.ts';

export { LAPACK_ORDER_MAX } from './lapack.ts';
export { lapackCandidates } from './library.ts';
export { PORTABLE_ORDER_MAX } from './portable.ts';
export type { EigenRequest, Eigensolver, EigensolverName, SymmetricEigen } from './solver.ts';

export const EIGENSOLVERS = ['auto', 'lapack', 'portable'] as const;

/**
 * Opens an eigensolver for the calling thread; several threads of a process may each have one.
 *
 * @param choice - `auto` takes LAPACK where a library is found, else the portable one
 * @param candidates - LAPACK libraries to try, as the platform's loader takes them; default: those usual on the platform
 * @throws ComputeError `EIGENSOLVER_UNAVAILABLE` when `lapack` is asked for and there is none, or for another name
 */
export function openEigensolver(
  choice: 'auto' | EigensolverName = 'auto',
  candidates?: readonly string[],
): Eigensolver {
  if (!EIGENSOLVERS.includes(choice)) {
    const message = `There is no eigensolver '${choice}': choose one of ${EIGENSOLVERS.join(', ')}.`;
    throw new ComputeError('EIGENSOLVER_UNAVAILABLE', message, { choice });
  }
  if (choice === 'portable') return openPortable();
  try {
    return openLapack(candidates);
  } catch (error) {
    if (choice === 'lapack') throw error;
    return openPortable();
  }
}

/** One line how to get the fast solver, or null when it is in use. */
export function eigensolverHint(solver: Pick<Eigensolver, 'name'>): string | null {
  if (solver.name === 'lapack') return null;
  return `Merging is faster with a LAPACK library: ${lapackInstallation()}.`;
}

export interface EigensolverStatus {
  readonly name: EigensolverName;
  readonly description: string;
  readonly hint: string | null;
}

/** What `openEigensolver` would take here, as plain data. */
export function describeEigensolver(
  choice: 'auto' | EigensolverName = 'auto',
  candidates?: readonly string[],
): EigensolverStatus {
  const solver = openEigensolver(choice, candidates);
  return { name: solver.name, description: solver.description, hint: eigensolverHint(solver) };
}
