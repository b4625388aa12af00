import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ternaryFromSigns } from '../../../src/codec/ternary.ts';
import type { TernaryTensor } from '../../../src/codec/types.ts';
import {
  countPairs,
  FIXED_ONE,
  fixedScale,
  KinshipState,
  MAX_KINSHIP_UPDATES,
  pairFixed,
  type UpdateSource,
} from '../../../src/kinship/index.ts';
import {
  communityArbitrary,
  expectRunningSum,
  filled,
  measureOf,
  type Packed,
  pack,
  seeded,
  tableOf,
  ternaries,
} from './support.ts';

async function pairSum(probe: Packed, updates: readonly Packed[]): Promise<bigint> {
  let sum = 0n;
  for (const other of updates) {
    sum += pairFixed(probe.measure, other.measure, await countPairs(probe.payload, other.payload));
  }
  return sum;
}

describe('the running kinship state', () => {
  it('equals the sum over pairs exactly, in any order, and gives an update back exactly', async () => {
    await fc.assert(
      fc.asyncProperty(communityArbitrary({ min: 3, max: 6 }), fc.integer(), async ({ table, updates }, seed) => {
        const packed = await Promise.all(updates.map((update) => pack(table, ternaries(update))));
        await expectRunningSum(packed, pairSum, seed);
      }),
      { numRuns: 50 },
    );
  });

  it('has fixed scales that round halves up and stay within one', () => {
    const one = (scale: number) => ({ scale, peak: 1 });
    expect(fixedScale(one(1), 1)).toBe(FIXED_ONE);
    expect(fixedScale(one(3), 2 ** 33)).toBe(2);
    expect(fixedScale(one(1), 2 ** 34)).toBe(0);
    expect(() => fixedScale(one(1), 0)).toThrow(expect.objectContaining({ code: 'ZERO_UPDATE' }));
    expect(() => fixedScale(one(2), 1)).toThrow(expect.objectContaining({ code: 'MEASURE_MISMATCH' }));
    const float32 = fc.float({ min: 2 ** -126, noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(fc.array(float32, { minLength: 1, maxLength: 5 }), (scales) => {
        const measure = measureOf(scales.map((scale) => ({ signs: [1], scale })));
        for (const scale of scales) expect(fixedScale(one(scale), measure.norm)).toBeLessThanOrEqual(FIXED_ONE);
      }),
    );
  });

  it('sums more entries than one block of limbs, exactly', async () => {
    const elements = 2 ** 20 + 77;
    const random = seeded(7);
    const updates = [0, 1, 2].map(() => Array.from({ length: elements }, () => Math.floor(3 * random()) - 1));
    const table = tableOf([elements]);
    const packed = await Promise.all(updates.map((signs) => pack(table, [ternaryFromSigns(0, signs, 0.5)!])));
    const [probe, ...rest] = packed;
    const state = await filled(rest);
    expect(await state.dot(probe!.payload, probe!.measure)).toBe(await pairSum(probe!, rest));
    expect(await state.dot(rest[0]!.payload, rest[0]!.measure)).toBe(await pairSum(rest[0]!, rest));
  });

  it('stays exact up to its limit of updates, and refuses the next', async () => {
    const plus = source([ternaryFromSigns(0, [1, -1], 1)!]);
    // A norm equal to the scale, as one entry in it would give: the largest step that an entry can take.
    const largest = {
      bytes: 0,
      tensors: [{ index: 0, scale: 1, entries: 2, sum: 0, squares: 2, peak: 1 }],
      elements: 2,
      nnz: 2,
      norm: 1,
      sum: 0,
    };
    const probe = source([ternaryFromSigns(0, [1, 0], 1)!]);
    const probeMeasure = measureOf([{ signs: [1, 0], scale: 1 }]);
    const state = new KinshipState();
    for (let k = 0; k < MAX_KINSHIP_UPDATES; k++) await state.add(plus, largest);
    expect(state.count).toBe(MAX_KINSHIP_UPDATES);
    expect(await state.dot(probe, probeMeasure)).toBe(2n ** 84n);
    expect(await state.dot(plus, largest)).toBe(2n ** 85n);
    await expect(state.add(plus, largest)).rejects.toMatchObject({ code: 'TOO_MANY_UPDATES' });
    expect(await state.dot(probe, probeMeasure)).toBe(2n ** 84n);
    await state.subtract(plus, largest);
    expect(await state.dot(probe, probeMeasure)).toBe(2n ** 84n - 2n ** 64n);
    expect(await state.meanCosine(probe, probeMeasure)).toBe(1);
  });

  it('is unchanged by an update that fails half way or is aborted', async () => {
    const table = tableOf([40, 3]);
    const a = await pack(table, ternaries({ signs: [Array(40).fill(1), [1, 0, -1]], scales: [1, 2] }));
    const b = await pack(table, ternaries({ signs: [Array(40).fill(-1), [0, 1, -1]], scales: [3, 1] }));
    const state = await filled([a]);
    const before = await state.dot(b.payload, b.measure);

    const [first, second] = b.measure.tensors;
    const lying = { ...b.measure, tensors: [first!, { ...second!, sum: second!.sum + 1 }] };
    await expect(state.add(b.payload, lying)).rejects.toMatchObject({ code: 'MEASURE_MISMATCH' });
    await expect(state.add(b.payload, { ...b.measure, tensors: [first!] })).rejects.toMatchObject({
      code: 'MEASURE_MISMATCH',
    });
    const controller = new AbortController();
    const aborted = state.add(b.payload, b.measure, {
      signal: controller.signal,
      onProgress: () => controller.abort(),
    });
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
    expect(state.count).toBe(1);
    expect(await state.dot(b.payload, b.measure)).toBe(before);
  });

  it('refuses to answer once a failed change could not be undone', async () => {
    const tensors = ternaries({
      signs: [
        [1, 1],
        [1, -1],
      ],
      scales: [1, 1],
    });
    const measure = measureOf([
      { signs: [1, 1], scale: 1 },
      { signs: [1, -1], scale: 1 },
    ]);
    let reads = 0;
    const dying: UpdateSource = {
      ...source(tensors),
      tensor: async (index) => {
        reads += 1;
        if (reads > 1) throw new Error('the disk is gone');
        return tensors[index]!;
      },
    };
    const state = new KinshipState();
    await expect(state.add(dying, measure)).rejects.toThrow('the disk is gone');
    await expect(state.dot(source(tensors), measure)).rejects.toMatchObject({ code: 'STATE_SPOILED' });
    await expect(state.add(source(tensors), measure)).rejects.toMatchObject({ code: 'STATE_SPOILED' });
  });

  it('runs calls that are not awaited one after another', async () => {
    const table = tableOf([3, 3]);
    const a = await pack(
      table,
      ternaries({
        signs: [
          [1, 0, 1],
          [1, 1, 1],
        ],
        scales: [1, 1],
      }),
    );
    const state = new KinshipState();
    const [, dot] = await Promise.all([state.add(a.payload, a.measure), state.dot(a.payload, a.measure)]);
    expect(dot).toBe(await pairSum(a, [a]));
  });

  it('refuses a zero update, an empty subtraction and another table', async () => {
    const zero = await pack(tableOf([3]), []);
    const some = await pack(tableOf([3]), ternaries({ signs: [[1, 0, 0]], scales: [1] }));
    const wide = await pack(tableOf([4]), ternaries({ signs: [[1, 0, 0, 0]], scales: [1] }));
    const state = new KinshipState();
    await expect(state.add(zero.payload, zero.measure)).rejects.toMatchObject({ code: 'ZERO_UPDATE' });
    await expect(state.subtract(some.payload, some.measure)).rejects.toMatchObject({ code: 'STATE_EMPTY' });
    expect(await state.meanCosine(some.payload, some.measure)).toBeNull();
    await state.add(some.payload, some.measure);
    expect(await state.meanCosine(zero.payload, zero.measure)).toBeNull();
    await expect(state.add(wide.payload, wide.measure)).rejects.toMatchObject({ code: 'TABLE_MISMATCH' });
    await expect(state.dot(wide.payload, wide.measure)).rejects.toMatchObject({ code: 'TABLE_MISMATCH' });
    expect(state.count).toBe(1);
  });
});

/** Tensors in memory, for what no encoded payload can be or is too slow to read a million times. */
function source(tensors: readonly TernaryTensor[]): UpdateSource {
  return {
    sections: tensors,
    tensor: async (index) => tensors.find((tensor) => tensor.index === index) ?? null,
  };
}
