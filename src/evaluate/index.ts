/**
 * Accuracy of a model on labelled test sets, through an ONNX graph whose weights are inputs.
 *
 * - `evaluate.ts`: one model; `evaluator.ts`: one model after another; `types.ts`: what goes in and comes out
 * - `binding.ts`, `feeds.ts`: which tensor feeds which graph input, and in which form
 * - `test-set.ts`: samples in batches, labels; `score.ts`: scores to counts
 * - `session.ts`, `session-worker.ts`, `messages.ts`: onnxruntime in a thread of its own
 */
export { EvaluateError, type EvaluateErrorCode } from './errors.ts';
export { evaluate } from './evaluate.ts';
export { BATCH_SAMPLES, DEFAULT_DATA_INPUT, DEFAULT_LABELS, DEFAULT_OUTPUT, Evaluator } from './evaluator.ts';
export type { EvaluateInput, Evaluation, EvaluatorInput, TaskScore, TestSet, WeightTensors } from './types.ts';
