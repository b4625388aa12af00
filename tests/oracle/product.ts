/** One node of the product under test: its log, its seals and its historian, with payloads of which only facts are known. */

import { Decider, decisionByte, Historian, type History, type Measured, type Step } from '../../src/history/index.ts';
import {
  canonicalOrder,
  decodeSigned,
  decodeSignedSeal,
  encodeSigned,
  Log,
  membersBy,
  NOT_AN_UPDATE,
  parseId,
  type SignedRecord,
  type SignedSeal,
} from '../../src/log/index.ts';
import { cidOf, hex, type Id } from './documents.ts';
import type { SealTrouble } from './epochs.ts';
import { ENTRIES, factOf, pairOf, type Synthetic } from './generate/payloads.ts';
import type { Made, MadeSeal } from './generate/signing.ts';
import type { Writing } from './generate/writing.ts';
import type { Outcome } from './index.ts';

const records = new WeakMap<Made, SignedRecord>();
const seals = new WeakMap<MadeSeal, SignedSeal>();

/** Read with the product's codec, signature and all. */
export function signedRecord(made: Made): SignedRecord {
  let signed = records.get(made);
  if (signed === undefined) {
    const { body, signature } = made;
    signed = decodeSigned(encodeSigned({ body, signature } as SignedRecord));
    records.set(made, signed);
  }
  return signed;
}

export function signedSeal(made: MadeSeal): SignedSeal {
  let signed = seals.get(made);
  if (signed === undefined) {
    signed = decodeSignedSeal(made.bytes);
    seals.set(made, signed);
  }
  return signed;
}

export class ProductNode {
  readonly #writing: Writing;
  #log: Log;
  #historian: Historian;
  readonly #stored = new Map<Id, number>();
  /** Records and seals that were not kept, and may come again. */
  #sentBack = new Set<Made>();
  #untrusted = new Set<MadeSeal>();

  constructor(writing: Writing) {
    this.#writing = writing;
    [this.#log, this.#historian] = this.#open();
  }

  record(made: Made): void {
    const { outcome } = this.#log.addRecord(signedRecord(made), 'a peer');
    if (outcome === 'refused') this.#sentBack.add(made);
    else this.#sentBack.delete(made);
  }

  payload(id: Id): void {
    const { bytes } = this.#writing.payloads.get(id)!;
    this.#stored.set(id, bytes);
    this.#log.setPayload(cidOf(id), bytes);
  }

  seal(made: MadeSeal): void {
    const { outcome } = this.#log.seals.add(signedSeal(made));
    if (outcome === 'untrusted') this.#untrusted.add(made);
    else this.#untrusted.delete(made);
  }

  /** A new process: it reads what is stored, parents first, and the seals after the records, as a node does. */
  restart(): void {
    const old = this.#log;
    [this.#log, this.#historian] = this.#open();
    const records = [...old.held(), ...old.pending().map(({ signed }) => signed)];
    const byId = new Map(records.map((signed) => [signed.id.toString(), signed]));
    for (const [id, bytes] of this.#stored) this.#log.setPayload(cidOf(id), bytes);
    for (const id of canonicalOrder(records, cidOf(this.#writing.cast.charterId).bytes)) {
      this.#log.addRecord(byId.get(id.toString())!);
    }
    for (const seal of [...old.seals.values()].reverse()) this.#log.seals.add(seal);
  }

  /** What was sent back comes again, as sync brings it. */
  again(): void {
    for (const made of [...this.#sentBack]) this.record(made);
    for (const made of [...this.#untrusted]) this.seal(made);
  }

  /** Records that it does not keep although nothing is known against them. */
  get sentBack(): ReadonlySet<Made> {
    return this.#sentBack;
  }

  async outcome(): Promise<Outcome> {
    return outcomeOf(await this.#historian.derive(), [...this.#log.held()]);
  }

  #open(): [Log, Historian] {
    const { charter, charterId } = this.#writing.cast;
    const options = { charter, charterId: cidOf(charterId) };
    const log = new Log(options);
    return [log, new Historian(options, { log, seals: log.seals, decide: decider(this.#writing) })];
  }
}

function decider({ payloads }: Writing): (steps: readonly Step[]) => Promise<Decider['results']> {
  const last = new Decider();
  return async (steps) => {
    const payloadOf = new Map(
      steps.flatMap((step) =>
        step.kind === 'update' ? [[step.update.id, payloads.get(hex(step.update.payload.bytes))!]] : [],
      ),
    );
    for (const step of steps.slice(last.rewind(steps))) {
      const measured = step.kind === 'update' ? measureOf(payloadOf.get(step.update.id)!) : null;
      const taken = last.take(step, measured, (a, b) => pairOf(payloadOf.get(a)!, payloadOf.get(b)!));
      if ('missing' in taken) throw new Error('no comparison is missing here');
    }
    return last.results;
  };
}

function measureOf(one: Synthetic): Measured {
  const { bytes, measure } = factOf(one);
  if (measure === null) return { fault: 'BROKEN', message: 'these bytes do not parse' };
  const nnz = measure.density * ENTRIES;
  const tensors = nnz === 0 ? [] : [{ index: 0, scale: one.scale, entries: nnz, sum: 0, squares: nnz, peak: 1 }];
  return { bytes, tensors, elements: ENTRIES, nnz, norm: measure.norm, sum: 0 };
}

function outcomeOf(history: History, held: readonly SignedRecord[]): Outcome {
  const ids = history.records.map(({ id }) => hex(id.bytes));
  const ends = [...history.seals.map(({ records: end }) => end), ids.length];
  const { rules, alarm, waiting } = history;
  const trouble: SealTrouble | null =
    alarm !== null
      ? { number: alarm.number, why: alarm.code === 'SEAL_CONFLICT' ? 'double' : 'mismatch' }
      : waiting !== null
        ? { number: waiting.seal.number, why: 'waiting' }
        : null;
  const list = (updates: readonly { readonly cid: { readonly bytes: Uint8Array } }[]): Id[] =>
    updates.map(({ cid }) => hex(cid.bytes));
  return {
    held: held.map(({ id }) => hex(id.bytes)).sort(),
    sections: ends.map((end, at) => ids.slice(ends[at - 1] ?? 0, end)),
    decisions: history.records.map(({ id, record }) =>
      record.kind === 'update' ? decisionByte(history.decisions.get(id.toString())!) : NOT_AN_UPDATE,
    ),
    out: [...history.takenOut].map((id) => hex(parseId(id).bytes)).sort(),
    seals: history.seals.map(({ id }) => hex(id.bytes)),
    trouble,
    rules: {
      open: rules.open,
      members: membersBy(rules).map(hex),
      budgets: rules.budgets,
      admission: rules.admission,
      sealers: { keys: rules.sealers.keys.map(hex), threshold: rules.sealers.threshold },
      number: rules.amendment?.number ?? 0,
      last: rules.amendment === null ? null : hex(rules.amendment.id.bytes),
    },
    recipe: list(history.accepted),
    recipeId: hex(history.recipeId.bytes),
    sealedRecipe: list(history.sealed?.accepted ?? []),
  };
}
