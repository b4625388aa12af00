/** Histories without payload bytes: what a payload measures is said by hand. */
import type { CID } from 'multiformats/cid';
import { Decider, Historian, type History, type Measured, type Step } from '../../../src/history/index.ts';
import {
  type AmendmentRecord,
  type Charter,
  type CharterInput,
  Log,
  type RevocationRecord,
  type RuleChanges,
  type SignedRecord,
  type SignedSeal,
  type SignedUpdate,
  type SigningKey,
  signRecord,
  signSeal,
} from '../../../src/log/index.ts';
import { follow, sorted, testCharter, testId, testKey } from '../log/helpers.ts';

export const owner = testKey(0);
const NO_CHANGES: RuleChanges = { membership: null, budgets: null, admission: null, sealers: null };

/** A community sealed by its owner, where every update is related unless said otherwise. */
export class Scene {
  readonly charter: Charter;
  readonly id: CID;
  readonly log: Log;
  readonly historian: Historian;
  readonly norms = new Map<string, number>();
  /** Cosines of pairs of updates by their payloads, in either order; 0.1 when not said. */
  readonly cosines = new Map<string, number>();
  adopts = false;
  #payloads = 100;

  constructor(changes: Partial<CharterInput> = {}) {
    const made = testCharter({ sealers: { keys: [owner.publicKey], threshold: 1 }, ...changes });
    this.charter = made.charter;
    this.id = made.id;
    this.log = new Log({ charter: made.charter, charterId: made.id });
    this.historian = this.historianOf(this.log);
  }

  historianOf(log: Log, lacksPayload?: (payload: CID) => boolean): Historian {
    return new Historian(
      { charter: this.charter, charterId: this.id, adopts: () => this.adopts, ...(lacksPayload && { lacksPayload }) },
      { log, seals: log.seals, decide: this.decider() },
    );
  }

  /** A new log that holds the same. */
  copy(): Log {
    const log = new Log({ charter: this.charter, charterId: this.id });
    for (const signed of this.log.held()) addTo(log, signed);
    for (const seal of this.log.seals.values()) log.seals.add(seal);
    return log;
  }

  decider() {
    const decider = new Decider();
    return async (steps: readonly Step[]) => {
      const payloads = new Map(steps.flatMap((s) => (s.kind === 'update' ? [[s.update.id, s.update.payload]] : [])));
      const lookup = (a: string, b: string) => {
        const key = [payloads.get(a), payloads.get(b)].map(String).sort().join();
        const cosine = this.cosines.get(key) ?? 0.1;
        return { cosine, fixed: BigInt(Math.round(cosine * 2 ** 40)) << 24n };
      };
      for (const step of steps.slice(decider.rewind(steps))) {
        const taken = decider.take(
          step,
          step.kind === 'update' && step.adopted?.accepted !== false ? this.#measure(step.update.payload) : null,
          lookup,
        );
        if ('missing' in taken) throw new Error('no comparison is missing here');
      }
      return decider.results;
    };
  }

  derive(): Promise<History> {
    return this.historian.derive();
  }

  relate(a: SignedUpdate, b: SignedUpdate, cosine: number): void {
    this.cosines.set([a.record.payload, b.record.payload].map(String).sort().join(), cosine);
  }

  /** An update that is held. */
  update(
    author: SigningKey,
    options: { prev?: SignedRecord; parents?: readonly SignedRecord[]; norm?: number; title?: string } = {},
  ): SignedUpdate {
    const { prev, parents = [], norm = 1, title = '' } = options;
    const payload = testId(this.#payloads++);
    this.norms.set(payload.toString(), norm);
    const signed = follow(author, this.id, prev ?? null, parents, { payload, title });
    addTo(this.log, signed);
    return signed;
  }

  revoke(author: SigningKey, target: SignedRecord, prev: SignedRecord | null): SignedRecord<RevocationRecord> {
    const made = this.#sign(author, prev, [target], { kind: 'revocation', target: target.id, note: '' });
    return made as SignedRecord<RevocationRecord>;
  }

  amend(
    changes: Partial<RuleChanges>,
    prev: SignedRecord | null,
    before: SignedRecord<AmendmentRecord> | null = null,
  ): SignedRecord<AmendmentRecord> {
    const number = (before?.record.number ?? 0) + 1;
    const parents = before === null ? [] : [before];
    const own = { ...NO_CHANGES, ...changes, number, previous: before?.id ?? null, note: '' };
    return this.#sign(owner, prev, parents, { kind: 'amendment', ...own }) as SignedRecord<AmendmentRecord>;
  }

  /** Seals everything held, and takes the seal. */
  async seal(key = owner): Promise<SignedSeal> {
    const proposed = await this.historian.propose(await this.derive());
    const signed = signSeal(proposed!, [key]);
    this.log.seals.add(signed);
    return signed;
  }

  #sign(author: SigningKey, prev: SignedRecord | null, parents: readonly SignedRecord[], own: object): SignedRecord {
    const ids = new Map([...parents, ...(prev === null ? [] : [prev])].map(({ id }) => [id.toString(), id]));
    const links = {
      version: 1,
      author: author.publicKey,
      charter: this.id,
      seq: prev === null ? 0 : prev.record.seq + 1,
      prev: prev?.id ?? null,
      parents: sorted([...ids.values()]),
    };
    const signed = signRecord({ ...links, ...own } as unknown as AmendmentRecord | RevocationRecord, author);
    addTo(this.log, signed);
    return signed;
  }

  #measure(payload: CID): Measured {
    const norm = this.norms.get(payload.toString());
    if (norm === undefined) throw new Error('the payload is not here');
    return { bytes: 10, elements: 100, nnz: 10, sum: 0, norm, tensors: [] } as Measured;
  }
}

export function addTo(log: Log, signed: SignedRecord): void {
  if (signed.record.kind === 'update') log.setPayload(signed.record.payload, 10);
  const { outcome } = log.addRecord(signed);
  if (outcome !== 'held') throw new Error(`the record is ${outcome}`);
}

/** What of a history must be the same at every node. */
export function essence({ records, decisions, accepted, takenOut, recipeId, seals, sealed, alarm }: History) {
  return {
    order: records.map(({ id }) => id.toString()),
    decisions: [...decisions.values()].map(({ id, gate }) => [id, gate]),
    accepted: accepted.map(({ id }) => id),
    takenOut: [...takenOut],
    recipe: recipeId.toString(),
    seals: seals.map(({ id }) => id.toString()),
    sealed: sealed?.recipeId.toString(),
    alarm,
  };
}
