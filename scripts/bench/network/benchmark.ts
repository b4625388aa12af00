import type { Benchmark } from '../benchmark.ts';
import { runGroups } from '../groups.ts';
import { catchupGroup } from './catchup.ts';
import { decidedGroup } from './decided.ts';
import { startGroup } from './start.ts';
import { syncGroup } from './sync.ts';

const GROUPS = [syncGroup, startGroup, catchupGroup, decidedGroup];

/** A home of 10,000 records in files of a page or two each, served and fresh homes of 1,000 payloads. */
const NEEDED_BYTES = 2 ** 30;
const NEEDED_BYTES_QUICK = 128 * 2 ** 20;

/** What sync, start and catch-up cost. */
export const networkBenchmark: Benchmark = {
  name: 'network',
  about: 'bytes of a sync, start with a long log, catch-up beside a plain transfer, time until decided everywhere',
  bars: GROUPS.flatMap((group) => group.bars),
  programs: {},
  neededBytes: (quick) => (quick ? NEEDED_BYTES_QUICK : NEEDED_BYTES),
  run: (context) => runGroups(GROUPS, context),
};
