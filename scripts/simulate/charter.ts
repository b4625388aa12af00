import type { CID } from 'multiformats/cid';
import { defaultSettings } from '../../src/choose/index.ts';
import { policyForBase } from '../../src/kinship/index.ts';
import { type Charter, charterId, createCharter, encodeCharter, keyFromSeed, sha256 } from '../../src/log/index.ts';
import { seededBytes } from './random.ts';

export interface SimulatedCommunity {
  readonly charter: Charter;
  readonly charterId: CID;
  readonly charterBytes: Uint8Array;
}

/**
 * An open community over a base that nobody has: nothing is folded in a simulation.
 *
 * @param sealers - public keys, one of which is enough; without any nothing is ever sealed
 */
export function simulatedCommunity(seed: string, sealers: readonly Uint8Array[] = []): SimulatedCommunity {
  const admission = policyForBase([{ elements: 1_000_000, sumSquares: 1_000 }]);
  const charter = createCharter({
    name: `simulation ${seed}`,
    owner: keyFromSeed(seededBytes(`${seed} owner`)).publicKey,
    sealers: { keys: sealers, threshold: Math.min(1, sealers.length) },
    membership: 'open',
    budgets: { updates: 10_000, bytes: 2 ** 40 },
    admission,
    codec: { encoder: defaultSettings(0.2) },
    merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
    base: {
      sumSquares: 1_000,
      tensors: [
        { name: 'weight', dtype: 'F32', shape: [1_000, 1_000], linear: true, sha256: sha256(new Uint8Array()) },
      ],
      sideFiles: [],
    },
  });
  const charterBytes = encodeCharter(charter);
  return { charter, charterId: charterId(charterBytes), charterBytes };
}
