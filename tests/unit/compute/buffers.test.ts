import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Buffers, type Scratch, SLAB_BYTES } from '../../../src/compute/buffers.ts';

describe('working memory', () => {
  it('never hands out what is in use, and has all of it again when all is given back', () => {
    const steps = fc.array(
      fc.record({ give: fc.boolean(), length: fc.integer({ min: 0, max: 300_000 }), at: fc.nat() }),
    );
    fc.assert(
      fc.property(steps, (commands) => {
        const buffers = new Buffers();
        const held: { view: Scratch; mark: number }[] = [];
        let mark = 0;
        for (const { give, length, at } of commands) {
          if (give && held.length > 0) {
            const { view, mark: expected } = held.splice(at % held.length, 1)[0]!;
            expect([view.at(0), view.at(-1)]).toEqual(
              view.length === 0 ? [undefined, undefined] : [expected, expected],
            );
            buffers.give(view);
          } else if (held.reduce((sum, { view }) => sum + view.byteLength + 64, 8 * length) < SLAB_BYTES / 2) {
            const view = length % 2 === 0 ? buffers.float64(length) : buffers.float32(length);
            expect(view.length).toBe(length);
            mark++;
            view.fill(mark);
            held.push({ view, mark });
          }
        }
        for (const { view } of held) buffers.give(view);
        const whole = buffers.float64(SLAB_BYTES / 8);
        expect(whole.byteOffset).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  it('uses one slab for what fits into it, and another of its own size for what does not', () => {
    const buffers = new Buffers();
    const first = buffers.float64(1000);
    expect(buffers.float32(1000).buffer).toBe(first.buffer);
    const large = buffers.float64(SLAB_BYTES / 8 + 1);
    expect(large.buffer).not.toBe(first.buffer);
    expect(large.length).toBe(SLAB_BYTES / 8 + 1);
  });

  it('takes back the whole of what it gave by a view of its first part', () => {
    const buffers = new Buffers();
    const whole = buffers.float64(SLAB_BYTES / 8);
    buffers.give(whole.subarray(0, 10));
    expect(buffers.float64(SLAB_BYTES / 8).buffer).toBe(whole.buffer);
  });

  it('keeps no slab that one large matrix needed', () => {
    const buffers = new Buffers();
    const large = buffers.float64(SLAB_BYTES / 8 + 1);
    buffers.give(large);
    expect(buffers.float64(10).buffer.byteLength).toBe(SLAB_BYTES);
  });

  it('forgets what a job that ended in its middle did not give back', () => {
    const buffers = new Buffers();
    const lost = buffers.float64(SLAB_BYTES / 8);
    buffers.reset();
    expect(buffers.float64(SLAB_BYTES / 8).buffer).not.toBe(lost.buffer);
    buffers.give(lost);
  });

  it('refuses what was given back before, and leaves alone what is not its own', () => {
    const buffers = new Buffers();
    const view = buffers.float64(10);
    buffers.give(view);
    expect(() => buffers.give(view)).toThrow(RangeError);
    buffers.give(new Float64Array(10));
  });
});
