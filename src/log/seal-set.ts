import type { CID } from 'multiformats/cid';
import { authorKey } from './author-key.ts';
import { compareBytes, idKey } from './canonical.ts';
import { MAX_SEALERS } from './charter-fields.ts';
import { sealEntry } from './entry.ts';
import type { IdTree } from './id-tree.ts';
import type { SealSignature, SignedSeal } from './seal.ts';

/** How far a seal's number may be ahead of those that are known without a gap: what is further ahead comes later. */
export const MAX_SEALS_AHEAD = 1024;
/** Seals kept of one number and one sealer: two are the proof that the sealer signed twice. */
export const MAX_SEALS_PER_SIGNER = 2;

/** What became of a seal that somebody brought. */
export type SealOutcome =
  | 'added'
  | 'known'
  /** None of its signers is or was a sealer, as far as this node knows. */
  | 'untrusted'
  /** It is too far ahead, or a third one of the same sealers and number. */
  | 'refused';

/**
 * The known seals. Which of them are applied follows from them and the held records; here they are only kept, within
 * bounds: of one number and sealer the two with the smallest ids, so that all nodes end up with the same ones.
 */
export class SealSet {
  readonly #byNumber = new Map<number, Map<string, SignedSeal>>();
  readonly #numbers = new Map<string, number>();
  readonly #sealers = new Set<string>();
  /** How many of the seals name a record in their frontier. */
  readonly #frontiers = new Map<string, number>();
  readonly #trees: readonly IdTree[];
  /** Entries by the tree's key. */
  readonly #entries = new Map<string, SignedSeal>();
  #gapless = 0;

  /**
   * @param sealers - the charter's
   * @param trees - get the entry ids of the seals that are kept
   */
  constructor(sealers: readonly Uint8Array[], trees: readonly IdTree[] = []) {
    this.#trees = trees;
    this.trust(sealers);
  }

  get size(): number {
    return this.#numbers.size;
  }

  /** The largest number up to which at least one seal of each number is known. */
  get gapless(): number {
    return this.#gapless;
  }

  has(id: CID): boolean {
    return this.#numbers.has(idKey(id));
  }

  get(id: CID): SignedSeal | undefined {
    const number = this.#numbers.get(idKey(id));
    return number === undefined ? undefined : this.#byNumber.get(number)!.get(idKey(id));
  }

  /** The seal that travels under this id (`sealEntry`). */
  byEntry(id: CID): SignedSeal | undefined {
    return this.#entries.get(idKey(id));
  }

  /**
   * Whether a seal names the record in its frontier.
   *
   * @param record - its key
   */
  hasInFrontier(record: string): boolean {
    return this.#frontiers.has(record);
  }

  /** Those with this number, in no order that means anything. */
  withNumber(number: number): SignedSeal[] {
    return [...(this.#byNumber.get(number)?.values() ?? [])];
  }

  /** All, ascending by number. */
  *values(): Generator<SignedSeal> {
    for (const number of [...this.#byNumber.keys()].sort((a, b) => a - b)) yield* this.withNumber(number);
  }

  /** Notes keys that are sealers now or may have been: of charter and amendments. */
  trust(sealers: readonly Uint8Array[]): void {
    for (const key of sealers) this.#sealers.add(authorKey(key));
  }

  /** What would become of a seal. */
  judge(signed: SignedSeal): SealOutcome {
    const { id, seal } = signed;
    const signers = this.#signers(signed);
    if (signers.length === 0) return 'untrusted';
    const before = this.get(id);
    if (before !== undefined) {
      const known = this.#signers(before);
      return signers.every((signer) => known.includes(signer)) ? 'known' : 'added';
    }
    if (seal.number > this.#gapless + MAX_SEALS_AHEAD) return 'refused';
    return this.#isKept(signed, [...this.withNumber(seal.number), signed]) ? 'added' : 'refused';
  }

  /**
   * Takes a seal. One that is known and brings the signature of another sealer is kept with the signatures of both.
   *
   * @returns what became of it: the seal as it is kept now, and one that made room or was without the signature
   */
  add(signed: SignedSeal): { outcome: SealOutcome; kept?: SignedSeal; dropped?: SignedSeal } {
    const outcome = this.judge(signed);
    if (outcome !== 'added') return { outcome };
    const { id, seal } = signed;
    const others = this.#byNumber.get(seal.number) ?? new Map<string, SignedSeal>();
    const before = others.get(idKey(id));
    const kept = before === undefined ? signed : withSignatures(before, signed.signatures);
    others.set(idKey(id), kept);
    this.#byNumber.set(seal.number, others);
    this.#numbers.set(idKey(id), seal.number);
    while (this.#byNumber.has(this.#gapless + 1)) this.#gapless++;
    this.#list(kept);
    if (before !== undefined) {
      this.#unlist(before);
      return { outcome, kept, dropped: before };
    }
    const dropped = [...others.values()].find((other) => !this.#isKept(other, [...others.values()]));
    if (dropped === undefined) return { outcome, kept };
    others.delete(idKey(dropped.id));
    this.#numbers.delete(idKey(dropped.id));
    this.#unlist(dropped);
    return { outcome, kept, dropped };
  }

  #list(signed: SignedSeal): void {
    const { id } = sealEntry(signed);
    this.#entries.set(idKey(id), signed);
    for (const tree of this.#trees) tree.add(id);
    this.#count(signed, 1);
  }

  #unlist(signed: SignedSeal): void {
    const { id } = sealEntry(signed);
    this.#entries.delete(idKey(id));
    for (const tree of this.#trees) tree.delete(id);
    this.#count(signed, -1);
  }

  #count({ seal }: SignedSeal, change: 1 | -1): void {
    for (const id of seal.frontier) {
      const key = idKey(id);
      const count = (this.#frontiers.get(key) ?? 0) + change;
      if (count > 0) this.#frontiers.set(key, count);
      else this.#frontiers.delete(key);
    }
  }

  /** It is among the two smallest of one of its sealers. */
  #isKept(signed: SignedSeal, others: readonly SignedSeal[]): boolean {
    return this.#signers(signed).some((signer) => {
      const smaller = others.filter(
        (other) => compareBytes(other.id.bytes, signed.id.bytes) < 0 && this.#signers(other).includes(signer),
      );
      return smaller.length < MAX_SEALS_PER_SIGNER;
    });
  }

  #signers({ signatures }: SignedSeal): string[] {
    return signatures.map(({ key }) => authorKey(key)).filter((key) => this.#sealers.has(key));
  }
}

/** The same seal with these signatures besides. */
function withSignatures(signed: SignedSeal, more: readonly SealSignature[]): SignedSeal {
  const all = new Map([...signed.signatures, ...more].map((one) => [authorKey(one.key), one]));
  const signatures = [...all.values()].sort((a, b) => compareBytes(a.key, b.key)).slice(0, MAX_SEALERS);
  return { ...signed, signatures };
}
