import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const fixtures = fileURLToPath(new URL('../../tests/fixtures/vision8/', import.meta.url));

/** The eight tasks of the fixture, in its order. */
export const TASKS = ['mnist', 'kmnist', 'kannada', 'notmnist', 'gtsrb', 'cifar10', 'signs', 'omniglot'] as const;
export type Task = (typeof TASKS)[number];

export const base = join(fixtures, 'base.safetensors');
export const graph = join(fixtures, 'model.onnx');
export const heads = join(fixtures, 'heads.safetensors');
export const expert = (task: Task) => join(fixtures, `expert-${task}.safetensors`);
export const testSet = (task: Task) => join(fixtures, `test-${task}.safetensors`);

/** The tasks in a random order (`random`: numbers from 0 to 1), and a file with the names of the model's linear matrices. */
export async function makeTasks(
  work: string,
  random: () => number = Math.random,
): Promise<{ order: Task[]; linear: string }> {
  const order: Task[] = [...TASKS];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  const model = JSON.parse(await readFile(join(fixtures, 'model.json'), 'utf8')) as { linear_matrices: string[] };
  const linear = join(work, 'linear.json');
  await writeFile(linear, JSON.stringify(model.linear_matrices));
  return { order, linear };
}
