import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { evaluate } from '../../../src/evaluate/index.ts';
import type { Progress } from '../../../src/run-options.ts';
import { opened, VISION8 } from './support.ts';

/** Seconds of matrix work, on machines that may be busy. */
const PATIENT_MS = 180_000;

/** The rows of the accuracy table in the fixtures' README: percent with one decimal. */
async function published(row: 'base' | 'expert'): Promise<Record<string, number>> {
  const lines = (await readFile(join(VISION8, 'README.md'), 'utf8')).split('\n');
  const cells = (line: string) =>
    line
      .split('|')
      .slice(2, -1)
      .map((cell) => cell.trim());
  const head = lines.find((line) => /^\| \| mnist/.test(line))!;
  const values = cells(lines.find((line) => line.startsWith(`| ${row} |`))!);
  return Object.fromEntries(cells(head).map((task, i) => [task, Number(values[i])]));
}

const testOf = (task: string) => ({ task, path: join(VISION8, `test-${task}.safetensors`) });

test('the base reaches the published accuracy on every task', { timeout: PATIENT_MS }, async () => {
  const { mean, ...expected } = await published('base');
  const tasks = Object.keys(expected);
  expect(tasks).toHaveLength(8);
  const seen: Progress[] = [];
  const result = await evaluate(
    {
      graph: join(VISION8, 'model.onnx'),
      weights: await opened(join(VISION8, 'base.safetensors')),
      heads: await opened(join(VISION8, 'heads.safetensors')),
      tests: tasks.map(testOf),
    },
    { onProgress: (progress) => seen.push(progress) },
  );
  expect(Object.keys(result.tasks)).toEqual(tasks);
  for (const task of tasks) {
    const { n, correct, accuracy } = result.tasks[task]!;
    expect(accuracy).toBe((100 * correct) / n);
    expect(Math.abs(accuracy - expected[task]!), task).toBeLessThanOrEqual(0.1);
  }
  expect(Math.abs(result.average - mean!)).toBeLessThanOrEqual(0.1);
  expect(seen.at(-1)).toMatchObject({ done: 7024, total: 7024, unit: 'samples' });
});

test('every expert reaches the published accuracy on its own task', { timeout: PATIENT_MS }, async () => {
  const { mean: _mean, ...expected } = await published('expert');
  const heads = await opened(join(VISION8, 'heads.safetensors'));
  for (const [task, accuracy] of Object.entries(expected)) {
    const weights = await opened(join(VISION8, `expert-${task}.safetensors`));
    const graph = join(VISION8, 'model.onnx');
    const result = await evaluate({ graph, weights, heads, tests: [testOf(task)] });
    expect(Math.abs(result.average - accuracy), task).toBeLessThanOrEqual(0.1);
  }
});
