import fc from 'fast-check';
import { expect, test } from 'vitest';
import { EventQueue } from '../../../scripts/simulate/event-queue.ts';

test('events come by their times, and in the order they were put in where these are equal', () => {
  fc.assert(
    fc.property(fc.array(fc.nat(20), { maxLength: 200 }), fc.nat(200), (times, taken) => {
      const queue = new EventQueue();
      const came: { at: number; turn: number }[] = [];
      const put = (at: number, turn: number) => queue.put(at, () => came.push({ at, turn }));
      const half = Math.floor(times.length / 2);
      const first = times.slice(0, half).map((at, turn) => ({ at, turn }));
      for (const { at, turn } of first) put(at, turn);
      for (let i = 0; i < taken && queue.size > 0; i++) queue.take()!();
      const before = came.splice(0);
      const late = times.slice(half).map((at, place) => ({ at, turn: half + place }));
      for (const { at, turn } of late) put(at, turn);
      while (queue.size > 0) {
        const { next } = queue;
        queue.take()!();
        expect(came.at(-1)!.at).toBe(next);
      }
      const inOrder = (events: typeof came) => [...events].sort((a, b) => a.at - b.at || a.turn - b.turn);
      expect(before).toEqual(inOrder(first).slice(0, before.length));
      const left = first.filter(({ turn }) => before.every((event) => event.turn !== turn));
      expect(came).toEqual(inOrder([...left, ...late]));
    }),
  );
});

test('an empty queue has nothing next', () => {
  const queue = new EventQueue();
  expect(queue.next).toBe(Number.POSITIVE_INFINITY);
  expect(queue.take()).toBeUndefined();
});
