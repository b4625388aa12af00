import type { Journal } from './journal.ts';
import { decodeSize, digestOfName, type JournalEntry, KIND } from './journal-format.ts';
import { type Damage, setAside } from './journal-reading.ts';

/** What is known of a payload's bytes. */
export interface PayloadFact {
  readonly size: number;
  /** `collected`: they were stored and have been given up. */
  readonly state: 'stored' | 'collected';
}

/** What a home's journal holds, by the digest of the id in latin1 text. */
export interface HomeContent {
  /** Encoded signed records, in the order in which they came to be held. */
  readonly records: Map<string, Uint8Array>;
  /** Encoded signed seals. */
  readonly seals: Map<string, Uint8Array>;
  readonly payloads: Map<string, PayloadFact>;
  /** What is left of records that cannot be read. */
  readonly damagedRecords: Map<string, Uint8Array>;
  /** Something was damaged: what stands beside it is not taken on trust. */
  readonly damaged: boolean;
}

/**
 * Reads a home's journal.
 *
 * @param options - `repair`: also keep aside what is damaged, and write the journal anew without it; otherwise nothing
 *   changes on disk
 */
export async function readJournal(journal: Journal, { repair }: { repair: boolean }): Promise<HomeContent> {
  const content = {
    records: new Map<string, Uint8Array>(),
    seals: new Map<string, Uint8Array>(),
    payloads: new Map<string, PayloadFact>(),
    damagedRecords: new Map<string, Uint8Array>(),
  };
  const take = (entry: JournalEntry) => takeEntry(content, entry);
  const damage = repair ? await journal.open(take) : await journal.load(take);
  for (const one of damage) {
    if (one.name?.kind === KIND.record) content.damagedRecords.set(keyOf(one.name.digest), one.bytes);
  }
  if (repair && damage.length > 0) {
    await journal.append(damage.filter(isWorthKeeping).map(setAside));
    await journal.compact();
  }
  return { ...content, damaged: damage.length > 0 };
}

/** Facts are found again by looking, manifests by hashing: what is set aside is what cannot be made anew. */
function isWorthKeeping({ name }: Damage): boolean {
  return name === undefined || name.kind === KIND.record || name.kind === KIND.seal;
}

const STATE_OF: Readonly<Record<number, PayloadFact['state']>> = {
  [KIND.stored]: 'stored',
  [KIND.collected]: 'collected',
};

function takeEntry(content: Omit<HomeContent, 'damaged'>, { kind, digest, body }: JournalEntry): void {
  const key = keyOf(digest);
  switch (kind) {
    case KIND.record:
      // A copy: the bytes are those of the whole window.
      content.records.set(key, new Uint8Array(body));
      content.damagedRecords.delete(key);
      break;
    case KIND.seal:
      content.seals.set(key, new Uint8Array(body));
      break;
    case KIND.stored:
    case KIND.collected: {
      const size = decodeSize(body);
      if (size !== undefined) content.payloads.set(key, { size, state: kind === KIND.stored ? 'stored' : 'collected' });
      break;
    }
    case KIND.damaged:
      if (body[0] === KIND.record) content.damagedRecords.set(key, new Uint8Array(body.subarray(1)));
      break;
    case KIND.removed:
      if (body[0] === KIND.record) content.records.delete(key);
      if (body[0] === KIND.seal) content.seals.delete(key);
      if (content.payloads.get(key)?.state === STATE_OF[body[0] ?? 0]) content.payloads.delete(key);
      if (body[0] === KIND.damaged) content.damagedRecords.delete(key);
  }
}

/** A digest as text, for maps. */
export function keyOf(digest: Uint8Array): string {
  return Buffer.from(digest.buffer, digest.byteOffset, digest.byteLength).toString('latin1');
}

/** The digest of such a text. */
export function digestOfKey(key: string): Uint8Array {
  return digestOfName(`\0${key}`);
}
