/** The experts of tests/fixtures/vision8 as updates. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { base, expert, TASKS } from '../../demo/vision8.ts';
import type { BenchmarkContext } from '../benchmark.ts';
import { model } from './models.ts';
import type { Updates } from './steps.ts';
import { tensorsOf, writeFinetune } from './subject.ts';
import { DENSITY } from './updates.ts';

const MODEL = new URL('../../../tests/fixtures/vision8/model.json', import.meta.url);

/** The first `steps` of the eight experts, each encoded as a contributor would. */
export async function vision8Updates({ workspace, signal, say }: BenchmarkContext, steps: number): Promise<Updates> {
  say(`${steps} updates of vision8`);
  const { linear_matrices } = JSON.parse(await readFile(MODEL, 'utf8')) as { linear_matrices: string[] };
  const tensors = await tensorsOf(base, (name) => linear_matrices.includes(name));
  const at = (step: number) => join(workspace.scratch, `vision8-${step}.update`);
  for (const [index, task] of TASKS.slice(0, steps).entries()) {
    await writeFinetune({ base, finetune: expert(task) }, at(index + 1), DENSITY, { signal });
  }
  return { model: model('vision8', tensors), at };
}
