/** A community of honest authors, and an attacker who may sign whatever it wants. */

import { type Charter, charterId, createCharter, encodeCharter, type SigningKey } from '../../src/log/index.ts';
import { hex, type Id, type Rec, sha256 } from './documents.ts';
import { applySeals, closeEpoch } from './epochs.ts';
import { ENTRIES, type Synthetic } from './generate/payloads.ts';
import { keyNumber, type Made, type MadeSeal, makeRecord, makeSeal } from './generate/signing.ts';
import { type Writing, worldOf } from './generate/writing.ts';
import type { Outcome } from './index.ts';
import { ProductNode } from './product.ts';
import { heldSet } from './validity.ts';

const FIRST_HONEST = 100;
const FIRST_HOSTILE = 500;
const sealer = keyNumber(40);

/** Half of the entries, most of them as everybody has them: pairwise cosines from about 0.1 to 0.7. */
export function honestSigns(n: number): number[] {
  return Array.from({ length: ENTRIES }, (_, i) => {
    const draw = Number.parseInt(sha256(new TextEncoder().encode(`${n} ${i}`)).slice(0, 8), 16) / 2 ** 32;
    return draw < 0.1 ? -1 : draw < 0.6 ? 1 : 0;
  });
}

/** A log in the making, and a node that reads it. */
export class Field {
  readonly charter: Charter;
  readonly charterId: Id;
  readonly payloads = new Map<Id, Synthetic>();
  readonly records: Made[] = [];
  readonly seals: MadeSeal[] = [];
  readonly #charterBytes: Uint8Array;
  #payloads = 0;

  /** @param name - fields of other names have other ids, and so other orders */
  constructor(name = 'a field') {
    this.charter = createCharter({
      name,
      owner: keyNumber(0).publicKey,
      sealers: { keys: [sealer.publicKey], threshold: 1 },
      membership: 'open',
      budgets: { updates: 10_000, bytes: 10_000_000 },
      admission: {
        duplicate: 0.95,
        opposite: -0.5,
        kinship: [-0.1, 0.9],
        normRatio: [1 / 3, 3],
        minReference: 3,
        maxNorm: 1_000,
        maxScale: 1_000,
        maxDensity: 1,
        maxPayloadBytes: 1_000,
      },
      codec: { encoder: { density: 0.2, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 2.5 } },
      merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
      base: {
        sumSquares: 100,
        tensors: [{ name: 'a.weight', dtype: 'F32', shape: [4, 4], linear: true, sha256: new Uint8Array(32) }],
        sideFiles: [],
      },
    });
    this.#charterBytes = encodeCharter(this.charter);
    this.charterId = hex(charterId(this.#charterBytes).bytes);
  }

  get salt(): Id {
    return this.seals.at(-1)?.seal.id ?? this.charterId;
  }

  honestKey(n: number): SigningKey {
    return keyNumber(FIRST_HONEST + n);
  }

  hostileKey(n: number): SigningKey {
    return keyNumber(FIRST_HOSTILE + n);
  }

  /** A payload that is stored everywhere. */
  payload(signs: readonly number[], scale = 1): Id {
    const id = `01711220${sha256(new TextEncoder().encode(`payload ${this.#payloads++}`))}`;
    this.payloads.set(id, { id, bytes: 10, scale, signs });
    return id;
  }

  /** An update, the author's first or the one after `prev`; not published. */
  sign(author: SigningKey, payload: Id, parents: readonly Id[] = [], note = '', prev: Made | null = null): Made {
    const links =
      prev === null
        ? { charter: this.charterId, seq: 0, prev: null, parents }
        : { charter: this.charterId, seq: prev.rec.seq + 1, prev: prev.rec.id, parents: [...parents, prev.rec.id] };
    return makeRecord(author, links, { kind: 'update', payload, note });
  }

  /** Of so many records that differ in their note, the one that the order takes first. */
  grind(tries: number, make: (note: string) => Made, salt = this.salt): Made {
    let best: { made: Made; digest: string } | undefined;
    for (let i = 0; i < tries; i++) {
      const made = make(`try ${i}`);
      const digest = sha256(salt + made.rec.id);
      if (best === undefined || digest < best.digest) best = { made, digest };
    }
    return best!.made;
  }

  publish(...made: readonly Made[]): void {
    this.records.push(...made);
  }

  /** Seals everything published. */
  seal(): void {
    const world = worldOf(this.#writing, this.records, this.payloads.keys(), this.seals);
    const held = heldSet(world);
    const { sealed } = applySeals(world, held);
    const named = new Set(this.records.flatMap(({ rec }) => rec.parents));
    const frontier = this.records.map(({ rec }) => rec.id).filter((id) => !named.has(id));
    const { claims } = closeEpoch(world, held, sealed, frontier);
    const previous = sealed.seals.at(-1) ?? null;
    const head = { charter: this.charterId, number: sealed.seals.length + 1, previous, frontier };
    this.seals.push(makeSeal([sealer], head, claims));
  }

  /** What a node of the product decides on everything published. */
  async outcome(): Promise<Outcome> {
    const node = new ProductNode(this.#writing);
    for (const id of this.payloads.keys()) node.payload(id);
    for (const made of this.records) node.record(made);
    for (const made of this.seals) node.seal(made);
    return node.outcome();
  }

  get #writing(): Writing {
    const { charter, charterId: id, payloads, records, seals } = this;
    const cast = { charter, charterBytes: this.#charterBytes, charterId: id, owner: keyNumber(0) };
    return {
      seed: 0,
      cast: { ...cast, authors: [], sealers: [sealer], stranger: keyNumber(60) },
      payloads,
      records,
      seals,
    };
  }
}

/** How many of the others stand before a record in the tail. */
export function rank(outcome: Outcome, { rec }: { readonly rec: Rec }): number {
  return outcome.sections.at(-1)!.indexOf(rec.id);
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
