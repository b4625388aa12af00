import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunOptions } from '../../../src/run-options.ts';
import { createSafetensors } from '../../../src/tensors/index.ts';
import type { BarDefinition } from '../bars.ts';
import type { BenchmarkContext, Cell } from '../benchmark.ts';
import type { Findings, Group } from '../groups.ts';
import { RandomStream } from '../synthetic/random.ts';
import { countSizes, sizesRow } from './sizes.ts';
import { defaultSettings, encode } from './subject.ts';

const PERCENTS = [1, 5, 10, 20, 50] as const;

/** Ten matrices of 1000 x 1000. */
const FULL = { tensors: 10, side: 1000 };
const QUICK = { tensors: 4, side: 100 };

const bars = PERCENTS.map(
  (percent): BarDefinition => ({
    id: `codec.size.uniform.${percent}`,
    what: `10 million parameters, ${percent} % kept at uniform positions: whole payload / entropy bound`,
    unit: 'ratio',
    target: 1.005,
    sense: 'at most',
    numeratorIs: 'bytes of the whole payload',
    denominatorIs: 'bytes of the entropy bound at the density of the payload',
  }),
);

/** Sizes where nothing but the density can be learnt: entries are independent, so the largest lie anywhere. */
export const uniformGroup: Group = { bars, run };

async function run(context: BenchmarkContext, { outcomes, tables }: Findings): Promise<void> {
  const { workspace, signal, say } = context;
  const { tensors, side } = context.quick ? QUICK : FULL;
  const base = join(workspace.scratch, 'uniform-base.safetensors');
  const finetune = join(workspace.scratch, 'uniform-finetune.safetensors');
  const out = join(workspace.scratch, 'uniform.update');
  say(`sizes at uniform positions: ${tensors * side * side} parameters`);
  await writeUniform(base, { tensors, side, seed: undefined }, { signal });
  await writeUniform(finetune, { tensors, side, seed: 'uniform 1' }, { signal });
  const rows: Record<string, Cell>[] = [];
  for (const percent of PERCENTS) {
    await encode({ base, finetune, out, settings: { ...defaultSettings(percent / 100), mode: 'global' } });
    const sizes = await countSizes(out, { scratch: workspace.scratch, signal });
    outcomes.set(`codec.size.uniform.${percent}`, { numerator: sizes.payload, denominator: sizes.bound });
    rows.push(sizesRow({ density: `${percent} %` }, sizes));
  }
  tables.push({ title: `sizes, ${tensors * side * side} parameters, uniform positions, mode global`, rows });
  for (const path of [base, finetune, out]) await rm(path, { force: true });
}

/** A float32 checkpoint of zeros, or of independent values uniform in ±0.001: with 32 random bits, ties are rare. */
async function writeUniform(
  path: string,
  { tensors, side, seed }: { tensors: number; side: number; seed: string | undefined },
  { signal }: RunOptions,
): Promise<void> {
  const plan = Array.from({ length: tensors }, (_, i) => ({
    name: `layer.${i}.weight`,
    dtype: 'F32' as const,
    shape: [side, side],
  }));
  const writer = await createSafetensors(path, plan);
  const random = seed === undefined ? undefined : new RandomStream(seed);
  const words = new Uint32Array(side * side);
  const values = new Float32Array(side * side);
  for (const { name } of writer.tensors) {
    signal?.throwIfAborted();
    random?.fill(words);
    if (random) for (let i = 0; i < words.length; i++) values[i] = ((words[i]! + 0.5) / 2 ** 31 - 1) * 1e-3;
    await writer.write(name, new Uint8Array(values.buffer));
  }
  await writer.commit();
}
