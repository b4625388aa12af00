import { mkdir, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { Worker } from 'node:worker_threads';
import type { RunOptions } from '../../../src/run-options.ts';
import { INDEX_FILE, SINGLE_FILE } from '../../../src/tensors/index.ts';
import { layoutFile } from '../../../src/tensors/layout.ts';
import { siblingModule } from '../../../src/worker-url.ts';
import type { SyntheticModel, SyntheticTensor } from './model.ts';
import type { GeneratorWork } from './worker.ts';

/** A generated pair of checkpoints: two directories in Hugging Face layout. */
export interface SyntheticPair {
  readonly base: string;
  readonly finetune: string;
  readonly elements: number;
  /** Share of entries that rounding to BF16 left equal in both. */
  readonly unchanged: number;
  /** The directory of both when this call made it; undefined when it was there already. */
  readonly made: string | undefined;
}

/** Written last, so what it stands beside is complete; generation is skipped where it describes the wanted model. */
const STAMP = 'synthetic.json';
/** Counts up when the same model description gives other bytes. */
const GENERATOR_VERSION = 1;

/** Makes `<dir>/<model.name>/{base,finetune}`, or takes what an earlier run left there. */
export async function generatePair(
  model: SyntheticModel,
  dir: string,
  options: RunOptions = {},
): Promise<SyntheticPair> {
  const target = join(dir, model.name);
  const description = JSON.stringify({ version: GENERATOR_VERSION, ...model });
  const paths = { base: join(target, 'base'), finetune: join(target, 'finetune') };
  const stamp = await readFile(join(target, STAMP), 'utf8').then(
    (text) => JSON.parse(text) as { description: string; elements: number; unchanged: number },
    () => undefined,
  );
  if (stamp?.description === description) {
    return { ...paths, elements: stamp.elements, unchanged: stamp.unchanged, made: undefined };
  }
  await rm(target, { recursive: true, force: true });
  const partial = `${target}.partial`;
  await rm(partial, { recursive: true, force: true });
  try {
    const places = await layOut(model, partial);
    const counts = await fillFiles(model, places, options);
    const share = counts.unchanged / counts.elements;
    await writeFile(join(partial, STAMP), JSON.stringify({ description, elements: counts.elements, unchanged: share }));
    await rename(partial, target);
    return { ...paths, elements: counts.elements, unchanged: share, made: target };
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
}

/** Creates all files of both checkpoints with their headers and full sizes. */
async function layOut(model: SyntheticModel, dir: string): Promise<GeneratorWork['places']> {
  const places = new Map<SyntheticTensor, GeneratorWork['places'][number]>();
  const weightMap: Record<string, string> = {};
  const shards = split(model);
  let total = 0;
  for (const side of ['base', 'finetune']) await mkdir(join(dir, side), { recursive: true });
  for (const [number, tensors] of shards.entries()) {
    const name = shards.length === 1 ? SINGLE_FILE : shardName(number + 1, shards.length);
    const layout = layoutFile(tensors);
    for (const side of ['base', 'finetune']) {
      const file = await open(join(dir, side, name), 'wx');
      try {
        await file.writeFile(layout.head);
        await file.truncate(layout.fileBytes);
      } finally {
        await file.close();
      }
    }
    for (const tensor of tensors) {
      const { begin, byteLength } = layout.places.get(tensor.name)!;
      places.set(tensor, { base: join(dir, 'base', name), finetune: join(dir, 'finetune', name), begin });
      weightMap[tensor.name] = name;
      total += byteLength;
    }
  }
  for (const side of ['base', 'finetune']) {
    await writeFile(join(dir, side, 'config.json'), JSON.stringify(model.config));
    if (shards.length > 1) {
      const index = { metadata: { total_size: total }, weight_map: weightMap };
      await writeFile(join(dir, side, INDEX_FILE), JSON.stringify(index));
    }
  }
  return model.tensors.map((tensor) => places.get(tensor)!);
}

/** The tensors of each shard, in the model's order, about equally large. */
function split({ tensors, shards }: SyntheticModel): SyntheticTensor[][] {
  const size = ({ shape }: SyntheticTensor) => shape.reduce((a, b) => a * b, 1);
  const total = tensors.reduce((sum, tensor) => sum + size(tensor), 0);
  const out: SyntheticTensor[][] = Array.from({ length: shards }, () => []);
  let before = 0;
  for (const tensor of tensors) {
    out[Math.min(shards - 1, Math.floor((before / total) * shards))]!.push(tensor);
    before += size(tensor);
  }
  return out.filter((shard) => shard.length > 0);
}

function shardName(number: number, count: number): string {
  const digits = (n: number) => String(n).padStart(5, '0');
  return `model-${digits(number)}-of-${digits(count)}.safetensors`;
}

async function fillFiles(
  model: SyntheticModel,
  places: GeneratorWork['places'],
  { signal, onProgress }: RunOptions,
): Promise<{ elements: number; unchanged: number }> {
  const total = model.tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const control = new Int32Array(new SharedArrayBuffer(8));
  const stop = () => Atomics.store(control, 1, 1);
  let elements = 0;
  let unchanged = 0;
  signal?.throwIfAborted();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const work: GeneratorWork = { model, places, control };
    const threads = Array.from({ length: availableParallelism() }, () => {
      const worker = new Worker(siblingModule(import.meta.url, './worker'), { workerData: work });
      worker.on('message', (done: { elements: number; unchanged: number }) => {
        elements += done.elements;
        unchanged += done.unchanged;
        onProgress?.({ phase: `drawing ${model.name}`, done: 2 * elements, total: 2 * total, unit: 'bytes' });
      });
      return new Promise<void>((resolve, reject) => {
        worker.once('error', (error) => {
          stop();
          reject(error);
        });
        worker.once('exit', () => resolve());
      });
    });
    const failed = (await Promise.allSettled(threads)).find((thread) => thread.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    signal?.throwIfAborted();
    return { elements, unchanged };
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}
