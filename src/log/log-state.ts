import type { Entries } from './entries.ts';
import type { HeldSet } from './held.ts';
import type { InvalidMemory } from './invalid.ts';
import type { PayloadFacts } from './payloads.ts';
import type { PendingPool } from './pending.ts';
import type { SealSet } from './seal-set.ts';

/** What a log remembers. `Intake` changes it; everything else only asks. */
export interface LogState {
  /** Held and waiting records. */
  readonly entries: Entries;
  readonly held: HeldSet;
  readonly pool: PendingPool;
  readonly invalid: InvalidMemory;
  readonly payloads: PayloadFacts;
  readonly seals: SealSet;
  /** Most bytes of payloads for records whose parents are not all held. */
  readonly payloadBytes: number;
}
