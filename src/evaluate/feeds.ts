import { type Dtype, dtypeBytes, isFloat, quote, widen } from '../tensors/index.ts';
import { EvaluateError } from './errors.ts';
import type { Feed, FeedType, GraphPort } from './types.ts';

/** An image's byte 255 is the value 1: unsigned bytes fed to a float32 input are divided by this. */
export const BYTE_ONE = 255;

const FEED_TYPES: ReadonlySet<string> = new Set<FeedType>(['float32', 'int32', 'int64']);

/** @throws EvaluateError GRAPH_UNSUPPORTED */
export function feedTypeOf(port: GraphPort): FeedType {
  if (FEED_TYPES.has(port.type)) return port.type as FeedType;
  const text = `graph input ${quote(port.name)} is ${port.type}; float32, int32 and int64 can be fed. Export the graph with such inputs.`;
  throw new EvaluateError('GRAPH_UNSUPPORTED', text, { input: port.name, type: port.type });
}

/**
 * Converts raw little-endian elements to what a graph input takes: floats to float32 (widened, or rounded from F64),
 * bytes to float32 in 0..1 where `bytesAsUnit`, I32 and I64 as they are.
 *
 * @throws EvaluateError DTYPE_MISMATCH
 */
export function toFeed(
  port: GraphPort,
  source: string,
  bytes: Uint8Array,
  dtype: Dtype,
  dims: readonly number[],
  bytesAsUnit: boolean,
): Feed {
  const type = feedTypeOf(port);
  if (type === 'float32') {
    if (isFloat(dtype)) return { type, dims, data: widen(bytes, dtype) };
    if (dtype === 'U8' && bytesAsUnit) {
      const data = new Float32Array(bytes.length);
      for (let i = 0; i < bytes.length; i++) data[i] = bytes[i]! / BYTE_ONE;
      return { type, dims, data };
    }
  }
  if (type === 'int32' && dtype === 'I32') return { type, dims, data: new Int32Array(aligned(bytes)) };
  if (type === 'int64' && dtype === 'I64') return { type, dims, data: new BigInt64Array(aligned(bytes)) };
  const text = `${source} is ${dtype}, graph input ${quote(port.name)} takes ${type}: convert the tensor.`;
  throw new EvaluateError('DTYPE_MISMATCH', text, { input: port.name, dtype, type });
}

/**
 * The dimensions under which `count` samples of shape `sample` are fed: those of the graph, where the sample has the
 * same number of elements in another shape ([28, 28] for [1, 28, 28]).
 *
 * @throws EvaluateError SHAPE_MISMATCH
 */
export function sampleDims(port: GraphPort, source: string, sample: readonly number[]): (count: number) => number[] {
  const [first, ...rest] = port.shape;
  if (first === undefined) return (count) => [count, ...sample];
  if (typeof first === 'number' && first >= 0) {
    const text = `graph input ${quote(port.name)} takes exactly ${first} samples: export the graph with a dynamic first dimension.`;
    throw new EvaluateError('SHAPE_MISMATCH', text, { input: port.name, expected: port.shape });
  }
  if (fits(rest, sample)) return (count) => [count, ...sample];
  const fixed = rest.filter(isFixed);
  const product = (sizes: readonly number[]): number => sizes.reduce((a, b) => a * b, 1);
  if (fixed.length === rest.length && product(fixed) === product(sample)) return (count) => [count, ...fixed];
  throw shapeMismatch(port, source, ['samples', ...sample]);
}

/** @throws EvaluateError SHAPE_MISMATCH */
export function checkShape(port: GraphPort, source: string, shape: readonly number[]): void {
  // onnxruntime gives an empty shape for a scalar as well as for an undeclared one.
  if (port.shape.length > 0 && !fits(port.shape, shape)) throw shapeMismatch(port, source, shape);
}

function fits(expected: readonly (number | string)[], found: readonly number[]): boolean {
  return expected.length === found.length && expected.every((size, i) => !isFixed(size) || size === found[i]);
}

/** A dynamic dimension has a name, or -1. */
function isFixed(size: number | string): size is number {
  return typeof size === 'number' && size >= 0;
}

function shapeMismatch(port: GraphPort, source: string, found: readonly (number | string)[]): EvaluateError {
  const text = `${source} has shape [${found.join(', ')}], graph input ${quote(port.name)} takes [${port.shape.join(', ')}]: use the graph of this model.`;
  return new EvaluateError('SHAPE_MISMATCH', text, { input: port.name, expected: port.shape, found });
}

/** A buffer of its own that begins with the first byte. */
function aligned(bytes: Uint8Array): ArrayBuffer {
  return bytes.slice().buffer as ArrayBuffer;
}

/** Bytes of one sample. */
export function sampleBytes(dtype: Dtype, sample: readonly number[]): number {
  return sample.reduce((a, b) => a * b, dtypeBytes(dtype));
}
