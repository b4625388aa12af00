/** A random community: who may do what, and limits close to what the generated updates measure. */

import { type Charter, charterId, createCharter, encodeCharter, type SigningKey } from '../../../src/log/index.ts';
import { type Admission, hex, type Id } from '../documents.ts';
import type { Dice } from './dice.ts';
import { keyNumber } from './signing.ts';

/** Keys 1 … are authors, of whom the last ones are no members in the beginning. */
const AUTHORS = 7;
const FIRST_SEALER = 40;
const STRANGER = 60;

export interface Cast {
  readonly charter: Charter;
  readonly charterBytes: Uint8Array;
  readonly charterId: Id;
  readonly owner: SigningKey;
  readonly authors: readonly SigningKey[];
  readonly sealers: readonly SigningKey[];
  /** No member, no sealer, whatever is amended. */
  readonly stranger: SigningKey;
}

export function drawCast(dice: Dice, seed: number): Cast {
  const owner = keyNumber(0);
  const authors = Array.from({ length: dice.from(3, AUTHORS) }, (_, i) => keyNumber(1 + i));
  const sealers = [0, 1, 2].map((i) => keyNumber(FIRST_SEALER + i));
  const members = [owner, ...authors.slice(0, dice.from(2, authors.length))];
  const sealing = dice.chance(0.85) ? dice.from(1, 2) : 0;
  const charter = createCharter({
    name: `history ${seed}`,
    owner: owner.publicKey,
    sealers: {
      keys: sealers.slice(0, sealing).map(({ publicKey }) => publicKey),
      threshold: sealing === 0 ? 0 : dice.chance(0.8) ? 1 : sealing,
    },
    membership: dice.chance(0.3) ? 'open' : members.map(({ publicKey }) => publicKey),
    budgets: drawBudgets(dice),
    admission: drawAdmission(dice),
    codec: { encoder: { density: 0.2, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 2.5 } },
    merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
    base: {
      sumSquares: 100,
      tensors: [{ name: 'a.weight', dtype: 'F32', shape: [4, 4], linear: true, sha256: new Uint8Array(32) }],
      sideFiles: [],
    },
  });
  const charterBytes = encodeCharter(charter);
  return {
    charter,
    charterBytes,
    charterId: hex(charterId(charterBytes).bytes),
    owner,
    authors,
    sealers,
    stranger: keyNumber(STRANGER),
  };
}

export function drawBudgets(dice: Dice): { updates: number; bytes: number } {
  return { updates: dice.pick([3, 5, 8, 40, 40]), bytes: dice.pick([250, 1_000, 100_000, 100_000]) };
}

export function drawAdmission(dice: Dice): Admission {
  return {
    duplicate: dice.pick([0.5, 0.7, 0.9, 0.95, 1]),
    opposite: dice.pick([-0.25, -0.5, -0.5, -1]),
    kinship: dice.pick([
      [-0.1, 0.9],
      [0, 0.5],
      [0.1, 0.75],
      [-1, 1],
    ] as const),
    normRatio: dice.pick([
      [1 / 3, 3],
      [0.5, 2],
      [0.75, 1.5],
      [0, 100],
    ] as const),
    minReference: dice.pick([1, 2, 3, 3]),
    maxNorm: dice.pick([20, 40, 1_000]),
    maxScale: dice.pick([4, 20]),
    maxDensity: dice.pick([0.5, 0.75, 1]),
    maxPayloadBytes: dice.pick([80, 200, 1_000, 1_000]),
  };
}
