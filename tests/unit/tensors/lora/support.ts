/** Adapters and bases as real files, for the tests of this folder. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import {
  type Checkpoint,
  createSafetensors,
  type Dtype,
  dtypeBytes,
  type FloatDtype,
  isFloat,
  type LoraAdapter,
  narrow,
  type OpenAdapterOptions,
  openCheckpoint,
  openLoraAdapter,
  readDelta,
} from '../../../../src/tensors/index.ts';
import { tempDir } from '../files.ts';

export interface Plan {
  readonly shape: readonly number[];
  readonly dtype?: Dtype;
  /** Small multiples of 1/8 by default, exact in every dtype but those of 8 bits. */
  readonly values?: readonly number[];
}
export type Plans = Readonly<Record<string, Plan>>;

const opened: { close(): Promise<void> }[] = [];
afterEach(async () => {
  for (const resource of opened.splice(0)) await resource.close();
});

export function keep<T extends { close(): Promise<void> }>(resource: T): T {
  opened.push(resource);
  return resource;
}

/** Values that differ between tensors, and between positions in no simple pattern. */
export function valuesOf(name: string, { shape, values }: Plan): Float32Array {
  const length = shape.reduce((a, b) => a * b, 1);
  const seed = [...name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) % 8191, 7);
  return Float32Array.from({ length }, (_, i) => values?.[i] ?? ((((i + 1) * (seed + 17) * 7919) % 61) - 30) / 8);
}

export async function writeTensors(path: string, plans: Plans): Promise<void> {
  const list = Object.entries(plans).map(([name, { dtype = 'F32', shape }]) => ({ name, dtype, shape: [...shape] }));
  const writer = await createSafetensors(path, list);
  for (const { name, dtype } of list) {
    const values = valuesOf(name, plans[name]!);
    const bytes = isFloat(dtype)
      ? narrow(values, dtype as FloatDtype)
      : new Uint8Array(values.length * dtypeBytes(dtype));
    await writer.write(name, bytes);
  }
  await writer.commit();
}

export async function makeBase(plans: Plans): Promise<Checkpoint> {
  const path = join(await tempDir(), 'base.safetensors');
  await writeTensors(path, plans);
  return keep(await openCheckpoint(path));
}

export const CONFIG = { peft_type: 'LORA', r: 2, lora_alpha: 6, target_modules: ['q_proj'] };

/** A directory as PEFT writes it. */
export async function makeAdapter(plans: Plans, config: unknown = CONFIG): Promise<string> {
  const dir = await tempDir();
  await writeFile(
    join(dir, 'adapter_config.json'),
    typeof config === 'string' ? config : JSON.stringify(config, null, 2),
  );
  await writeTensors(join(dir, 'adapter_model.safetensors'), plans);
  return dir;
}

export async function openAdapter(
  base: Checkpoint,
  plans: Plans,
  config: unknown = CONFIG,
  options: OpenAdapterOptions = {},
): Promise<LoraAdapter> {
  return keep(await openLoraAdapter(await makeAdapter(plans, config), base, options));
}

/** The factors of a `Linear`, under PEFT's names. */
export function linear(module: string, outputs: number, inputs: number, rank = 2, dtype: Dtype = 'F32'): Plans {
  return {
    [`base_model.model.${module}.lora_A.weight`]: { shape: [rank, inputs], dtype },
    [`base_model.model.${module}.lora_B.weight`]: { shape: [outputs, rank], dtype },
  };
}

/** scaling · B · A by three loops over what the plans hold, outputs first. */
export function productOf(plans: Plans, module: string, scaling: number, [a, b] = ['lora_A.weight', 'lora_B.weight']) {
  const name = (end: string) => `base_model.model.${module}.${end}`;
  const [planA, planB] = [plans[name(a!)]!, plans[name(b!)]!];
  const [A, B] = [valuesOf(name(a!), planA), valuesOf(name(b!), planB)];
  const rank = planA.shape[0]!;
  const inputs = A.length / rank;
  const outputs = B.length / rank;
  const product: number[][] = [];
  for (let o = 0; o < outputs; o++) {
    product.push([]);
    for (let i = 0; i < inputs; i++) {
      let sum = 0;
      for (let k = 0; k < rank; k++) sum += B[o * rank + k]! * A[k * inputs + i]!;
      product[o]!.push(Math.fround(scaling * sum));
    }
  }
  return product;
}

export function transpose(matrix: readonly (readonly number[])[]): number[][] {
  return matrix[0]!.map((_, i) => matrix.map((row) => row[i]!));
}

export async function deltaOf(adapter: LoraAdapter, base: Checkpoint, name: string): Promise<number[] | null> {
  const delta = await readDelta(adapter, base, name);
  return delta === null ? null : [...delta];
}
