import { randomUUID } from 'node:crypto';
import { readdir, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { KEPT_CHECKPOINTS } from '../../../node/core/fold-loop.ts';
import { MIN_DISK_LIMIT } from '../../../node/core/limits.ts';
import { exists } from '../../../node/files.ts';
import { errorCode } from '../../../src/errors.ts';
import type { Arena, Running } from './arena.ts';
import type { Arming } from './trace/format.ts';
import type { PhaseName } from './trace/phases.ts';
import { Victim } from './victim.ts';

const POLL_MS = 10;

export interface Scene {
  readonly phase: PhaseName;
  /** What tells scenes of one phase apart. */
  readonly title: string;
  /** Operations that the phase has about; measured anew whenever it runs to its end. */
  readonly operations: number;
  /**
   * Brings the victim into the phase, armed, and returns when it is dead or the work is done. The victim runs and is
   * settled at first.
   */
  play(arena: Arena, running: Running, kill: Pick<Arming, 'nth' | 'when'>): Promise<Played>;
}

export interface Played {
  /** The process that was to be killed; it may still run. */
  readonly victim: Victim;
  /** The arming's. */
  readonly token: number;
  /** What must hold of the disk once it is dead, and what once the daemon runs again. */
  checkDead?(): Promise<void>;
  checkAgain?(running: Running): Promise<void>;
}

export const SCENES: readonly Scene[] = [
  {
    phase: 'start',
    title: 'after a kill',
    operations: 24,
    async play(arena, running, kill) {
      await running.victim.kill();
      const { victim } = await arena.start({ phase: 'start', ...kill });
      return { victim, token: 0 };
    },
  },
  {
    phase: 'start',
    title: 'that brings a home of layout 1 to layout 2',
    operations: 60,
    async play(arena, running, kill) {
      await running.victim.kill();
      await arena.age();
      const { victim } = await arena.start({ phase: 'start', ...kill });
      return { victim, token: 0 };
    },
  },
  {
    phase: 'join',
    title: 'of a new home',
    operations: 18,
    async play(arena, running, kill) {
      await running.victim.kill();
      const home = join(arena.pond.directory, randomUUID());
      const [line] = arena.twin.network.joinLines();
      const args = ['join', line!, '--base', arena.pond.base, '--home', home];
      const traced = await arena.prepare(home);
      const token = await traced.arm('join', kill.nth, kill.when);
      const victim = new Victim(args, traced);
      const joined = (await done(victim)) ? await victim.document() : undefined;
      return {
        victim,
        token,
        async checkDead() {
          const log = ['log', '--home', home];
          if (joined !== undefined) await new Victim(log, null).document();
          // The key that a finished join named is the home's from then on.
          expect(await new Victim(args, null).document()).toMatchObject(joined ?? {});
          await new Victim(log, null).document();
        },
      };
    },
  },
  {
    phase: 'contribute',
    title: 'accepted',
    operations: 30,
    async play(arena, running, kill) {
      const { victim } = running;
      const token = await victim.traced.arm('contribute', kill.nth, kill.when);
      await unlessKilled(victim, async () => void (await arena.contribute(running)));
      return { victim, token };
    },
  },
  {
    phase: 'contribute',
    title: 'without a daemon',
    operations: 30,
    async play(arena, running, kill) {
      await running.victim.kill();
      const traced = await arena.prepare();
      const token = await traced.arm('contribute', kill.nth, kill.when);
      const victim = new Victim(['contribute', await arena.finetune(), '--home', arena.home.root], traced);
      if (await done(victim)) arena.acknowledged.add(String((await victim.document()).update));
      return { victim, token };
    },
  },
  {
    phase: 'receive',
    title: 'by gossip',
    operations: 15,
    async play(arena, { victim, api }, kill) {
      const token = await victim.traced.arm('receive', kill.nth, kill.when);
      const { update } = await arena.peer.service.contribute({ finetune: await arena.finetune() });
      await untilHeld({ victim, api }, update!);
      return { victim, token };
    },
  },
  {
    phase: 'receive',
    title: 'by catching up',
    operations: 20,
    async play(arena, running, kill) {
      await running.victim.kill();
      const { update } = await arena.peer.service.contribute({ finetune: await arena.finetune() });
      const { victim, api } = await arena.start({ phase: 'receive', ...kill });
      if (api !== undefined) await untilHeld({ victim, api }, update!);
      return { victim, token: 0 };
    },
  },
  {
    phase: 'contribute',
    title: 'a revocation',
    operations: 5,
    async play(arena, running, kill) {
      const { victim, api } = running;
      const update = await arena.contribute(running);
      const token = await victim.traced.arm('contribute', kill.nth, kill.when);
      await unlessKilled(victim, async () => {
        arena.acknowledged.add((await api.revoke({ update })).revocation);
      });
      return { victim, token };
    },
  },
  {
    phase: 'seal',
    title: 'by hand',
    operations: 5,
    async play(arena, running, kill) {
      const { victim, api } = running;
      await arena.contribute(running);
      const token = await victim.traced.arm('seal', kill.nth, kill.when);
      await unlessKilled(victim, async () => {
        arena.seals.add((await api.seal())!.seal);
      });
      return { victim, token };
    },
  },
  {
    phase: 'fold',
    title: 'of an own update',
    operations: 28,
    play: (arena, running, kill) => folding(arena, running, { phase: 'fold', ...kill }),
  },
  {
    phase: 'snapshot',
    title: 'of an own update',
    operations: 5,
    play: (arena, running, kill) => folding(arena, running, { phase: 'snapshot', ...kill }),
  },
  {
    phase: 'pull',
    title: "of the daemon's own checkpoint",
    operations: 14,
    async play(arena, { victim, api }, kill) {
      const out = join(arena.out, 'pulled');
      const token = await victim.traced.arm('pull', kill.nth, kill.when);
      let done = false;
      await unlessKilled(victim, async () => {
        await api.pull({ out, recipe: undefined });
        done = true;
      });
      return {
        victim,
        token,
        checkDead: () => wholeOrAbsent(arena, out, done),
        async checkAgain(again) {
          await again.api.pull({ out, recipe: undefined });
          await arena.checkPulled(out);
        },
      };
    },
  },
  {
    phase: 'pull',
    title: 'from a peer, without a daemon',
    operations: 20,
    async play(arena, running, kill) {
      await running.victim.kill();
      const home = join(arena.pond.directory, 'puller');
      const out = join(arena.out, 'new', 'pulled');
      const [line] = arena.twin.network.joinLines();
      const args = ['pull', '--community', line!, '--home', home, '--out', out];
      const traced = await arena.prepare(home);
      const token = await traced.arm('pull', kill.nth, kill.when);
      const victim = new Victim(args, traced);
      const pulled = await done(victim);
      return {
        victim,
        token,
        async checkDead() {
          await wholeOrAbsent(arena, out, pulled);
          if (pulled) return;
          await rm(out, { recursive: true, force: true });
          await new Victim(args, null).document();
          await arena.checkPulled(out);
        },
      };
    },
  },
  {
    phase: 'collection',
    title: 'of a declined payload',
    operations: 3,
    async play(arena, { victim, api }, kill) {
      const token = await victim.traced.arm('collection', kill.nth, kill.when);
      await unlessKilled(victim, async () => {
        await api.contribute({ finetune: await arena.unwelcome() }).catch((error: unknown) => {
          if (errorCode(error) !== 'DECLINED') throw error;
        });
      });
      return { victim, token };
    },
  },
  {
    phase: 'collection',
    title: 'of old checkpoints',
    operations: 3,
    play: (arena, running, kill) => folding(arena, running, { phase: 'collection', ...kill }),
  },
  {
    phase: 'collection',
    title: 'of a payload that a seal declined, below a disk limit',
    operations: 6,
    async play(arena, running, kill) {
      const { update, payload } = await arena.publishUnwelcome();
      await untilHeld(running, update);
      arena.seals.add((await running.api.seal())!.seal);
      await running.victim.kill();
      // Of no use to the node, and more than it may have: everything that may go has to.
      const ballast = join(arena.home.root, 'ballast');
      await writeFile(ballast, '');
      await truncate(ballast, MIN_DISK_LIMIT);
      const limit = ['--disk-limit', String(MIN_DISK_LIMIT)];
      const { victim, api } = await arena.start({ phase: 'collection', ...kill }, limit);
      await unlessKilled(victim, async () => {
        const isThere = () => exists(join(arena.home.blobs, payload));
        while (api !== undefined && !victim.dead && (await isThere())) await sleep(POLL_MS);
      });
      return { victim, token: 0, checkDead: () => rm(ballast) };
    },
  },
];

async function folding(arena: Arena, running: Running, kill: { phase: PhaseName } & Pick<Arming, 'nth' | 'when'>) {
  const { victim, api } = running;
  const token = await victim.traced.arm(kill.phase, kill.nth, kill.when);
  await unlessKilled(victim, async () => {
    await arena.contribute(running);
    for (;;) {
      const { deciding, checkpoint, recipe, sealed, problem } = await api.status();
      if (problem !== null) throw new Error(`the fold stands still: ${problem.message}`);
      const kept = KEPT_CHECKPOINTS + (sealed === null || sealed.recipe === recipe.id ? 0 : 1);
      const collected = (await readdir(arena.home.checkpoints)).length <= kept;
      if (!deciding && checkpoint?.recipe === recipe.id && collected) return;
      await sleep(POLL_MS);
    }
  });
  return { victim, token };
}

/** Runs something that the victim may not survive; other failures count. */
async function unlessKilled(victim: Running['victim'], work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (errorCode(error) !== 'DAEMON_UNREACHABLE') throw error;
    await victim.ended;
    if ((await victim.traced.killed()) === undefined) throw victim.failure('ended by itself');
  }
}

/** Whether a command came to its end before it was killed. @throws when it failed */
async function done(victim: Victim): Promise<boolean> {
  const code = await victim.ended;
  if (code !== 0 && (await victim.traced.killed()) === undefined) throw victim.failure(`ended with ${code}`);
  return code === 0;
}

async function untilHeld({ victim, api }: Running, update: string): Promise<void> {
  await unlessKilled(victim, async () => {
    while (!(await api.log()).some(({ id, state }) => id === update && state === 'held')) await sleep(POLL_MS);
  });
}

/** What a pull left that may have been cut off: nothing, or all of it. */
async function wholeOrAbsent(arena: Arena, out: string, done: boolean): Promise<void> {
  if (await exists(out)) await arena.checkPulled(out);
  else if (done) throw new Error('a finished pull is gone');
}
