import type { Command } from 'commander';
import { type Evaluation, evaluate } from '../../../../src/evaluate/index.ts';
import { openCheckpoint } from '../../../../src/tensors/index.ts';
import { NodeError } from '../../../errors.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { table } from '../../output.ts';
import { type EvaluationOptions, evaluationFrom, withEvaluationOptions } from '../evaluation-options.ts';
import { closingAfter, isUpdateFile } from './files.ts';

interface EvaluateOptions extends CommonOptions, EvaluationOptions {}

export function evaluateVerb(program: Command, register: Register): void {
  const command = program
    .command('evaluate')
    .argument('<model>', 'safetensors file or Hugging Face directory')
    .description('measure the accuracy of a model on labelled test sets, through an ONNX graph that takes its weights');
  withEvaluationOptions(command, 'required');
  register<EvaluateOptions>(command, async (context, [model = ''], options) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    if (await isUpdateFile(model)) {
      const text = `${model} is an update, not a model: add it to its base first, with kinmerge decode --apply`;
      throw new NodeError('USAGE', text, { path: model });
    }
    // The graph is a required option.
    const { heads: headsPath, ...input } = (await evaluationFrom(options))!;
    const evaluation = await closingAfter(async (keep) => {
      const weights = keep(await openCheckpoint(model, run));
      const heads = headsPath === undefined ? undefined : keep(await openCheckpoint(headsPath, run));
      return evaluate({ ...input, weights, heads }, run);
    });
    context.output.result(evaluation, () => render(evaluation));
    return EXIT.done;
  });
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
