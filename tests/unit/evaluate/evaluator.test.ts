import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { Evaluator } from '../../../src/evaluate/index.ts';
import { bytes, float, opened, scratch, writeLinearGraph, writeTensors } from './support.ts';

/** Two tasks of one sample each: an image along the first axis that is class 0, and one along the second that is class 1. */
async function twoTasks(heads?: Parameters<typeof writeTensors>[1]) {
  const directory = await scratch();
  const file = (name: string) => join(directory, name);
  const graph = await writeLinearGraph(file('linear.onnx'));
  const first = { images: bytes([1, 4], 255, 0, 0, 0), labels: bytes([1], 0) };
  const second = { images: bytes([1, 4], 0, 255, 0, 0), labels: bytes([1], 1) };
  const tests = [
    { task: 'first', path: await writeTensors(file('first.safetensors'), first) },
    { task: 'second', path: await writeTensors(file('second.safetensors'), second) },
  ];
  const opening = heads ? { heads: await opened(await writeTensors(file('heads.safetensors'), heads)) } : {};
  const evaluator = await Evaluator.open({ graph, tests, ...opening });
  onTestFinished(() => evaluator.close());
  const weights = async (name: string, ...values: number[]) =>
    opened(await writeTensors(file(`${name}.safetensors`), { weight: float([2, 4], ...values) }));
  return { evaluator, weights };
}

test('one model after another gets its own score', async () => {
  const { evaluator, weights } = await twoTasks();
  const right = await weights('right', 1, 0, 0, 0, 0, 1, 0, 0);
  const wrong = await weights('wrong', 0, 1, 0, 0, 1, 0, 0, 0);
  expect(evaluator.samples).toBe(2);
  expect((await evaluator.score(right)).average).toBe(100);
  expect((await evaluator.score(wrong)).average).toBe(0);
  expect((await evaluator.score(right)).average).toBe(100);
});

test('tensors of single tasks stay theirs from model to model', async () => {
  const { evaluator, weights } = await twoTasks({ 'first.weight': float([2, 4], 1, 0, 0, 0, 0, 0, 0, 0) });
  const right = await weights('right', 1, 0, 0, 0, 0, 1, 0, 0);
  const wrong = await weights('wrong', 0, 1, 0, 0, 1, 0, 0, 0);
  for (const [model, second] of [[wrong, 0] as const, [right, 100] as const, [wrong, 0] as const]) {
    const { tasks } = await evaluator.score(model);
    expect([tasks.first!.accuracy, tasks.second!.accuracy]).toEqual([100, second]);
  }
});
