import type { CID } from 'multiformats/cid';
import { isLogId } from './canonical.ts';
import { LogError } from './errors.ts';
import { checkText, type TextRule } from './text.ts';

/** Reads the fields of one map of a document: every key known, every key there, every value of its type and range. */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #what: string;

  /** @throws LogError `WRONG_TYPE` when the value is not a map */
  constructor(value: unknown, what: string) {
    if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) {
      throw new LogError('WRONG_TYPE', `${what} must be a map`, { field: what });
    }
    this.#values = value as Readonly<Record<string, unknown>>;
    this.#what = what;
  }

  /** @throws LogError `UNKNOWN_FIELD`, `MISSING_FIELD` */
  closed(keys: readonly string[]): this {
    for (const key of Object.keys(this.#values)) {
      if (!keys.includes(key)) {
        throw new LogError('UNKNOWN_FIELD', `${this.#what} has an unknown field ${JSON.stringify(key.slice(0, 80))}`, {
          field: key.slice(0, 80),
        });
      }
    }
    for (const key of keys) this.#own(key);
    return this;
  }

  /** The `version` field, before the keys are checked: a newer version may have other keys. */
  version(known: number): void {
    const version = this.uint('version', 0, Number.MAX_SAFE_INTEGER);
    if (version !== known) {
      throw new LogError('VERSION_UNKNOWN', `${this.#what} has version ${version}; this program knows ${known}`, {
        version,
        known,
      });
    }
  }

  uint(key: string, min: number, max: number): number {
    return checkUint(this.#own(key), this.#name(key), min, max);
  }

  /** A finite number; the bounds are inclusive. */
  number(key: string, min: number, max: number): number {
    return checkNumber(this.#own(key), this.#name(key), min, max);
  }

  boolean(key: string): boolean {
    const value = this.#own(key);
    if (typeof value !== 'boolean') throw wrongType(this.#name(key), 'a boolean');
    return value;
  }

  text(key: string, rule: TextRule): string {
    const value = this.#own(key);
    if (typeof value !== 'string') throw wrongType(this.#name(key), 'a text');
    return checkText(value, this.#name(key), rule);
  }

  bytes(key: string, length: number): Uint8Array {
    return checkBytes(this.#own(key), this.#name(key), length);
  }

  /** Bytes of any length up to a limit. */
  bytesUpTo(key: string, max: number): Uint8Array {
    const value = this.#own(key);
    if (!(value instanceof Uint8Array)) throw wrongType(this.#name(key), 'bytes');
    if (value.length > max) throw outOfRange(`${this.#name(key)} length`, value.length, 0, max);
    return value;
  }

  id(key: string): CID {
    return checkId(this.#own(key), this.#name(key));
  }

  idOrNull(key: string): CID | null {
    return this.#own(key) === null ? null : this.id(key);
  }

  list(key: string, min: number, max: number): readonly unknown[] {
    return checkList(this.#own(key), this.#name(key), min, max);
  }

  raw(key: string): unknown {
    return this.#own(key);
  }

  map(key: string): Fields {
    return new Fields(this.#own(key), this.#name(key));
  }

  #name(key: string): string {
    return `${this.#what}.${key}`;
  }

  #own(key: string): unknown {
    if (!Object.hasOwn(this.#values, key)) {
      throw new LogError('MISSING_FIELD', `${this.#what} has no field ${key}`, { field: key });
    }
    return this.#values[key];
  }
}

export function checkUint(value: unknown, field: string, min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value)) throw wrongType(field, 'an integer');
  if (value < min || value > max) throw outOfRange(field, value, min, max);
  return value;
}

export function checkNumber(value: unknown, field: string, min: number, max: number): number {
  if (typeof value !== 'number') throw wrongType(field, 'a number');
  if (!(value >= min && value <= max)) throw outOfRange(field, value, min, max);
  return value;
}

export function checkBytes(value: unknown, field: string, length: number): Uint8Array {
  if (!(value instanceof Uint8Array)) throw wrongType(field, 'bytes');
  if (value.length !== length) throw outOfRange(`${field} length`, value.length, length, length);
  return value;
}

export function checkList(value: unknown, field: string, min: number, max: number): readonly unknown[] {
  if (!Array.isArray(value)) throw wrongType(field, 'a list');
  if (value.length < min || value.length > max) throw outOfRange(`${field} length`, value.length, min, max);
  return value;
}

export function checkId(value: unknown, field: string): CID {
  if (!isLogId(value)) {
    throw new LogError('BAD_CID', `${field} must be a content id (CIDv1, dag-cbor, sha2-256)`, { field });
  }
  return value;
}

/**
 * Checks that byte strings ascend strictly.
 *
 * @throws LogError `NOT_SORTED`
 */
export function checkAscending<T>(items: readonly T[], field: string, compare: (a: T, b: T) => number): void {
  for (let i = 1; i < items.length; i++) {
    if (compare(items[i - 1]!, items[i]!) >= 0) {
      throw new LogError('NOT_SORTED', `${field} must ascend, each value once (entry ${i})`, { field, entry: i });
    }
  }
}

function wrongType(field: string, expected: string): LogError {
  return new LogError('WRONG_TYPE', `${field} must be ${expected}`, { field, expected });
}

function outOfRange(field: string, value: number, min: number, max: number): LogError {
  return new LogError('OUT_OF_RANGE', `${field} is ${value}; ${min} to ${max} is allowed`, { field, value, min, max });
}
