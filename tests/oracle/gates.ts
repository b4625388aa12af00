/** The gates that look at payloads: docs/log-format.md Decisions, docs/design.md Admission. Limits are inclusive. */

import type { Admission, Id } from './documents.ts';
import type { World } from './world.ts';

/** What was accepted so far. */
export interface Accepted {
  readonly payload: Id;
  /** Taken out by a revocation. */
  readonly out: boolean;
}

export type PayloadGate = 'bounds' | 'norm' | 'duplicate' | 'opposite' | 'kinship';

/** The first gate that declines a payload, or null. */
export function payloadGate(
  world: Pick<World, 'fact' | 'pair'>,
  limits: Admission,
  payload: Id,
  accepted: readonly Accepted[],
): PayloadGate | null {
  const { bytes, measure } = world.fact(payload);
  // A zero update is always declined, and one whose bytes do not parse.
  if (measure === null || measure.norm === 0) return 'bounds';
  if (bytes > limits.maxPayloadBytes || measure.density > limits.maxDensity) return 'bounds';
  if (measure.peak > limits.maxScale || measure.norm > limits.maxNorm) return 'bounds';

  const current = accepted.filter(({ out }) => !out).map((one) => one.payload);
  const enough = current.length >= limits.minReference;
  if (enough) {
    const ratio = measure.norm / median(current.map((one) => world.fact(one).measure!.norm));
    if (ratio < limits.normRatio[0] || ratio > limits.normRatio[1]) return 'norm';
  }
  if (accepted.some((one) => world.pair(payload, one.payload).cosine! > limits.duplicate)) return 'duplicate';
  if (current.some((one) => world.pair(payload, one).cosine! < limits.opposite)) return 'opposite';
  if (enough) {
    const sum = current.reduce((total, one) => total + world.pair(payload, one).fixed, 0n);
    const mean = Number(sum) / 2 ** 64 / current.length;
    if (mean < limits.kinship[0] || mean > limits.kinship[1]) return 'kinship';
  }
  return null;
}

/** The middle one, and between two middle ones the mean of them. */
function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}
