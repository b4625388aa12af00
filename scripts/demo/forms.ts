/** Two forms of compression: the default, and the paper's, side by side on the same fine-tunes. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { EncodedFinetune } from '../../src/choose/index.ts';
import type { Cast } from './node.ts';
import { base, expert, TASKS, type Task } from './vision8.ts';

export type Form = 'default' | 'paper';

/** Flags of `encode`. The paper's form has one selection and one scale for an update; 4 deviations suit 20 % best. */
const FLAGS: Record<Form, readonly string[]> = {
  default: [],
  paper: ['--density', '0.2', '--mode', 'global', '--scale-unit', 'deviation', '--scale-factor', '4'],
};

export interface Updates {
  readonly form: Form;
  /** An update file for each task. */
  readonly files: Readonly<Record<Task, string>>;
  /** Bytes of the eight payloads, without the files' heads. */
  readonly payloads: number;
}

/** Compresses the eight fine-tunes offline, as the network's contributors do or in the other form. */
export async function encodeAll(cast: Cast, form: Form): Promise<Updates> {
  const files: Partial<Record<Task, string>> = {};
  let payloads = 0;
  for (const task of TASKS) {
    const out = join(cast.work, `${task}-${form}.update`);
    const flags = ['--base', base, ...FLAGS[form], '--out', out];
    payloads += (await cast.run<EncodedFinetune>('eve', 'encode', expert(task), ...flags)).bytes;
    files[task] = out;
  }
  return { form, files: files as Record<Task, string>, payloads };
}

/** Base plus one update, as a checkpoint directory. */
export async function applyUpdate(cast: Cast, { form, files }: Updates, task: Task): Promise<string> {
  const out = join(cast.work, `${task}-${form}`);
  await cast.run('eve', 'decode', files[task], '--base', base, '--apply', '--out', out);
  return out;
}

/**
 * Merges the updates offline as the network merged its own: by the same rule and in the same order.
 *
 * @param network - the pulled checkpoint, and the task of each update id in its recipe
 * @returns the directory of the merged checkpoint
 */
export async function mergeAlike(
  cast: Cast,
  { form, files }: Updates,
  network: { readonly merged: string; readonly updates: ReadonlyMap<string, Task> },
  linear: string,
): Promise<string> {
  const recipe = JSON.parse(await readFile(join(network.merged, 'kinmerge.json'), 'utf8')) as {
    updates: string[];
    merge: { method: string; variant: string; alpha: number; scale: number };
  };
  const { method, ...parameters } = recipe.merge;
  const merge = {
    merge_method: method,
    base_model: base,
    models: recipe.updates.map((update) => ({ model: files[network.updates.get(update)!] })),
    parameters,
    linear_tensors: JSON.parse(await readFile(linear, 'utf8')) as string[],
    dtype: 'float32',
  };
  const config = join(cast.work, `${form}.yml`);
  // JSON is YAML.
  await writeFile(config, JSON.stringify(merge));
  const out = join(cast.work, `merged-${form}`);
  await cast.run('eve', 'merge', config, '--out', out, '--device', 'cpu');
  return out;
}
