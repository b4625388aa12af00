import { expect, test } from 'vitest';
import { MAX_TURN_MS, Turns } from '../../../node/turns.ts';

function work(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

/** Turns of the event loop while `task` runs. */
async function turnsDuring(task: () => Promise<void>): Promise<number> {
  let turns = 0;
  let running = true;
  const count = () => {
    turns++;
    if (running) setImmediate(count);
  };
  setImmediate(count);
  await task();
  running = false;
  return turns;
}

test('a loop of steps that never wait gives the event loop its turns', async () => {
  const turns = new Turns();
  const seen = await turnsDuring(async () => {
    for (let i = 0; i < 10; i++) {
      await turns.next();
      work(MAX_TURN_MS);
    }
  });
  expect(seen).toBeGreaterThanOrEqual(9);
});

test('short steps do not wait', async () => {
  const turns = new Turns();
  await turns.next();
  const seen = await turnsDuring(async () => {
    for (let i = 0; i < 1_000; i++) await turns.next();
  });
  expect(seen).toBeLessThan(20);
});
