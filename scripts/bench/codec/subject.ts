/** What is measured: the only file of the benchmark that knows how the codec is called. */
import { defaultSettings } from '../../../src/choose/settings.ts';
import {
  type Container,
  denseTensors,
  type EncoderSettings,
  type EncodeThreads,
  encodeTaskVector,
  entropyBoundBits,
  openContainer,
  openEncodeThreads,
  type ScaleMode,
  tableOf,
  type UpdateTensor,
} from '../../../src/codec/index.ts';
import type { RunOptions } from '../../../src/run-options.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';

export interface EncodeJob {
  /** Paths of the checkpoints and of the update to write. */
  readonly base: string;
  readonly finetune: string;
  readonly out: string;
  readonly settings: EncoderSettings;
}

/** Of a payload, without the table that an offline file puts before it. */
export interface PayloadSize {
  readonly bytes: number;
  readonly elements: number;
  readonly nnz: number;
}

/** What a contributor gets who says no more than a density, or nothing. */
export { defaultSettings };

export const MODES: readonly ScaleMode[] = ['global', 'tensor'];

/** The whole work of a contributor: opens both checkpoints, reads, selects, codes and writes. */
export async function encode(
  { base, finetune, out, settings }: EncodeJob,
  run: RunOptions = {},
  threads?: EncodeThreads,
): Promise<PayloadSize> {
  await using before = closing(await openCheckpoint(base, run));
  await using after = closing(await openCheckpoint(finetune, run));
  const input = { base: before.it, finetune: after.it, table: tableOf(before.it), ...settings, container: true };
  const { bytes, elements, nnz } = await encodeTaskVector({ ...input, ...(threads && { threads }) }, out, run);
  return { bytes, elements, nnz };
}

/** Seconds of the same on threads that have done it once before. */
export async function encodeAgain(job: EncodeJob): Promise<number> {
  await using base = closing(await openCheckpoint(job.base));
  await using threads = closing(openEncodeThreads(tableOf(base.it)));
  await encode(job, {}, threads.it);
  const started = performance.now();
  await encode(job, {}, threads.it);
  return (performance.now() - started) / 1000;
}

/** Decodes a whole update, tensor after tensor into memory that is used again. Gives the number of decoded values. */
export async function decode(path: string, run: RunOptions = {}): Promise<number> {
  await using update = closing(await openContainer(path, run));
  let decoded = 0;
  for await (const { values } of denseTensors(update.it.payload, run)) decoded += values.length;
  return decoded;
}

/** Opens an update to count in it. */
export async function openUpdate(path: string, run: RunOptions = {}): Promise<Container> {
  return openContainer(path, run);
}

/** The two masks of a tensor that is stored entry by entry. */
export function masksOf(tensor: UpdateTensor): { plus: Uint32Array; minus: Uint32Array; nnz: number } {
  if (tensor.form !== 'low-rank') return tensor;
  throw new Error(`tensor ${tensor.index} is stored as factors and has no masks`);
}

/** Bytes of the entropy bound of one density, not rounded. */
export function boundBytes({ nnz, elements }: { readonly nnz: number; readonly elements: number }): number {
  return entropyBoundBits(nnz / elements, elements) / 8;
}

function closing<T extends { close(): Promise<void> }>(it: T): AsyncDisposable & { it: T } {
  return { it, [Symbol.asyncDispose]: () => it.close() };
}
