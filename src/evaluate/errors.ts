import { KinmergeError } from '../errors.ts';

/**
 * Why a model could not be evaluated.
 *
 * - `NO_TESTS`: no test set was given, or a task was named twice
 * - `GRAPH_UNREADABLE`: the graph file cannot be read, or onnxruntime does not accept it
 * - `GRAPH_UNSUPPORTED`: a graph input or output is of a type that is not fed or read here
 * - `INPUT_MISSING`: neither the model nor the heads have a tensor for a graph input
 * - `INPUT_UNKNOWN`: the graph has no input of the name given for the data
 * - `OUTPUT_UNKNOWN`: the graph has no output of the name given for the scores
 * - `SHAPE_MISMATCH`: a tensor does not fit the graph input of its name
 * - `DTYPE_MISMATCH`: a tensor's dtype cannot be fed to the graph input of its name
 * - `TEST_SET_INVALID`: a test set lacks its data or its labels, or they do not belong together
 * - `TEST_SET_EMPTY`: a test set has no samples
 * - `LABELS_OUT_OF_RANGE`: a label is not a class of the output
 * - `OUTPUT_INVALID`: the output is not one row of finite class scores for each sample
 * - `RUN_FAILED`: onnxruntime refused or failed a run
 * - `WORKER_CRASHED`: the thread that runs the graph died
 */
export type EvaluateErrorCode =
  | 'NO_TESTS'
  | 'GRAPH_UNREADABLE'
  | 'GRAPH_UNSUPPORTED'
  | 'INPUT_MISSING'
  | 'INPUT_UNKNOWN'
  | 'OUTPUT_UNKNOWN'
  | 'SHAPE_MISMATCH'
  | 'DTYPE_MISMATCH'
  | 'TEST_SET_INVALID'
  | 'TEST_SET_EMPTY'
  | 'LABELS_OUT_OF_RANGE'
  | 'OUTPUT_INVALID'
  | 'RUN_FAILED'
  | 'WORKER_CRASHED';

export class EvaluateError extends KinmergeError<EvaluateErrorCode> {}
