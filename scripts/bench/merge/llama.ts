import { rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import type { BarDefinition } from '../bars.ts';
import type { Benchmark, BenchmarkContext } from '../benchmark.ts';
import { runModule } from '../child.ts';
import { measuredModule } from '../compiled.ts';
import { type Findings, type Group, runGroups } from '../groups.ts';
import { BAR_CORES, pinToBarCores } from '../machine.ts';
import { describePair, pairIn } from '../pair.ts';
import { LLAMA_1B, LLAMA_TINY, llama } from '../synthetic/model.ts';
import type { Exported, ExportJob } from './export-child.ts';
import { VARIANTS } from './floor.ts';
import { elementsOf, model } from './models.ts';
import { measureRate } from './rate.ts';
import { reportSteps, type StepRounds } from './report.ts';
import { foldFirst, removeAll, takeStep, type Updates } from './steps.ts';
import { CPU, isLinear, tensorsOf, writeFinetune } from './subject.ts';
import { DENSITY, writeUpdate } from './updates.ts';

const GIB = 2 ** 30;

const bars: readonly BarDefinition[] = [
  {
    id: 'merge.llama.memory',
    what: 'peak resident memory of one step of a Llama of 1.1 billion BF16 parameters, and of writing its merged checkpoint, the largest of them',
    unit: 'GiB',
    target: 2,
    sense: 'at most',
    numeratorIs: 'bytes at the peak of the whole process',
    denominatorIs: 'bytes of a GiB',
  },
];

const EXPORT = 'merge/export-child';

/** Bytes per parameter: base and fine-tune, two states, a merged checkpoint; two updates of about a bit. */
const BYTES_PER_PARAMETER = 2 + 2 + 2 * 4 + 2 + 2 / 8;
/** Of the disk that stay free. */
const SPARE_BYTES = GIB;

const llamaModel = (quick: boolean) => (quick ? llama('llama-tiny', LLAMA_TINY) : llama('llama-1.1b', LLAMA_1B));

function neededBytes(quick: boolean): number {
  const parameters = llamaModel(quick).tensors.reduce((sum, { shape }) => sum + elementsOf(shape), 0);
  return Math.ceil(parameters * BYTES_PER_PARAMETER) + (quick ? 0 : SPARE_BYTES);
}

const group: Group = { bars, run };

/** A whole model that people have, once: minutes of time and many gigabytes of disk, so it is a benchmark of its own. */
export const mergeLlamaBenchmark: Benchmark = {
  name: 'merge-llama',
  about: 'one step of a whole Llama of 1.1 billion parameters: time by phase and memory, taken once',
  bars,
  programs: {},
  onDisk: true,
  neededBytes,
  run: (context) => runGroups([group], context),
};

async function run(context: BenchmarkContext, findings: Findings): Promise<void> {
  const { quick, workspace, signal, say } = context;
  const needed = neededBytes(quick);
  const { bavail, bsize } = await statfs(workspace.data);
  const gib = (bytes: number) => `${(bytes / GIB).toFixed(1)} GiB`;
  say(`needs ${gib(needed)} of disk in ${workspace.data}, which has ${gib(bavail * bsize)} free`);
  if (bavail * bsize < needed) {
    throw new Error(`skipped: ${workspace.data} has ${gib(bavail * bsize)} free, ${gib(needed)} are needed (--dir)`);
  }
  const prefix = await pinToBarCores();
  const synthetic = llamaModel(quick);
  const pair = await pairIn(context, synthetic);
  findings.notes.push(describePair(synthetic, pair), 'every figure is of a single run');
  const tensors = await tensorsOf(pair.base, isLinear);
  const at = (step: number) => join(workspace.scratch, `${synthetic.name}-${step}.update`);
  const updates: Updates = { model: model(synthetic.name, tensors), at };
  say('two updates: a synthetic one, then that of the fine-tune');
  await writeUpdate(at(1), updates.model, 1);
  await writeFinetune(pair, at(2), DENSITY, { signal });
  const steps: StepRounds[] = [];
  let exported: Exported | undefined;
  for (const variant of VARIANTS) {
    say(`${variant}: the first update, then the step`);
    const { states } = await foldFirst(context, updates, { variant, keep: [1] });
    const from = states.get(1)!;
    const folded = await takeStep(context, { updates, step: 2, from, variant, backend: CPU, prefix });
    steps.push({ shape: synthetic.name, variant, backend: CPU, rounds: [folded] });
    if (exported === undefined) {
      say('writing the merged checkpoint');
      const out = join(workspace.scratch, 'merged');
      const job: ExportJob = { state: from, base: pair.base, out };
      exported = await runModule<Exported>(await measuredModule(workspace, EXPORT, signal), job, { signal, prefix });
      await rm(out, { recursive: true });
    }
    await removeAll([from]);
  }
  const rate = await measureRate(context, { threads: BAR_CORES, prefix });
  reportSteps(findings, `one step of ${pair.elements} parameters on ${BAR_CORES} cores`, steps, rate);
  const { seconds, peak, idle } = exported!;
  findings.tables.push({
    title: 'the merged checkpoint, BF16',
    rows: [{ what: 'base + M', seconds, 'peak MiB': peak / 2 ** 20, 'above idle MiB': (peak - idle) / 2 ** 20 }],
  });
  const peaks = [exported!, ...steps.flatMap(({ rounds }) => rounds)].map((one) => one.peak);
  findings.outcomes.set('merge.llama.memory', { numerator: Math.max(...peaks), denominator: GIB });
  await removeAll([at(1), at(2)]);
}
