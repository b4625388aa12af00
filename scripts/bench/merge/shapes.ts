import type { BenchmarkContext } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { BAR_CORES, pinToBarCores } from '../machine.ts';
import { interleave, median } from '../rounds.ts';
import { LLAMA_1B, llamaMatrices } from '../synthetic/model.ts';
import { VARIANTS, type Variant } from './floor.ts';
import type { Folded } from './fold-child.ts';
import { clipVision, type Model, model, VIT_B32, VIT_TINY, vitBlocks } from './models.ts';
import { measureRate, medianRate } from './rate.ts';
import { reportSteps, type StepRounds } from './report.ts';
import { foldFirst, removeAll, syntheticUpdates, takeStep, type Updates } from './steps.ts';
import { type Backend, CPU, openEngine, WEBGPU } from './subject.ts';
import { vision8Updates } from './vision8.ts';

/** Longest that a whole ViT-B/32 may be expected to take on a device; a software driver would need minutes. */
const DEVICE_SECONDS_MAX = 60;

/** Steps of all shapes, both variants, on every backend that this machine has. No bars: it shows where time goes. */
export const shapesGroup: Group = { bars: [], run };

/** One decoder layer of TinyLlama. */
function llamaLayer(): Model {
  const matrices = Object.entries(llamaMatrices(LLAMA_1B)).map(([name, dims]) => {
    return { name: `model.layers.0.${name}.weight`, shape: dims, linear: true };
  });
  const norms = ['input_layernorm', 'post_attention_layernorm'].map((name) => {
    return { name: `model.layers.0.${name}.weight`, shape: [LLAMA_1B.hidden], linear: false };
  });
  return model('llama-1.1b block', [...matrices, ...norms]);
}

/** Left out of a quick run, which the others show to work. */
const LARGE = [vitBlocks('vit-l14 block', 1024, 1), llamaLayer()];

async function run(context: BenchmarkContext, findings: Findings): Promise<void> {
  const { quick, signal } = context;
  const prefix = await pinToBarCores();
  // A quick run shows the other backend where its bar is.
  const webgpu = quick
    ? undefined
    : await probe(WEBGPU).catch((error: Error) => {
        signal.throwIfAborted();
        findings.notes.push(`webgpu was not measured: ${error.message}`);
        return undefined;
      });
  const backends = webgpu === undefined ? [CPU] : [CPU, WEBGPU];
  if (webgpu !== undefined) findings.notes.push(`webgpu: ${webgpu}`);
  const b32 = vitBlocks('vit-b32 block', quick ? 32 : 768, 1);
  let blockSeconds = 0;
  for (const make of [
    () => vision8Updates(context, 2),
    () => syntheticUpdates(context, b32, 2),
    ...(quick ? [] : LARGE.map((shape) => () => syntheticUpdates(context, shape, 2))),
  ]) {
    const steps = await measureShape(context, findings, { updates: await make(), backends, prefix });
    const device = steps.find(({ shape, backend }) => shape === b32.name && backend.device === 'webgpu');
    if (device !== undefined) blockSeconds = median(device.rounds.map(({ seconds }) => seconds));
  }
  if (webgpu === undefined) return;
  const layers = quick ? VIT_TINY.layers : VIT_B32.layers;
  if (layers * blockSeconds > DEVICE_SECONDS_MAX) {
    const expected = Math.round(layers * blockSeconds);
    findings.notes.push(`the whole ViT-B/32 was not measured on webgpu: one step would take about ${expected} s`);
    return;
  }
  const whole = quick ? clipVision('vit-tiny on webgpu', VIT_TINY) : clipVision('vit-b32 on webgpu', VIT_B32);
  await measureShape(context, findings, {
    updates: await syntheticUpdates(context, whole, 2),
    backends: [WEBGPU],
    prefix,
  });
}

/** Says what a backend runs on. */
async function probe(backend: Backend): Promise<string> {
  const engine = await openEngine(backend, BAR_CORES);
  const { description } = engine;
  await engine.close();
  return description;
}

interface ShapeRun {
  readonly updates: Updates;
  readonly backends: readonly Backend[];
  readonly prefix: readonly string[];
}

async function measureShape(
  context: BenchmarkContext,
  findings: Findings,
  { updates, backends, prefix }: ShapeRun,
): Promise<StepRounds[]> {
  const { say, rounds: count } = context;
  const { name } = updates.model;
  const states = new Map<Variant, string>();
  for (const variant of VARIANTS) {
    states.set(variant, (await foldFirst(context, updates, { variant, keep: [1] })).states.get(1)!);
  }
  const combinations = VARIANTS.flatMap((variant) => backends.map((backend) => ({ variant, backend })));
  const takes: Record<string, () => Promise<Folded>> = {};
  for (const [index, { variant, backend }] of combinations.entries()) {
    const step = { updates, step: 2, from: states.get(variant)!, variant, backend, prefix };
    takes[index] = () => takeStep(context, step);
  }
  const rounds = await interleave(
    count,
    {
      steps: async () => (await interleave(1, takes))[0]!,
      rate: () => measureRate(context, { threads: BAR_CORES, prefix }),
    },
    (round) => say(`one step of ${name}: round ${round + 1} of ${count}`),
  );
  const steps = combinations.map(({ variant, backend }, index) => {
    return { shape: name, variant, backend, rounds: rounds.map((round) => round.steps[index]!) };
  });
  reportSteps(findings, `one step of ${name}`, steps, medianRate(rounds.map((round) => round.rate)));
  await removeAll([...states.values(), updates.at(1), updates.at(2)]);
  return steps;
}
