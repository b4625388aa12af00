import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { RunOptions } from '../../../src/run-options.ts';
import { createSafetensors, narrow, type TensorPlan } from '../../../src/tensors/index.ts';
import { normalQuantiles } from './distributions.ts';
import { type LlamaShape, llamaMatrices } from './model.ts';
import { RandomStream } from './random.ts';

/** Standard deviation of B after training; A begins as uniform with deviation 1 / sqrt(3 * inputs), B as zero. */
const TRAINED_B = 0.01;

/** Writes a PEFT LoRA directory for every matrix of a Llama's layers, F16. Returns the parameters of the adapter. */
export async function writeLlamaAdapter(
  dir: string,
  { shape, rank }: { readonly shape: LlamaShape; readonly rank: number },
  { signal }: RunOptions = {},
): Promise<number> {
  await mkdir(dir, { recursive: true });
  const plan: (TensorPlan & { readonly deviation: number })[] = [];
  for (let layer = 0; layer < shape.layers; layer++) {
    for (const [matrix, [outputs, inputs]] of Object.entries(llamaMatrices(shape))) {
      const prefix = `base_model.model.model.layers.${layer}.${matrix}`;
      const deviation = 1 / Math.sqrt(3 * inputs);
      plan.push({ name: `${prefix}.lora_A.weight`, dtype: 'F16', shape: [rank, inputs], deviation });
      plan.push({ name: `${prefix}.lora_B.weight`, dtype: 'F16', shape: [outputs, rank], deviation: TRAINED_B });
    }
  }
  const quantiles = normalQuantiles();
  const writer = await createSafetensors(join(dir, 'adapter_model.safetensors'), plan);
  let parameters = 0;
  try {
    for (const { name, shape: dims, deviation } of plan) {
      signal?.throwIfAborted();
      const words = new Uint32Array(dims.reduce((a, b) => a * b, 1));
      new RandomStream(`adapter 1 ${name}`).fill(words);
      const values = Float32Array.from(words, (word) => deviation * quantiles[word >>> 16]!);
      await writer.write(name, narrow(values, 'F16'));
      parameters += words.length;
    }
    await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
  const config = {
    peft_type: 'LORA',
    task_type: 'CAUSAL_LM',
    r: rank,
    lora_alpha: 2 * rank,
    lora_dropout: 0,
    bias: 'none',
    fan_in_fan_out: false,
    inference_mode: true,
    use_rslora: false,
    use_dora: false,
    modules_to_save: null,
    rank_pattern: {},
    alpha_pattern: {},
    target_modules: Object.keys(llamaMatrices(shape)).map((name) => name.split('.').at(-1)),
  };
  await writeFile(join(dir, 'adapter_config.json'), JSON.stringify(config));
  return parameters;
}
