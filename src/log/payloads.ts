/** Payloads known by size that no record names yet, at most: a payload may arrive just before its record. */
export const MAX_LOOSE_PAYLOADS = 1024;

interface Fact {
  size: number | undefined;
  stored: boolean;
  /** Keys of waiting records that name the payload; null for none, as once they are all held. */
  users: Set<string> | null;
  /** A held record names it. */
  pinned: boolean;
}

/** What is known of payloads: size by a verified manifest, and whether all bytes are stored and verified. */
export class PayloadFacts {
  readonly #facts = new Map<string, Fact>();
  readonly #loose = new Set<string>();
  #waitingBytes = 0;

  /** Bytes of the stored payloads that only waiting records name. */
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** Whether a record, held or waiting, names the payload. */
  used(payload: string): boolean {
    const fact = this.#facts.get(payload);
    return fact !== undefined && (fact.pinned || fact.users !== null);
  }

  /** Keys of the waiting records that name the payload. */
  users(payload: string): ReadonlySet<string> {
    return this.#facts.get(payload)?.users ?? NOBODY;
  }

  /** The bytes of the payload are no longer stored. Payloads of held records always are. */
  forget(payload: string): void {
    const fact = this.#facts.get(payload);
    if (fact === undefined || fact.pinned) return;
    this.#changing(fact, () => {
      fact.stored = false;
    });
  }

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
    this.#changing(fact, () => {
      fact.size ??= size;
      fact.stored ||= stored;
    });
    this.#sort(payload, fact);
    return news && fact.users !== null ? [...fact.users] : [];
  }

  use(payload: string, record: string): void {
    const fact = this.#fact(payload);
    this.#changing(fact, () => {
      fact.users ??= new Set();
      fact.users.add(record);
    });
    this.#sort(payload, fact);
  }

  release(payload: string, record: string): void {
    const fact = this.#facts.get(payload);
    if (fact === undefined) return;
    this.#changing(fact, () => dropUser(fact, record));
    this.#sort(payload, fact);
  }

  /** A record that names it is held: the fact is kept for good. */
  pin(payload: string, record: string): void {
    const fact = this.#fact(payload);
    this.#changing(fact, () => {
      dropUser(fact, record);
      fact.pinned = true;
    });
    this.#loose.delete(payload);
  }

  #changing(fact: Fact, change: () => void): void {
    this.#waitingBytes -= waitingBytesOf(fact);
    change();
    this.#waitingBytes += waitingBytesOf(fact);
  }

  #fact(payload: string): Fact {
    let fact = this.#facts.get(payload);
    if (fact === undefined) {
      fact = { size: undefined, stored: false, users: null, pinned: false };
      this.#facts.set(payload, fact);
    }
    return fact;
  }

  #sort(payload: string, fact: Fact): void {
    if (fact.pinned || fact.users !== null) {
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

const NOBODY: ReadonlySet<string> = new Set();

function dropUser(fact: Fact, record: string): void {
  fact.users?.delete(record);
  if (fact.users?.size === 0) fact.users = null;
}

function waitingBytesOf({ size, stored, users, pinned }: Fact): number {
  return stored && !pinned && users !== null ? (size ?? 0) : 0;
}
