/** Payloads known by size that no record names yet, at most: a payload may arrive just before its record. */
export const MAX_LOOSE_PAYLOADS = 1024;

interface Fact {
  size: number | undefined;
  stored: boolean;
  /** Keys of waiting records that name the payload. */
  readonly users: Set<string>;
  /** A held record names it. */
  pinned: boolean;
}

/** What is known of payloads: size by a verified manifest, and whether all bytes are stored and verified. */
export class PayloadFacts {
  readonly #facts = new Map<string, Fact>();
  readonly #loose = new Set<string>();

  size(payload: string): number | undefined {
    return this.#facts.get(payload)?.size;
  }

  stored(payload: string): boolean {
    return this.#facts.get(payload)?.stored ?? false;
  }

  /** Notes what became known; returns the waiting records that it concerns. */
  learn(payload: string, size: number, stored: boolean): readonly string[] {
    const fact = this.#fact(payload);
    const news = fact.size === undefined || (stored && !fact.stored);
    fact.size ??= size;
    fact.stored ||= stored;
    this.#sort(payload, fact);
    return news ? [...fact.users] : [];
  }

  use(payload: string, record: string): void {
    const fact = this.#fact(payload);
    fact.users.add(record);
    this.#sort(payload, fact);
  }

  release(payload: string, record: string): void {
    const fact = this.#facts.get(payload);
    if (fact === undefined) return;
    fact.users.delete(record);
    this.#sort(payload, fact);
  }

  /** A record that names it is held: the fact is kept for good. */
  pin(payload: string, record: string): void {
    const fact = this.#fact(payload);
    fact.users.delete(record);
    fact.pinned = true;
    this.#loose.delete(payload);
  }

  #fact(payload: string): Fact {
    let fact = this.#facts.get(payload);
    if (fact === undefined) {
      fact = { size: undefined, stored: false, users: new Set(), pinned: false };
      this.#facts.set(payload, fact);
    }
    return fact;
  }

  #sort(payload: string, fact: Fact): void {
    if (fact.pinned || fact.users.size > 0) {
      this.#loose.delete(payload);
      return;
    }
    if (fact.size === undefined) {
      this.#facts.delete(payload);
      return;
    }
    this.#loose.add(payload);
    if (this.#loose.size > MAX_LOOSE_PAYLOADS) {
      const [oldest] = this.#loose;
      this.#loose.delete(oldest!);
      this.#facts.delete(oldest!);
    }
  }
}
