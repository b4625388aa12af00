import type { RunOptions } from '../run-options.ts';
import { Evaluator } from './evaluator.ts';
import type { EvaluateInput, Evaluation } from './types.ts';

/**
 * Runs a graph whose weights are its inputs over labelled test sets and counts how often the largest score is the
 * label's. Graph inputs are fed by name: the data input from the test set, all others from `heads` (`<task>.<input>`)
 * or else from `weights`. Unsigned bytes of the data are divided by 255, and samples take the shape of the graph's
 * input where only dimensions of size 1 or their grouping differ. Of equal scores the first class counts.
 *
 * The graph runs in a worker thread. The weights are in memory as float32 there, and one batch at a time.
 *
 * @throws EvaluateError (every code); SafetensorsError, CheckpointError; the signal's reason, between two batches
 */
export async function evaluate(input: EvaluateInput, options: RunOptions = {}): Promise<Evaluation> {
  const evaluator = await Evaluator.open(input, options);
  try {
    return await evaluator.score(input.weights, options);
  } finally {
    await evaluator.close();
  }
}
