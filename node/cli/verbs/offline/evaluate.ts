import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Command } from 'commander';
import {
  BATCH_SAMPLES,
  DEFAULT_DATA_INPUT,
  DEFAULT_LABELS,
  DEFAULT_OUTPUT,
  type Evaluation,
  evaluate,
  type TestSet,
} from '../../../../src/evaluate/index.ts';
import { compareNames, openCheckpoint } from '../../../../src/tensors/index.ts';
import { NodeError } from '../../../errors.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { table } from '../../output.ts';
import { collect, parseCount } from '../../parse.ts';
import { closingAfter, isUpdateFile } from './files.ts';

/** Test sets of a directory are the files of this form; the part between is the task. */
const TEST_FILE = /^test-(.+)\.safetensors$/;

interface EvaluateOptions extends CommonOptions {
  readonly graph: string;
  readonly test?: readonly string[];
  readonly tests?: string;
  readonly heads?: string;
  readonly dataInput: string;
  readonly labels: string;
  readonly output: string;
  readonly batch: number;
}

export function evaluateVerb(program: Command, register: Register): void {
  const command = program
    .command('evaluate')
    .argument('<model>', 'safetensors file or Hugging Face directory')
    .description('measure the accuracy of a model on labelled test sets, through an ONNX graph that takes its weights')
    .requiredOption('--graph <file>', 'ONNX graph whose inputs are named as the tensors of the model')
    .option('--test <task=file>', 'a test set: safetensors with samples and labels; may be repeated', collect)
    .option('--tests <dir>', 'a directory with test sets test-<task>.safetensors')
    .option('--heads <file>', 'safetensors with tensors <task>.<graph input> for single tasks')
    .option('--data-input <name>', 'graph input and test tensor of the samples', DEFAULT_DATA_INPUT)
    .option('--labels <name>', 'test tensor of the labels', DEFAULT_LABELS)
    .option('--output <name>', 'graph output with one score for each class', DEFAULT_OUTPUT)
    .option('--batch <samples>', 'samples of one run', parseCount, BATCH_SAMPLES);
  register<EvaluateOptions>(command, async (context, [model = ''], options) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    if (await isUpdateFile(model)) {
      const text = `${model} is an update, not a model: add it to its base first, with kinmerge decode --apply`;
      throw new NodeError('USAGE', text, { path: model });
    }
    if (options.batch === 0) throw new NodeError('USAGE', '--batch is at least 1');
    const tests = [...(options.test ?? []).map(parseTest), ...(await testsOf(options.tests))];
    const { graph, dataInput, labels, output, batch } = options;
    const evaluation = await closingAfter(async (keep) => {
      const weights = keep(await openCheckpoint(model, run));
      const heads = options.heads === undefined ? undefined : keep(await openCheckpoint(options.heads, run));
      return evaluate({ graph, weights, heads, tests, dataInput, labels, output, batch }, run);
    });
    context.output.result(evaluation, () => render(evaluation));
    return EXIT.done;
  });
}

function parseTest(text: string): TestSet {
  const at = text.indexOf('=');
  if (at > 0 && at < text.length - 1) return { task: text.slice(0, at), path: text.slice(at + 1) };
  throw new NodeError('USAGE', `--test ${text}: write it as task=file`, { test: text });
}

async function testsOf(directory: string | undefined): Promise<TestSet[]> {
  if (directory === undefined) return [];
  const names = await readdir(directory).catch((cause: Error) => {
    throw new NodeError('USAGE', `--tests ${directory} is not a directory that can be read`, {}, { cause });
  });
  const tests = names
    .sort(compareNames)
    .flatMap((name) =>
      TEST_FILE.test(name) ? [{ task: TEST_FILE.exec(name)![1]!, path: join(directory, name) }] : [],
    );
  if (tests.length > 0) return tests;
  throw new NodeError('USAGE', `--tests ${directory} holds no test-<task>.safetensors: name the files with --test`);
}

function render({ tasks, average }: Evaluation): string {
  return table(
    [
      ['task', 'samples', 'correct', 'accuracy'],
      ...Object.entries(tasks).map(([task, { n, correct, accuracy }]) => [
        task,
        String(n),
        String(correct),
        `${accuracy.toFixed(2)} %`,
      ]),
      ['average', '', '', `${average.toFixed(2)} %`],
    ],
    [false, true, true, true],
  );
}
