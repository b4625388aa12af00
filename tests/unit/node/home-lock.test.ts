import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { access, readFile, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { homeOwner, lockHome } from '../../../node/home/lock.ts';
import { LOCK_BEAT_MS, LOCK_STALE_MS } from '../../../node/home/lock-owner.ts';
import { eventually, scratch } from './support.ts';

const LOCK = fileURLToPath(new URL('../../../node/home/lock.ts', import.meta.url));

/** The process id of a process that has ended. */
function deadPid(): number {
  return spawnSync(process.execPath, ['-e', '']).pid;
}

describe('the lock of a home', () => {
  test('names its owner while it is held and leaves nothing when released', async () => {
    const path = join(await scratch(), 'lock.json');
    const lock = await lockHome(path, 'a test');
    expect(await homeOwner(path)).toMatchObject({ pid: process.pid, command: 'a test' });
    await lock.release();
    expect(await homeOwner(path)).toBeUndefined();
    await expect(access(path)).rejects.toThrow('ENOENT');
  });

  test('refuses a second owner, naming the first, and leaves the lock as it is', async () => {
    const path = join(await scratch(), 'lock.json');
    await lockHome(path, 'the first');
    const before = await readFile(path, 'utf8');
    await expect(lockHome(path, 'the second')).rejects.toMatchObject({
      code: 'HOME_LOCKED',
      fields: { pid: process.pid, command: 'the first' },
    });
    expect(await readFile(path, 'utf8')).toBe(before);
  });

  test('takes over the lock of a process that is dead', async () => {
    const path = join(await scratch(), 'lock.json');
    await writeFile(path, JSON.stringify({ pid: deadPid(), started: '1', command: 'killed' }));
    expect(await homeOwner(path)).toBeUndefined();
    await lockHome(path, 'next');
    expect(await homeOwner(path)).toMatchObject({ pid: process.pid });
  });

  test.runIf(process.platform === 'linux')('takes over a lock whose pid now belongs to another process', async () => {
    const path = join(await scratch(), 'lock.json');
    await writeFile(path, JSON.stringify({ pid: process.pid, started: '1', command: 'before the reboot' }));
    await lockHome(path, 'after');
    expect(await homeOwner(path)).toMatchObject({ command: 'after' });
  });

  test.runIf(process.platform === 'linux')(
    'tells another boot from this one, and keeps to a lock without any',
    async () => {
      const path = join(await scratch(), 'lock.json');
      const lock = await lockHome(path, 'this boot');
      const mine = JSON.parse(await readFile(path, 'utf8')) as { started: string };
      await lock.release();
      const [ticks] = mine.started.split('@');
      const other = `${ticks}@00000000-0000-0000-0000-000000000000`;
      await writeFile(path, JSON.stringify({ pid: process.pid, started: other, command: 'another boot' }));
      expect(await homeOwner(path)).toBeUndefined();
      await writeFile(path, JSON.stringify({ pid: process.pid, started: ticks, command: 'an older version' }));
      expect(await homeOwner(path)).toMatchObject({ command: 'an older version' });
    },
  );

  test.runIf(process.platform === 'linux')(
    'counts in another container as held as long as it is touched, and no longer',
    async () => {
      const path = join(await scratch(), 'lock.json');
      await writeFile(path, JSON.stringify({ pid: deadPid(), started: '1', place: 'elsewhere', command: 'far away' }));
      const age = async (milliseconds: number) => {
        const touched = new Date(Date.now() - milliseconds);
        await utimes(path, touched, touched);
      };
      await age(LOCK_STALE_MS - 2_000);
      expect(await homeOwner(path)).toMatchObject({ command: 'far away' });
      await expect(lockHome(path, 'next')).rejects.toMatchObject({
        code: 'HOME_LOCKED',
        message: expect.stringContaining('of another container or machine'),
      });
      await age(LOCK_STALE_MS + 100);
      expect(await homeOwner(path)).toBeUndefined();
      await (await lockHome(path, 'next')).release();
    },
  );

  test('is touched while it is held, and says when somebody else has taken it', async () => {
    const directory = await scratch();
    const [kept, taken] = [join(directory, 'kept.json'), join(directory, 'taken.json')];
    const locks = [await lockHome(kept, 'kept'), await lockHome(taken, 'taken')] as const;
    const long = new Date(Date.now() - 2 * LOCK_STALE_MS);
    await utimes(kept, long, long);
    await writeFile(taken, JSON.stringify({ pid: process.pid, started: null, command: 'another' }));
    await eventually(() => expect(locks[1].lost.aborted).toBe(true), 2 * LOCK_BEAT_MS);
    await eventually(async () => expect((await stat(kept)).mtimeMs).toBeGreaterThan(Date.now() - LOCK_STALE_MS));
    expect(locks[0].lost.aborted).toBe(false);
    await Promise.all(locks.map((lock) => lock.release()));
  });

  test.each(['', '{"pid":', '[]', '{"pid":"12"}', '{"pid":-1}'])(
    'takes over a file that names nobody: %j',
    async (text) => {
      const path = join(await scratch(), 'lock.json');
      await writeFile(path, text);
      expect(await homeOwner(path)).toBeUndefined();
      await lockHome(path, 'next');
      expect(await homeOwner(path)).toMatchObject({ pid: process.pid });
    },
  );

  test('a release takes away only its own lock', async () => {
    const path = join(await scratch(), 'lock.json');
    const old = await lockHome(path, 'old');
    const successor = JSON.stringify({ pid: process.pid, started: null, command: 'successor' });
    await writeFile(path, successor);
    await old.release();
    expect(await readFile(path, 'utf8')).toBe(successor);
  });

  test('of racers over a stale lock exactly one wins, in one process', async () => {
    for (let round = 0; round < 20; round++) {
      const path = join(await scratch(), 'lock.json');
      if (round % 2 === 0) await writeFile(path, JSON.stringify({ pid: 999_999_999, started: '1', command: 'dead' }));
      const tries = await Promise.allSettled(Array.from({ length: 8 }, (_, i) => lockHome(path, `racer ${i}`)));
      expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
      for (const tried of tries) if (tried.status === 'rejected') expect(tried.reason.code).toBe('HOME_LOCKED');
    }
  });

  test('of racing processes exactly one wins', async () => {
    const directory = await scratch();
    const path = join(directory, 'lock.json');
    await writeFile(path, JSON.stringify({ pid: deadPid(), started: '1', command: 'dead' }));
    const program = `
      const { lockHome } = await import(${JSON.stringify(LOCK)});
      process.stdin.once('data', async () => {
        try { await lockHome(${JSON.stringify(path)}, 'racer'); console.log('won'); }
        catch (error) { console.log(error.code); }
      });
      console.log('ready');`;
    const racers = Array.from({ length: 4 }, () =>
      spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: ['pipe', 'pipe', 'inherit'] }),
    );
    try {
      await Promise.all(racers.map(({ stdout }) => once(stdout, 'data')));
      const answers = racers.map(({ stdout }) => once(stdout, 'data'));
      for (const { stdin } of racers) stdin.write('go\n');
      const said = (await Promise.all(answers)).map(([data]) => String(data).trim());
      expect(said.sort()).toEqual(['HOME_LOCKED', 'HOME_LOCKED', 'HOME_LOCKED', 'won']);
    } finally {
      for (const racer of racers) racer.kill('SIGKILL');
    }
  });
});
