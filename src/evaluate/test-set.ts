import type { RunOptions } from '../run-options.ts';
import { type Checkpoint, type Dtype, dtypeBytes, openCheckpoint, quote, type TensorInfo } from '../tensors/index.ts';
import { EvaluateError } from './errors.ts';
import { sampleBytes } from './feeds.ts';
import type { TestSet } from './types.ts';

/** Bytes of one label's integer, and how to read it. */
const READERS: Readonly<Partial<Record<Dtype, (view: DataView, at: number) => number>>> = {
  U8: (view, at) => view.getUint8(at),
  I8: (view, at) => view.getInt8(at),
  U16: (view, at) => view.getUint16(at, true),
  I16: (view, at) => view.getInt16(at, true),
  U32: (view, at) => view.getUint32(at, true),
  I32: (view, at) => view.getInt32(at, true),
  U64: (view, at) => Number(view.getBigUint64(at, true)),
  I64: (view, at) => Number(view.getBigInt64(at, true)),
};

/** An open test set: samples as a stream of batches, labels in memory (8 bytes a sample). */
export interface OpenTestSet {
  readonly task: string;
  readonly samples: number;
  readonly data: TensorInfo;
  /** Shape of one sample. */
  readonly sampleShape: readonly number[];
  readonly labels: Float64Array;
  /** Batches of at most `count` samples as raw bytes; every one is fresh memory. */
  batches(count: number, options: RunOptions): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/** @throws EvaluateError TEST_SET_INVALID, TEST_SET_EMPTY; SafetensorsError, CheckpointError */
export async function openTestSet(
  { task, path }: TestSet,
  names: { readonly data: string; readonly labels: string },
  options: RunOptions,
): Promise<OpenTestSet> {
  const file = await openCheckpoint(path, options);
  try {
    const data = requireTensor(file, names.data);
    const [samples, ...sampleShape] = data.shape;
    const labels = await readLabels(file, names.labels, options);
    if (samples === undefined) throw invalid(path, `tensor ${quote(data.name)} is a scalar, not a list of samples`);
    if (labels.length !== samples) {
      throw invalid(path, `it has ${samples} samples and ${labels.length} labels`);
    }
    if (samples === 0 || data.elements === 0) {
      const text = `${path}: test set ${quote(task)} has no samples. Give another file.`;
      throw new EvaluateError('TEST_SET_EMPTY', text, { path, task });
    }
    const bytes = sampleBytes(data.dtype, sampleShape);
    return {
      task,
      samples,
      data,
      sampleShape,
      labels,
      batches: (count, run) => regroup(file.chunks(data.name, run), Math.min(count, samples) * bytes),
      close: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readLabels(file: Checkpoint, name: string, options: RunOptions): Promise<Float64Array> {
  const { dtype, shape, elements } = requireTensor(file, name);
  const read = READERS[dtype];
  if (read === undefined) throw invalid(file.path, `labels ${quote(name)} are ${dtype}, not integers`);
  if (shape.length !== 1) throw invalid(file.path, `labels ${quote(name)} have ${shape.length} dimensions, not one`);
  const bytes = await file.readRaw(name, options);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = dtypeBytes(dtype);
  return Float64Array.from({ length: elements }, (_, i) => read(view, i * size));
}

function requireTensor(file: Checkpoint, name: string): TensorInfo {
  const info = file.tensors.get(name);
  if (info !== undefined) return info;
  const some = [...file.tensors.keys()].slice(0, 5).map(quote).join(', ');
  throw invalid(file.path, `it has no tensor ${quote(name)}, only ${some || 'none at all'}`);
}

function invalid(path: string, why: string): EvaluateError {
  const text = `${path} is not a test set: ${why}. It needs one tensor of samples and one of integer labels.`;
  return new EvaluateError('TEST_SET_INVALID', text, { path });
}

/** Cuts a stream of bytes into pieces of `size`; the last may be shorter. */
async function* regroup(chunks: AsyncIterable<Uint8Array>, size: number): AsyncIterable<Uint8Array> {
  let piece = new Uint8Array(size);
  let filled = 0;
  for await (const chunk of chunks) {
    for (let from = 0; from < chunk.length; ) {
      const length = Math.min(size - filled, chunk.length - from);
      piece.set(chunk.subarray(from, from + length), filled);
      filled += length;
      from += length;
      if (filled < size) continue;
      yield piece;
      piece = new Uint8Array(size);
      filled = 0;
    }
  }
  if (filled > 0) yield piece.subarray(0, filled);
}
