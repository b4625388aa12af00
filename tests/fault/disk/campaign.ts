import { random } from '../../unit/node/support.ts';
import { Arena, type Running } from './arena.ts';
import type { Bytes, Names } from './disk.ts';
import type { Played, Scene } from './scenes.ts';

/** Kills in one community; then comes a fresh one, for every update makes the next step longer. */
const KILLS_PER_ARENA = 30;

/** Longest time that a phase may take, in milliseconds: the machine may be busy. */
const PLAY_MS = 60_000;

export interface CampaignOptions {
  readonly kills: number;
  readonly seed: number;
  /** What was not synced is lost with each kill. */
  readonly powerLoss: boolean;
  readonly scenes: readonly Scene[];
}

/** Kills by phase. */
export type Tally = Map<string, number>;

/**
 * Kills a node again and again, and checks after each kill that it lost nothing and comes to what the nodes that were
 * never killed have.
 *
 * @param log - gets a line for each kill: its number, phase, operation, path, and what the power loss left
 * @throws with the kill, the phase and the seed in the message
 */
export async function campaign(options: CampaignOptions, log: (line: string) => void): Promise<Tally> {
  const { kills, seed, powerLoss, scenes } = options;
  const draw = random(seed);
  const tally: Tally = new Map();
  const operations = new Map(scenes.map((scene) => [scene, scene.operations]));
  let arena: Arena | undefined;
  let running: Running | undefined;
  for (let kill = 1; kill <= kills; kill++) {
    if (arena === undefined || running === undefined || kill % KILLS_PER_ARENA === 1) {
      await running?.victim.kill();
      await arena?.close();
      arena = await Arena.open({ powerLoss });
      running = await restart(arena);
    }
    const scene = scenes[(kill - 1) % scenes.length]!;
    // One more than there are: killed when the last one is done.
    const nth = 1 + Math.floor(draw() * (operations.get(scene)! + 1));
    const when = draw() < 0.5 ? 'before' : 'after';
    let where = `${scene.phase} (${scene.title}), ${when} operation ${nth}`;
    try {
      // Something that this process acknowledged before: of the work that is cut off most is not.
      if (powerLoss && draw() < 0.5) {
        await arena.contribute(running);
        await arena.agree(running);
      }
      const played = await within(PLAY_MS, scene.play(arena, running, { nth, when }));
      const { killed, count } = await dead(played);
      operations.set(scene, killed ? Math.max(operations.get(scene)!, count) : count);
      where = `${scene.phase} (${scene.title}), ${killed ?? `after its last operation, ${count}`}`;
      if (powerLoss) {
        const mode = drawLoss(draw);
        where += `; names ${mode.names}, bytes ${mode.bytes}`;
        await arena.losePower(played.victim.traced, mode, draw);
      }
      await arena.checkHome();
      await played.checkDead?.();
      running = await restart(arena);
      await played.checkAgain?.(running);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`kill ${kill} of seed ${seed}, ${where}: ${message}`, { cause });
    }
    tally.set(scene.phase, (tally.get(scene.phase) ?? 0) + 1);
    log(`kill ${kill} of seed ${seed}: ${where}`);
  }
  return tally;
}

/** @throws when the work takes longer */
async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error(`still at it after ${milliseconds} ms`)), milliseconds);
  return Promise.race([work, promise]).finally(() => clearTimeout(timer));
}

async function restart(arena: Arena): Promise<Running> {
  const { victim, api } = await arena.start();
  if (api === undefined) throw victim.failure('was killed without being told');
  const running = { victim, api };
  await arena.agree(running);
  return running;
}

/** Kills the process where it did not do so itself. */
async function dead({ victim, token }: Played): Promise<{ killed: string | undefined; count: number }> {
  await victim.traced.disarm();
  await victim.kill();
  const killed = await victim.traced.killed();
  return {
    killed: killed && `${killed.when} operation ${killed.nth}, ${killed.op} of ${killed.path}`,
    count: await victim.traced.counted(token),
  };
}

function drawLoss(draw: () => number): { names: Names; bytes: Bytes } {
  const names = (['none', 'all', 'some'] as const)[Math.floor(draw() * 3)]!;
  return { names, bytes: draw() < 0.5 ? 'lost' : 'torn' };
}
