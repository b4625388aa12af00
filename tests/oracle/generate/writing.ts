/** A history as it was written, and what a node has that was given some of it. */

import type { Id } from '../documents.ts';
import type { World } from '../world.ts';
import type { Cast } from './community.ts';
import { factOf, pairOf, type Synthetic } from './payloads.ts';
import type { Made, MadeSeal } from './signing.ts';

export interface Writing {
  readonly seed: number;
  readonly cast: Cast;
  readonly payloads: ReadonlyMap<Id, Synthetic>;
  /** In the order of writing: parents before children. */
  readonly records: readonly Made[];
  readonly seals: readonly MadeSeal[];
}

export function worldOf(
  { cast, payloads }: Pick<Writing, 'cast' | 'payloads'>,
  records: Iterable<Made>,
  stored: Iterable<Id>,
  seals: Iterable<MadeSeal>,
): World {
  return {
    charter: cast.charter,
    charterId: cast.charterId,
    records: new Map([...records].map(({ rec }) => [rec.id, rec])),
    stored: new Set(stored),
    seals: [...seals].map(({ seal }) => seal),
    fact: (payload) => factOf(payloads.get(payload)!),
    pair: (a, b) => pairOf(payloads.get(a)!, payloads.get(b)!),
  };
}
