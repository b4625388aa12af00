import { readdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import type { EvaluationPaths } from '../../../src/choose/index.ts';
import {
  BATCH_SAMPLES,
  DEFAULT_DATA_INPUT,
  DEFAULT_LABELS,
  DEFAULT_OUTPUT,
  type TestSet,
} from '../../../src/evaluate/index.ts';
import { compareNames, resolveCheckpointPath } from '../../../src/tensors/index.ts';
import { NodeError } from '../../errors.ts';
import { collect, parseCount } from '../parse.ts';

/** Test sets of a directory are the files of this form; the part between is the task. */
const TEST_FILE = /^test-(.+)\.safetensors$/;

export interface EvaluationOptions {
  readonly graph?: string;
  readonly test?: readonly string[];
  readonly tests?: string;
  readonly heads?: string;
  readonly dataInput: string;
  readonly labels: string;
  readonly output: string;
  readonly batch: number;
}

/** @param need - whether the verb can do without an evaluation */
export function withEvaluationOptions(command: Command, need: 'required' | 'optional'): Command {
  const graph = 'ONNX graph whose inputs are named as the tensors of the model';
  if (need === 'required') command.requiredOption('--graph <file>', graph);
  else command.option('--graph <file>', graph);
  return command
    .option('--test <task=file>', 'a test set: safetensors with samples and labels; may be repeated', collect)
    .option('--tests <dir>', 'a directory with test sets test-<task>.safetensors')
    .option('--heads <file>', 'safetensors with tensors <task>.<graph input> for single tasks')
    .option('--data-input <name>', 'graph input and test tensor of the samples', DEFAULT_DATA_INPUT)
    .option('--labels <name>', 'test tensor of the labels', DEFAULT_LABELS)
    .option('--output <name>', 'graph output with one score for each class', DEFAULT_OUTPUT)
    .option('--batch <samples>', 'samples of one run', parseCount, BATCH_SAMPLES);
}

/** What to evaluate on, with absolute paths; undefined without a graph. @throws NodeError `USAGE` */
export async function evaluationFrom(options: Partial<EvaluationOptions>): Promise<EvaluationPaths | undefined> {
  const { graph, test, tests, heads, dataInput, labels, output, batch } = options;
  if (graph === undefined) {
    if (test === undefined && tests === undefined && heads === undefined) return undefined;
    throw new NodeError('USAGE', '--test, --tests and --heads need the graph that they are for: name it with --graph');
  }
  if (batch === 0) throw new NodeError('USAGE', '--batch is at least 1');
  return {
    graph: resolve(graph),
    tests: [...(test ?? []).map(parseTest), ...(await testsOf(tests))],
    ...(heads === undefined ? {} : { heads: resolveCheckpointPath(heads) }),
    dataInput,
    labels,
    output,
    batch,
  };
}

function parseTest(text: string): TestSet {
  const at = text.indexOf('=');
  if (at > 0 && at < text.length - 1)
    return { task: text.slice(0, at), path: resolveCheckpointPath(text.slice(at + 1)) };
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
      TEST_FILE.test(name) ? [{ task: TEST_FILE.exec(name)![1]!, path: resolve(join(directory, name)) }] : [],
    );
  if (tests.length > 0) return tests;
  throw new NodeError('USAGE', `--tests ${directory} holds no test-<task>.safetensors: name the files with --test`);
}
