import type { Benchmark } from '../benchmark.ts';
import { runGroups } from '../groups.ts';
import { expertsGroup } from './experts.ts';
import { llamaGroup } from './llama.ts';
import { loraGroup } from './lora.ts';
import { torchGroup } from './torch.ts';
import { uniformGroup } from './uniform.ts';
import { vision8SizesGroup } from './vision8-sizes.ts';

const GROUPS = [uniformGroup, vision8SizesGroup, expertsGroup, torchGroup, llamaGroup, loraGroup];

/** Two pairs of checkpoints of 2.2 GB and 0.17 GB each, updates in both modes, masks. */
const NEEDED_BYTES = 6 * 2 ** 30;
const NEEDED_BYTES_QUICK = 64 * 2 ** 20;

/** Sizes, speed and memory of the codec of updates. */
export const codecBenchmark: Benchmark = {
  name: 'codec',
  about: 'sizes beside the entropy bound and outside programs, speed beside plain reads and torch, memory',
  bars: GROUPS.flatMap((group) => group.bars),
  programs: { zstd: ['zstd', '--version'], gzip: ['gzip', '--version'] },
  neededBytes: (quick) => (quick ? NEEDED_BYTES_QUICK : NEEDED_BYTES),
  run: (context) => runGroups(GROUPS, context),
};
