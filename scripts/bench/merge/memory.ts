import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { pinToBarCores } from '../machine.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { clipVision, largestBytes, VIT_B32, VIT_TINY } from './models.ts';
import { foldFirst, removeAll, syntheticUpdates, takeStep } from './steps.ts';
import { CPU } from './subject.ts';

const MIB = 2 ** 20;
/** Working copies of the largest tensor that a step may hold, and what it may need whatever the model. */
const COPIES = 8;
const FIXED_BYTES = 128 * MIB;

const bars: readonly BarDefinition[] = [
  {
    id: 'merge.memory.vitb32',
    what: `peak resident memory above idle of a step of ViT-B/32 (ref, LAPACK), highest of all rounds / (${COPIES} x the largest tensor + 128 MiB)`,
    unit: 'ratio',
    target: 1,
    sense: 'at most',
    numeratorIs:
      'bytes at the peak of the whole process, less those of the same process with the engine open and warm (threads and libraries loaded)',
    denominatorIs: `${COPIES} x the float32 bytes of the largest tensor + 128 MiB`,
  },
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

/** Memory goes with the largest tensor, not with the model. */
export const memoryGroup: Group = { bars, run };

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
  outcomes.set('merge.memory.vitb32', {
    numerator: Math.max(...rounds.map(({ shallow }) => shallow.peak - shallow.idle)),
    denominator: COPIES * largestBytes(shallow.updates.model) + FIXED_BYTES,
  });
  const peaks = rounds.map(({ deep, shallow }) => ({ numerator: deep.peak, denominator: shallow.peak }));
  outcomes.set('merge.memory.layers', medianRatio(peaks));
  const row = (layers: number, runs: readonly (typeof rounds)[number]['deep'][]) => ({
    layers,
    seconds: median(runs.map((one) => one.seconds)),
    'peak MiB': median(runs.map((one) => one.peak)) / MIB,
    'highest peak MiB': Math.max(...runs.map((one) => one.peak)) / MIB,
    'above idle MiB': median(runs.map((one) => one.peak - one.idle)) / MIB,
    'above loaded modules MiB': median(runs.map((one) => one.peak - one.loaded)) / MIB,
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
