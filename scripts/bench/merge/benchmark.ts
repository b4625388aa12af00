import type { Benchmark, BenchmarkContext, BenchmarkResult } from '../benchmark.ts';
import { runGroups } from '../groups.ts';
import { differenceGroup } from './difference.ts';
import { eigenGroup } from './eigen.ts';
import { growthGroup } from './growth.ts';
import { memoryGroup } from './memory.ts';
import { shapesGroup } from './shapes.ts';
import { vitB32Group } from './vitb32.ts';

const GROUPS = [vitB32Group, memoryGroup, growthGroup, eigenGroup, differenceGroup, shapesGroup];

/** Three states of a ViT of 24 layers, 0.7 GB each, and updates. */
const NEEDED_BYTES = 4 * 2 ** 30;
const NEEDED_BYTES_QUICK = 64 * 2 ** 20;

const NOTES = [
  'a step is what the daemon does with an update that it has: check its payload, decode it, fold it tensor by tensor, write and flush the new state; the engine is open before, and its threads are warm',
  "the reference counts numpy's full SVDs alone: the products and the passes over the whole model that the published implementation makes beside them would take longer still",
];

/** Speed, memory and exactness of one step of the merge. */
export const mergeBenchmark: Benchmark = {
  name: 'merge',
  about: "one step of the merge beside the published implementation's SVDs: time by phase, memory, rates, backends",
  bars: GROUPS.flatMap((group) => group.bars),
  programs: {},
  neededBytes: (quick) => (quick ? NEEDED_BYTES_QUICK : NEEDED_BYTES),
  async run(context: BenchmarkContext): Promise<BenchmarkResult> {
    const result = await runGroups(GROUPS, context);
    return { ...result, notes: [...NOTES, ...result.notes] };
  },
};
