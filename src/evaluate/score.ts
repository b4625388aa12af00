import { quote } from '../tensors/index.ts';
import { EvaluateError } from './errors.ts';

/** Index of the largest value, the first of equal ones; -1 where a value is NaN. */
export function argmax(values: Float32Array, from: number, to: number): number {
  let best = from;
  for (let i = from; i < to; i++) {
    const value = values[i]!;
    if (Number.isNaN(value)) return -1;
    if (value > values[best]!) best = i;
  }
  return best - from;
}

/**
 * How many rows have their largest score at their label.
 *
 * @param scores - [rows, classes], row-major
 * @throws EvaluateError OUTPUT_INVALID, LABELS_OUT_OF_RANGE
 */
export function countCorrect(
  scores: { readonly data: Float32Array; readonly dims: readonly number[] },
  labels: Float64Array,
  task: string,
): number {
  const [rows, classes] = scores.dims;
  if (scores.dims.length !== 2 || rows !== labels.length || classes === undefined || classes === 0) {
    const text = `the output for ${labels.length} samples of task ${quote(task)} has shape [${scores.dims.join(', ')}]; it must be [samples, classes].`;
    throw new EvaluateError('OUTPUT_INVALID', text, { task, dims: scores.dims });
  }
  let correct = 0;
  for (const [row, label] of labels.entries()) {
    if (!(label >= 0 && label < classes)) {
      const text = `task ${quote(task)} has the label ${label}, the output ${classes} classes: use the head and the test set of one task.`;
      throw new EvaluateError('LABELS_OUT_OF_RANGE', text, { task, label, classes });
    }
    const best = argmax(scores.data, row * classes, (row + 1) * classes);
    if (best < 0) {
      const text = `the output for task ${quote(task)} has NaN: the model is not usable. Look for NaN in its weights.`;
      throw new EvaluateError('OUTPUT_INVALID', text, { task, row });
    }
    if (best === label) correct++;
  }
  return correct;
}
