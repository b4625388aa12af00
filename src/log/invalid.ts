import type { Validity } from './validity.ts';

/** Ids of invalid records that are remembered, at most: their descendants are then refused at once. */
export const MAX_REMEMBERED_INVALID = 4096;

export type Invalid = Validity & { verdict: 'invalid' };

/** The verdict on every descendant of an invalid record. */
export const ANCESTOR_INVALID: Invalid = {
  verdict: 'invalid',
  code: 'ANCESTOR_INVALID',
  message: 'a parent of the record is invalid',
  fields: {},
};

/** The last records that were found invalid, and why. The oldest is forgotten first. */
export class InvalidMemory {
  readonly #verdicts = new Map<string, Invalid>();

  has(key: string): boolean {
    return this.#verdicts.has(key);
  }

  get(key: string): Invalid | undefined {
    return this.#verdicts.get(key);
  }

  remember(key: string, verdict: Invalid): void {
    this.#verdicts.set(key, verdict);
    if (this.#verdicts.size > MAX_REMEMBERED_INVALID) {
      const [oldest] = this.#verdicts.keys();
      this.#verdicts.delete(oldest!);
    }
  }
}
