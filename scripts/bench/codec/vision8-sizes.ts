import { join } from 'node:path';
import { base, expert, TASKS } from '../../demo/vision8.ts';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { countSizes, type Sizes, sizesRow, sumSizes } from './sizes.ts';
import { defaultSettings, encode, MODES } from './subject.ts';

const PERCENTS = [5, 10, 20, 50] as const;
/** The density of the bars. */
const BAR_PERCENT = 20;

const TARGETS = { global: 0.96, tensor: 1 } as const;

const bars = MODES.map(
  (mode): BarDefinition => ({
    id: `codec.size.vision8.${mode}`,
    what: `the eight experts of vision8 at ${BAR_PERCENT} %, mode ${mode}: whole payload / bound of one global density`,
    unit: 'ratio',
    target: TARGETS[mode],
    sense: 'at most',
    numeratorIs: 'bytes of the whole payload, mean over the experts',
    denominatorIs: 'bytes of the entropy bound of one density, mean over the experts',
  }),
);

/** Sizes of real updates. All experts have as many elements and kept entries, so one bound holds for all of them. */
export const vision8SizesGroup: Group = { bars, run };

async function run(context: BenchmarkContext, { outcomes, tables }: Findings): Promise<void> {
  const { workspace, signal, say, quick } = context;
  const out = join(workspace.scratch, 'vision8.update');
  const rows: Record<string, Cell>[] = [];
  for (const mode of MODES) {
    for (const percent of quick ? [BAR_PERCENT] : PERCENTS) {
      say(`sizes of vision8: mode ${mode}, ${percent} %`);
      const sizes: Sizes[] = [];
      for (const task of quick ? TASKS.slice(0, 2) : TASKS) {
        const settings = { ...defaultSettings(percent / 100), mode };
        await encode({ base, finetune: expert(task), out, settings }, { signal });
        sizes.push(await countSizes(out, { scratch: workspace.scratch, signal }));
      }
      const sum = sumSizes(sizes);
      rows.push(sizesRow({ mode, density: `${percent} %` }, sum));
      if (percent === BAR_PERCENT) {
        const denominator = sum.bound / sizes.length;
        outcomes.set(`codec.size.vision8.${mode}`, { numerator: sum.payload / sizes.length, denominator });
      }
    }
  }
  tables.push({ title: 'sizes, vision8, sums over the experts', rows });
}
