import type { BarDefinition, Fraction } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { pinToBarCores } from '../machine.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import { VARIANTS } from './floor.ts';
import type { Folded } from './fold-child.ts';
import { vitBlocks } from './models.ts';
import { foldFirst, removeAll, syntheticUpdates, takeStep } from './steps.ts';
import { CPU } from './subject.ts';

const FULL = { width: 768, blocks: 2, early: 2, late: 32 };
const QUICK = { width: 32, blocks: 1, early: 2, late: 4 };

const bars: readonly BarDefinition[] = [
  {
    id: 'merge.growth',
    what: "two blocks of ViT-B/32, LAPACK: the 32nd update's step / the 2nd's, the largest of time and peak memory, ref and lite",
    unit: 'ratio',
    target: 1.15,
    sense: 'at most',
    numeratorIs: 'seconds, or bytes at the peak of a fresh process, of the step of the 32nd update',
    denominatorIs: 'the same of the step of the 2nd',
  },
];

/** A step costs the same however many updates came before. */
export const growthGroup: Group = { bars, run };

async function run(context: BenchmarkContext, { outcomes, tables }: Findings): Promise<void> {
  const { say, rounds: count } = context;
  const { width, blocks, early, late } = context.quick ? QUICK : FULL;
  const prefix = await pinToBarCores();
  const model = vitBlocks(`vit-${blocks}-blocks`, width, blocks);
  const updates = await syntheticUpdates(context, model, late);
  const rows: Record<string, Cell>[] = [];
  const ratios: (Fraction & { readonly rounds: readonly number[] })[] = [];
  for (const variant of VARIANTS) {
    const { states } = await foldFirst(context, updates, { variant, keep: [early - 1, late - 1] });
    const take = (step: number) =>
      takeStep(context, { updates, step, from: states.get(step - 1)!, variant, backend: CPU, prefix });
    const rounds = await interleave(count, { early: () => take(early), late: () => take(late) }, (round) =>
      say(`growth, ${variant}: round ${round + 1} of ${count}`),
    );
    const ratio = (pick: (folded: Folded) => number) =>
      medianRatio(rounds.map(({ early, late }) => ({ numerator: pick(late), denominator: pick(early) })));
    const [time, memory] = [ratio((folded) => folded.seconds), ratio((folded) => folded.peak)];
    ratios.push(time, memory);
    for (const [step, runs] of [
      [early, rounds.map((round) => round.early)],
      [late, rounds.map((round) => round.late)],
    ] as const) {
      const last = step === late;
      rows.push({
        variant,
        update: step,
        seconds: median(runs.map((one) => one.seconds)),
        'peak MiB': median(runs.map((one) => one.peak)) / 2 ** 20,
        'time ratio': last ? time.numerator / time.denominator : null,
        'memory ratio': last ? memory.numerator / memory.denominator : null,
      });
    }
    await removeAll(states.values());
  }
  const worst = ratios.reduce((a, b) => (b.numerator / b.denominator > a.numerator / a.denominator ? b : a));
  outcomes.set('merge.growth', worst);
  tables.push({ title: `growth with the number of updates, medians of ${count} rounds`, rows });
  await removeAll(Array.from({ length: late }, (_, i) => updates.at(i + 1)));
}
