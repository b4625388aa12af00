/** Errors on their way from another thread or process. */
import { KinmergeError } from '../errors.ts';
import { ComputeError, type ComputeErrorCode } from './errors.ts';

/** An error as plain data. */
export interface Failure {
  /** A ComputeErrorCode, or empty for an error that is not ours. */
  readonly code: string;
  readonly message: string;
  readonly fields: Readonly<Record<string, unknown>>;
}

const CODES: ReadonlySet<string> = new Set<ComputeErrorCode>([
  'BAD_JOB',
  'EIGENSOLVER_UNAVAILABLE',
  'NON_FINITE',
  'INVARIANT_BROKEN',
  'RUNTIME_FAILED',
]);

export function failureOf(error: unknown): Failure {
  if (error instanceof KinmergeError) return { code: error.code, message: error.message, fields: error.fields };
  return { code: '', message: String(error), fields: {} };
}

export function errorOf({ code, message, fields }: Failure): ComputeError {
  return new ComputeError(CODES.has(code) ? (code as ComputeErrorCode) : 'RUNTIME_FAILED', message, { ...fields });
}
