import { type BarDefinition, isAsked } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { BAR_CORES, pinToBarCores } from '../machine.ts';
import { findTorch } from '../python.ts';
import { interleave, median, medianRatio } from '../rounds.ts';
import type { Variant } from './floor.ts';
import type { Folded } from './fold-child.ts';
import { clipVision, matrixShapes, type ShapeCount, VIT_B32, VIT_TINY } from './models.ts';
import { describeNumpy, findNumpy, svdSeconds } from './numpy.ts';
import { measureRate, medianRate } from './rate.ts';
import { reportSteps } from './report.ts';
import { foldFirst, removeAll, syntheticUpdates, takeStep } from './steps.ts';
import { type Backend, CPU, PORTABLE } from './subject.ts';

const speed = (id: string, what: string, target: number): BarDefinition => ({
  id: `merge.${id}.speedup`,
  what: `ViT-B/32 on ${BAR_CORES} cores, cpu: the reference's SVDs alone / one whole step, ${what}`,
  unit: 'ratio',
  target,
  sense: 'at least',
  numeratorIs: "seconds of numpy's full SVD of one float32 matrix of each shape times how many have it",
  denominatorIs: 'seconds from opening the second update until the new state has its name, in a fresh process',
});

const bars: readonly BarDefinition[] = [
  speed('ref', 'variant ref, LAPACK', 4),
  speed('lite', 'variant lite, LAPACK', 5),
  speed('portable', 'variant ref, portable eigensolver', 1),
];

/** The step that the bars are about, beside what the published implementation spends its time on. */
export const vitB32Group: Group = { bars, run };

const STEPS = {
  ref: { variant: 'ref', backend: CPU },
  lite: { variant: 'lite', backend: CPU },
  portable: { variant: 'ref', backend: PORTABLE },
} satisfies Record<string, { variant: Variant; backend: Backend }>;
const IDS = ['ref', 'lite', 'portable'] as const;

async function run(context: BenchmarkContext, findings: Findings): Promise<void> {
  const { quick, say, signal, rounds: count } = context;
  const { outcomes, notes } = findings;
  const prefix = await pinToBarCores();
  const python = { signal, prefix, threads: BAR_CORES };
  const numpy = await findNumpy(context);
  notes.push(`reference: ${describeNumpy(numpy)}, ${BAR_CORES} threads`);
  const without = (error: Error) => {
    signal.throwIfAborted();
    const note = `torch was not measured: ${error.message}`;
    if (!notes.includes(note)) notes.push(note);
    return undefined;
  };
  const torch = await findTorch({ wanted: context.python, install: context.install, signal }).catch(without);
  const model = quick ? clipVision('vit-tiny', VIT_TINY) : clipVision('vit-b32', VIT_B32);
  const shapes = matrixShapes(model);
  const updates = await syntheticUpdates(context, model, 2);
  const states = {
    ref: (await foldFirst(context, updates, { variant: 'ref', keep: [1] })).states.get(1)!,
    lite: (await foldFirst(context, updates, { variant: 'lite', keep: [1] })).states.get(1)!,
  };
  const asked = IDS.filter((id) => isAsked(`merge.${id}.speedup`, context.only));
  const takes: Record<string, () => Promise<Folded>> = {};
  for (const id of asked) {
    const { variant, backend } = STEPS[id];
    const step = { updates, step: 2, from: states[variant], variant, backend, prefix };
    takes[id] = () => takeStep(context, step);
  }
  const rounds = await interleave(
    count,
    {
      numpy: () => svdSeconds('numpy', numpy.python, shapes, python),
      steps: async () => (await interleave(1, takes))[0]!,
      torch: async () => (torch === undefined ? undefined : svdSeconds('torch', torch, shapes, python).catch(without)),
      rate: () => measureRate(context, python),
    },
    (round) => say(`${model.name} beside numpy: round ${round + 1} of ${count}`),
  );
  for (const id of asked) {
    const fractions = rounds.map((round) => ({
      numerator: round.numpy.seconds,
      denominator: round.steps[id]!.seconds,
    }));
    outcomes.set(`merge.${id}.speedup`, medianRatio(fractions));
  }
  const torchRuns = rounds.flatMap((round) => round.torch ?? []);
  const svd = [`numpy ${numpy.numpy}`, rounds.map((round) => round.numpy)] as const;
  const withTorch = torchRuns.length === 0 ? [] : [[`torch ${torchRuns[0]!.version}`, torchRuns] as const];
  const rows = [svd, ...withTorch].map(([what, runs]) => svdRow(what, shapes, runs));
  findings.tables.push({ title: `full SVDs of ${model.name}, float32, ${BAR_CORES} threads, seconds`, rows });
  const steps = asked.map((id) => ({
    shape: model.name,
    ...STEPS[id],
    rounds: rounds.map((round) => round.steps[id]!),
  }));
  reportSteps(findings, `one step of ${model.name}`, steps, medianRate(rounds.map((round) => round.rate)));
  await removeAll([...Object.values(states), updates.at(1), updates.at(2)]);
}

/** Medians of one SVD of each shape, and of the whole. */
function svdRow(
  what: string,
  shapes: readonly ShapeCount[],
  runs: readonly { readonly seconds: number; readonly each: readonly number[] }[],
): Record<string, Cell> {
  const each = shapes.map(({ rows, columns, count }, i) => {
    return [`${count} of ${rows} x ${columns}`, median(runs.map((run) => run.each[i]!))] as const;
  });
  return { what, ...Object.fromEntries(each), 'times counts': median(runs.map((run) => run.seconds)) };
}
