import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { pinToBarCores } from '../machine.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { clipVision, VIT_B32, VIT_TINY } from './models.ts';
import { foldFirst, removeAll, syntheticUpdates, takeStep } from './steps.ts';
import { CPU } from './subject.ts';

const bars: readonly BarDefinition[] = [
  {
    id: 'merge.memory.layers',
    what: 'peak resident memory of a step (ref, LAPACK) of a ViT of width 768 with 24 layers / with 12',
    unit: 'ratio',
    target: 1.1,
    sense: 'at most',
    numeratorIs: 'bytes at the peak of the whole process, 24 layers',
    denominatorIs: 'bytes at the peak of the whole process, 12 layers',
  },
];

/** Memory does not depend on how deep a model is. */
export const layersGroup: Group = { bars, run };

async function run(context: BenchmarkContext, { outcomes, tables }: Findings): Promise<void> {
  const { quick, say, rounds: count } = context;
  const prefix = await pinToBarCores();
  const shape = quick ? VIT_TINY : VIT_B32;
  const prepared = async (layers: number) => {
    const updates = await syntheticUpdates(context, clipVision(`vit-${layers}-layers`, { ...shape, layers }), 2);
    const { states } = await foldFirst(context, updates, { variant: 'ref', keep: [1] });
    return { updates, from: states.get(1)! };
  };
  const [deep, shallow] = [await prepared(2 * shape.layers), await prepared(shape.layers)];
  const take = (one: typeof deep) => takeStep(context, { ...one, step: 2, variant: 'ref', backend: CPU, prefix });
  const rounds = await interleave(count, { shallow: () => take(shallow), deep: () => take(deep) }, (round) =>
    say(`memory by layers: round ${round + 1} of ${count}`),
  );
  const peaks = rounds.map(({ deep, shallow }) => ({ numerator: deep.peak, denominator: shallow.peak }));
  outcomes.set('merge.memory.layers', medianRatio(peaks));
  const row = (layers: number, runs: readonly (typeof rounds)[number]['deep'][]) => ({
    layers,
    seconds: median(runs.map((one) => one.seconds)),
    'peak MiB': median(runs.map((one) => one.peak)) / 2 ** 20,
    'above idle MiB': median(runs.map((one) => one.peak - one.idle)) / 2 ** 20,
  });
  tables.push({
    title: `memory by layers, medians of ${count} rounds`,
    rows: [
      row(
        shape.layers,
        rounds.map((round) => round.shallow),
      ),
      row(
        2 * shape.layers,
        rounds.map((round) => round.deep),
      ),
    ],
  });
  for (const { updates, from } of [deep, shallow]) await removeAll([from, updates.at(1), updates.at(2)]);
}
