import { InvalidArgumentError } from 'commander';

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

/** A share above 0 and at most 1, or a usage error. */
export function parseShare(text: string): number {
  const value = parseNumber(text);
  if (value > 0 && value <= 1) return value;
  throw new InvalidArgumentError(`${text} is not a share above 0 and at most 1.`);
}

/** Collects a repeatable option. */
export function collect(value: string, previous: readonly string[] = []): string[] {
  return [...previous, value];
}
