import { InvalidArgumentError } from 'commander';
import { WORKERS_MAX } from '../../src/compute/engine.ts';
import { LogError } from '../../src/log/errors.ts';
import { keyFromText } from '../../src/log/keys.ts';
import { MIN_DISK_LIMIT } from '../core/limits.ts';

/** A finite decimal number, or a usage error. */
export function parseNumber(text: string): number {
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value)) throw new InvalidArgumentError(`${JSON.stringify(text)} is not a number.`);
  return value;
}

/** A whole number from 0, or a usage error. */
export function parseCount(text: string): number {
  const value = parseNumber(text);
  if (!Number.isSafeInteger(value) || value < 0)
    throw new InvalidArgumentError(`${text} is not a whole number from 0.`);
  return value;
}

/** A whole number from 1, or a usage error. */
export function parsePositiveCount(text: string): number {
  const value = parseNumber(text);
  if (Number.isSafeInteger(value) && value >= 1) return value;
  throw new InvalidArgumentError(`${text} is not a whole number from 1.`);
}

/** A number above 0, or a usage error. */
export function parsePositive(text: string): number {
  const value = parseNumber(text);
  if (value > 0) return value;
  throw new InvalidArgumentError(`${text} is not above 0.`);
}

/** Collects public keys in their text form, each once; or a usage error. */
export function collectKeys(text: string, previous: readonly string[] = []): string[] {
  try {
    keyFromText(text);
  } catch (error) {
    if (!(error instanceof LogError)) throw error;
    throw new InvalidArgumentError(`${error.message}. \`kinmerge status\` prints that of its home as author.`);
  }
  return previous.includes(text) ? [...previous] : [...previous, text];
}

/** A share above 0 and at most 1, or a usage error. */
export function parseShare(text: string): number {
  const value = parseNumber(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError(`${text} is not a share above 0 and at most 1.`);
}

/** Threads for matrix work, or a usage error. */
export function parseWorkers(text: string): number {
  const value = parseNumber(text);
  if (Number.isInteger(value) && value >= 1 && value <= WORKERS_MAX) return value;
  throw new InvalidArgumentError(`${text} is not a whole number from 1 to ${WORKERS_MAX}.`);
}

const SIZE_UNITS: Readonly<Record<string, number>> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 2 ** 10,
  mib: 2 ** 20,
  gib: 2 ** 30,
  tib: 2 ** 40,
};

/** Bytes from text such as `4GiB`, `1.5 GB` or `800000000`, rounded down to a whole number from 1; or a usage error. */
export function parseSize(text: string): number {
  const [, digits, unit = ''] = /^\s*(\d{1,16}(?:\.\d{1,16})?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const factor = SIZE_UNITS[unit.toLowerCase()];
  const bytes = digits === undefined || factor === undefined ? Number.NaN : Math.floor(Number(digits) * factor);
  if (bytes >= 1 && bytes <= Number.MAX_SAFE_INTEGER) return bytes;
  throw new InvalidArgumentError(
    `${JSON.stringify(text)} is not a size: give bytes from 1, or a number with kB, MB, GB, TB, KiB, MiB, GiB or TiB.`,
  );
}

/** A cap for a home: a size from `MIN_DISK_LIMIT`, or a usage error. */
export function parseDiskLimit(text: string): number {
  const bytes = parseSize(text);
  if (bytes >= MIN_DISK_LIMIT) return bytes;
  throw new InvalidArgumentError(`a home cannot do with less than ${MIN_DISK_LIMIT} bytes.`);
}

/** Collects a repeatable option. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}
