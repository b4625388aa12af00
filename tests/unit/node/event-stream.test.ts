import { describe, expect, test } from 'vitest';
import type { NodeEvent } from '../../../node/service/documents.ts';
import { EventStream, MAX_EVENT_READERS, MAX_QUEUED_EVENTS } from '../../../node/service/event-stream.ts';

const event = (updates: number): NodeEvent => ({ type: 'fold', updates, target: 0 });

async function take(events: AsyncIterable<NodeEvent>, count: number): Promise<number[]> {
  const taken: number[] = [];
  for await (const one of events) {
    if (one.type === 'fold') taken.push(one.updates);
    if (taken.length === count) break;
  }
  return taken;
}

describe('the event stream', () => {
  test('gives every reader every event from its subscription on', async () => {
    const stream = new EventStream();
    const { signal } = new AbortController();
    stream.push([event(0)]);
    const first = stream.subscribe(signal);
    stream.push([event(1)]);
    const second = stream.subscribe(signal);
    stream.push([event(2), event(3)]);
    expect(await take(first, 3)).toEqual([1, 2, 3]);
    expect(await take(second, 2)).toEqual([2, 3]);
  });

  test('a slow reader loses the oldest events beyond the bound, no others', async () => {
    const stream = new EventStream();
    const events = stream.subscribe(new AbortController().signal);
    for (let i = 0; i < MAX_QUEUED_EVENTS + 5; i++) stream.push([event(i)]);
    const taken = await take(events, MAX_QUEUED_EVENTS);
    expect(taken[0]).toBe(5);
    expect(taken.at(-1)).toBe(MAX_QUEUED_EVENTS + 4);
  });

  test('wakes a waiting reader, and ends it when its signal aborts', async () => {
    const stream = new EventStream();
    const controller = new AbortController();
    const events = stream.subscribe(controller.signal)[Symbol.asyncIterator]();
    const waiting = events.next();
    stream.push([event(7)]);
    expect((await waiting).value).toEqual(event(7));
    const ending = events.next();
    controller.abort();
    expect((await ending).done).toBe(true);
  });

  test('bounds its readers; one that left makes room', async () => {
    const stream = new EventStream();
    const controllers = Array.from({ length: MAX_EVENT_READERS }, () => new AbortController());
    for (const { signal } of controllers) stream.subscribe(signal);
    const more = () => stream.subscribe(new AbortController().signal);
    expect(more).toThrow(expect.objectContaining({ code: 'API_BUSY' }));
    controllers[0]!.abort();
    expect(more).not.toThrow();
    expect(more).toThrow();
  });

  test('a signal that was aborted before takes no place', () => {
    const stream = new EventStream();
    for (let i = 0; i < 2 * MAX_EVENT_READERS; i++) stream.subscribe(AbortSignal.abort());
    expect(() => stream.subscribe(new AbortController().signal)).not.toThrow();
  });
});
