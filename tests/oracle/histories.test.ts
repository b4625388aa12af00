import { describe, expect, it } from 'vitest';
import { compare, describeMismatch, Oracle } from './drive.ts';
import { deliveriesOf, everything } from './generate/deliveries.ts';
import { write } from './generate/writers.ts';
import { chooseLate, FEATURES, featuresOf } from './statistics.ts';

/** How many histories: by hand 10,000. */
const HISTORIES = Number(process.env.KINMERGE_HISTORIES ?? 800);
const FIRST_SEED = Number(process.env.KINMERGE_HISTORY_SEED ?? 1);
const SIZE = { least: 5, most: 40 };
/** Time for one history on a busy machine, in milliseconds. */
const PATIENCE_MS = 500;
/** Fewer histories than this say nothing about shares. */
const MIN_FOR_SHARES = 200;
/** Least share of the histories, in percent. */
const LEAST = {
  lateUpdateFlipsDecision: 20,
  insertionBeforeSnapshot: 20,
  withheldPayload: 10,
  revocation: 10,
  revocationOfSealed: 5,
  equivocation: 10,
  equivocationAcrossSeal: 5,
  twoSeals: 10,
  doubleSeal: 10,
  mismatchingSeal: 3,
  waitingSeal: 5,
  amendmentInEffect: 10,
} as const;

describe('random histories', () => {
  it('come to what the oracle says at every node, in whatever order it was given them', {
    timeout: HISTORIES * PATIENCE_MS + 30_000,
  }, async () => {
    const counts = new Map(FEATURES.map((feature) => [feature, 0]));
    for (let seed = FIRST_SEED; seed < FIRST_SEED + HISTORIES; seed++) {
      const writing = write(seed, SIZE);
      const oracle = new Oracle(writing);
      const late = chooseLate(writing, everything(writing), oracle);
      const deliveries = deliveriesOf(writing, late);
      const mismatch = await compare(writing, deliveries, oracle);
      if (mismatch !== null) expect.fail(await describeMismatch(writing, deliveries, mismatch));
      for (const feature of featuresOf(writing, deliveries, late, oracle))
        counts.set(feature, counts.get(feature)! + 1);
    }
    const shares = Object.fromEntries([...counts].map(([feature, count]) => [feature, (100 * count) / HISTORIES]));
    process.stdout.write(`${HISTORIES} histories, % with: ${JSON.stringify(shares)}\n`);
    if (HISTORIES < MIN_FOR_SHARES) return;
    const short = FEATURES.filter((feature) => shares[feature]! < LEAST[feature]);
    expect(short, JSON.stringify(shares)).toEqual([]);
  });
});
