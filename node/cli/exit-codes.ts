import { errorCode } from '../../src/errors.ts';

/** Exit codes of the command line; documented in the README and stable. */
export const EXIT = { done: 0, failed: 1, usage: 2, refused: 3, network: 4, interrupted: 130 } as const;

/** Codes that mean "declined or verification failed": what was checked is not what it claims to be, or is unwanted. */
const REFUSED: ReadonlySet<string> = new Set([
  'DECLINED',
  'VERIFY_FAILED',
  'CHARTER_MISMATCH',
  'BASE_MISMATCH',
  'RECIPE_MISMATCH',
  'BAD_SIGNATURE',
]);

/** Codes that mean that the command line, or the configuration that it names, asks for something that cannot be. */
const USAGE: ReadonlySet<string> = new Set([
  'USAGE',
  'CONFIG_INVALID',
  'CONFIG_UNREADABLE',
  'BAD_PARAMETER',
  'BAD_CHOICE',
  'POLICY_RANGE',
  'POLICY_ORDER',
  'POLICY_NOT_FINITE',
  'DEVICE_UNAVAILABLE',
  'EIGENSOLVER_UNAVAILABLE',
  'NO_TESTS',
  'INPUT_UNKNOWN',
  'OUTPUT_UNKNOWN',
]);

export function exitCodeFor(error: unknown): number {
  const code = errorCode(error);
  if (USAGE.has(code)) return EXIT.usage;
  if (code === 'NETWORK_UNREACHABLE') return EXIT.network;
  if (code === 'INTERRUPTED') return EXIT.interrupted;
  return REFUSED.has(code) ? EXIT.refused : EXIT.failed;
}
