import type { CID } from 'multiformats/cid';
import {
  type Charter,
  charterRules,
  idKey,
  type Rules,
  type Seal,
  type SignedRecord,
  type SignedSeal,
} from '../log/index.ts';
import { EpochChains } from './epoch-chains.ts';
import { recipeOf } from './models.ts';
import { headsOf } from './propose.ts';
import type { Section } from './section.ts';
import type { JudgedUpdate, Step } from './steps.ts';
import type { AppliedSeal, Snapshot } from './types.ts';

/** An epoch that is over. */
export interface Epoch {
  readonly seal: SignedSeal;
  readonly section: Section;
  readonly steps: readonly Step[];
  readonly applied: AppliedSeal;
  /** Accepted up to its end. */
  readonly accepted: readonly JudgedUpdate[];
  /** The rules after it. */
  readonly after: Rules;
}

/** The epochs that are over, one after another. */
export class Epochs {
  readonly #community: { readonly charter: Charter; readonly charterId: CID };
  #epochs: Epoch[] = [];
  /** Keys of the records in them. */
  #sealed = new Set<string>();
  #chains = new EpochChains();
  #snapshot: { readonly seal: SignedSeal; readonly sealed: Snapshot } | undefined;

  constructor(community: { readonly charter: Charter; readonly charterId: CID }) {
    this.#community = community;
  }

  /** Number of the next seal. */
  get next(): number {
    return this.#epochs.length + 1;
  }

  /** The last applied seal. */
  get last(): { readonly number: number; readonly id: CID } | null {
    return this.#epochs.at(-1)?.applied ?? null;
  }

  /** In effect after the last of them. */
  get rules(): Rules {
    return this.#epochs.at(-1)?.after ?? charterRules(this.#community.charter);
  }

  /** What the order after the last of them hangs on. */
  get salt(): Uint8Array {
    return (this.last?.id ?? this.#community.charterId).bytes;
  }

  /** How many records they have. */
  get size(): number {
    return this.#sealed.size;
  }

  /** Everything that happened in them. */
  get steps(): Step[] {
    return this.#epochs.flatMap(({ steps }) => steps);
  }

  /** In canonical order. */
  get records(): SignedRecord[] {
    return this.#epochs.flatMap(({ section }) => section.records);
  }

  get seals(): AppliedSeal[] {
    return this.#epochs.map(({ applied }) => applied);
  }

  has({ id }: SignedRecord): boolean {
    return this.#sealed.has(idKey(id));
  }

  /** Whether the seal names the last applied one as the one before it. */
  continuedBy({ previous }: Seal): boolean {
    const last = this.last?.id ?? null;
    return previous === null ? last === null : previous.equals(last);
  }

  push(epoch: Epoch): void {
    this.#epochs.push(epoch);
    this.#note(epoch);
  }

  /** Drops the first epoch for which `still` is false, told the rules and the number of records before it, and what follows. */
  keepWhile(still: (epoch: Epoch, rules: Rules, before: number) => boolean): void {
    const kept = new Epochs(this.#community);
    for (const epoch of this.#epochs) {
      if (!still(epoch, kept.rules, kept.size)) break;
      kept.push(epoch);
    }
    if (kept.#epochs.length === this.#epochs.length) return;
    this.#epochs = kept.#epochs;
    this.#sealed = kept.#sealed;
    this.#chains = kept.#chains;
  }

  /** Their authors' chains with these records besides. */
  chainsWith(records: Iterable<SignedRecord>): EpochChains {
    const chains = this.#chains.fork();
    chains.add(records);
    return chains;
  }

  /** The model that they make final; null without any. */
  get sealed(): Snapshot | null {
    const last = this.#epochs.at(-1);
    if (last === undefined) return null;
    if (this.#snapshot?.seal !== last.seal) {
      const { accepted, applied, seal } = last;
      const recipe = recipeOf(this.#community, accepted);
      const sealed = { ...recipe, accepted, frontier: headsOf(this.records), seal: applied };
      this.#snapshot = { seal, sealed };
    }
    return this.#snapshot.sealed;
  }

  #note({ section }: Epoch): void {
    for (const { id } of section.records) this.#sealed.add(idKey(id));
    this.#chains.add(section.records);
  }
}
