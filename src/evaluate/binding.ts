import type { RunOptions } from '../run-options.ts';
import { quote, type TensorInfo } from '../tensors/index.ts';
import { EvaluateError } from './errors.ts';
import { checkShape, toFeed } from './feeds.ts';
import type { Feed, GraphPort, WeightTensors } from './types.ts';

/** How the id of a tensor of the heads begins. */
export const HEADS = 'heads:';
const WEIGHTS = 'weights:';

/** The tensor that feeds a graph input. */
export interface WeightSource {
  /** The same for the same tensor of the same heads or weights. */
  readonly id: string;
  readonly checkpoint: WeightTensors;
  readonly tensor: TensorInfo;
}

/**
 * Finds the tensor of every graph input for one task: its own tensor of `heads`, else the one of `weights`.
 *
 * @throws EvaluateError INPUT_MISSING naming all that are missing, SHAPE_MISMATCH
 */
export function bindWeights(
  ports: readonly GraphPort[],
  task: string,
  { weights, heads }: { readonly weights: WeightTensors; readonly heads?: WeightTensors | undefined },
): [GraphPort, WeightSource][] {
  const bound: [GraphPort, WeightSource][] = [];
  const missing: string[] = [];
  for (const port of ports) {
    const source = lookUp(HEADS, heads, `${task}.${port.name}`) ?? lookUp(WEIGHTS, weights, port.name);
    if (source === undefined) {
      missing.push(port.name);
      continue;
    }
    checkShape(port, `tensor ${quote(source.tensor.name)}`, source.tensor.shape);
    bound.push([port, source]);
  }
  if (missing.length === 0) return bound;
  const where =
    heads === undefined ? 'the model has no tensor for it, and no heads were given' : 'neither has the model';
  const text =
    heads === undefined
      ? `graph input ${list(missing)}: ${where}. Give the heads file, or the graph of this model.`
      : `graph input ${list(missing)}: the heads have no ${quote(`${task}.${missing[0]}`)} for task ${quote(task)}, and ${where}. Check the task's name.`;
  throw new EvaluateError('INPUT_MISSING', text, { task, missing });
}

/** Reads a tensor for its graph input. @throws EvaluateError DTYPE_MISMATCH */
export async function readFeed(
  port: GraphPort,
  { checkpoint, tensor }: WeightSource,
  options: RunOptions,
): Promise<Feed> {
  const bytes = await checkpoint.readRaw(tensor.name, options);
  return toFeed(port, `tensor ${quote(tensor.name)}`, bytes, tensor.dtype, tensor.shape, false);
}

function lookUp(kind: string, checkpoint: WeightTensors | undefined, name: string): WeightSource | undefined {
  const tensor = checkpoint?.tensors.get(name);
  return checkpoint === undefined || tensor === undefined ? undefined : { id: `${kind}${name}`, checkpoint, tensor };
}

function list(names: readonly string[]): string {
  const shown = names.slice(0, 5).map(quote).join(', ');
  return names.length > 5 ? `${shown} and ${names.length - 5} more` : shown;
}
