import { describe, expect, test } from 'vitest';
import { campaign } from './campaign.ts';
import { SCENES } from './scenes.ts';

/**
 * How many kills: `KINMERGE_KILLS`, and half as many with a power loss. `KINMERGE_KILL_SEED` chooses where they are,
 * and `KINMERGE_KILL_PHASE` a single phase.
 */
const KILLS = Number(process.env.KINMERGE_KILLS ?? 30);
const SEED = Number(process.env.KINMERGE_KILL_SEED ?? 1);
const PHASE = process.env.KINMERGE_KILL_PHASE;
const scenes = SCENES.filter(({ phase }) => PHASE === undefined || phase === PHASE);
/** Longest time for one kill with all that follows, in milliseconds, on a busy machine. */
const KILL_TIMEOUT_MS = 60_000;

const log = (line: string) => void process.stdout.write(`${line}\n`);

async function run(kills: number, powerLoss: boolean): Promise<void> {
  const began = performance.now();
  const tally = await campaign({ kills, seed: SEED, powerLoss, scenes }, log);
  const seconds = Math.round((performance.now() - began) / 1000);
  log(`${kills} kills in ${seconds} s: ${[...tally].map(([phase, count]) => `${phase} ${count}`).join(', ')}`);
  expect(new Set(tally.keys())).toEqual(new Set(scenes.slice(0, kills).map(({ phase }) => phase)));
}

describe('a node that is killed in every phase of its work', () => {
  test(
    'keeps what it acknowledged and comes to what the others have',
    () => run(KILLS, false),
    KILLS * KILL_TIMEOUT_MS,
  );

  test(
    'does so when all that was not synced is lost and the last write torn',
    () => run(Math.ceil(KILLS / 2), true),
    KILLS * KILL_TIMEOUT_MS,
  );
});
