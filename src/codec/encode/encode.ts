import type { RunOptions } from '../../run-options.ts';
import type { TensorDifference } from '../align.ts';
import { containerHead } from '../container-format.ts';
import { formatSection } from '../format.ts';
import { withKernel } from '../kernel/pool.ts';
import { sectionDraft } from '../payload-encode.ts';
import { PayloadFile, type SectionDraft } from '../payload-file.ts';
import { entropyBoundBits, fp16Bytes } from '../size.ts';
import { checkOrderedTable } from '../table.ts';
import type { TensorTable } from '../types.ts';
import { type DenseSection, encodeGlobal, encodeTensors, globalRule } from './dense.ts';
import { encodeFactors, factorElements } from './low-rank.ts';
import { checkSettings, type EncoderSettings } from './settings.ts';
import { comparedTensors, type SourceInput, sourcesOf } from './sources.ts';
import { type EncodeThreads, withEncodeThreads } from './threads.ts';

/** The factors of an adapter stay factors. */
export interface EncodeInput extends EncoderSettings, SourceInput {
  /** Puts the head of an offline container before the payload (`openContainer`). Default false. */
  readonly container?: boolean;
  /** Threads at most, or threads that the caller keeps (`openEncodeThreads`). Default: one for each core. */
  readonly threads?: number | EncodeThreads;
}

export interface EncodedTensor {
  /** Position in the table. */
  readonly index: number;
  /** Entries; of both factors, where there are two. */
  readonly nnz: number;
  /** The deviation, where it makes the scale of a ternary tensor. */
  readonly sigma: number | null;
  readonly scale: number;
  /** Of a tensor that travels as two factors. */
  readonly rank?: number | undefined;
}

export interface EncodeReport {
  /** Size of the payload, without a container's head. */
  readonly bytes: number;
  /** Elements of the table. */
  readonly elements: number;
  /** Elements that entries were chosen from: the table's, or those of an adapter's factors and whole tensors. */
  readonly codedElements: number;
  /** Entries in the payload. */
  readonly nnz: number;
  /** nnz / codedElements, 0 where there are none. */
  readonly density: number;
  /** Standard deviation of the whole unpruned vector, where it makes the scale; else null. */
  readonly sigma: number | null;
  /** Mode `global`: the one scale of the ternary tensors. Mode `tensor`: those of all coded tensors in order. */
  readonly scales: readonly number[];
  /** The coded tensors, in table order. */
  readonly tensors: readonly EncodedTensor[];
  /** Σ |kept| / nnz over the ternary tensors: the scale of least square error for the same masks; 0 without any. */
  readonly leastSquaresScale: number;
  /** Entropy bound of the one density `density` (docs/algorithms.md B.3), in bytes, rounded up. */
  readonly entropyBoundBytes: number;
  /** The coded elements as 16-bit floats. */
  readonly fp16Bytes: number;
  /** What differed between base and fine-tune and was accepted. */
  readonly notes: readonly TensorDifference[];
}

/**
 * Compresses `finetune - base` to a payload file (ComPEFT, docs/algorithms.md A and B). Streams: a tensor is read once
 * in mode `tensor` (three times if it is too large to keep), up to four times in mode `global`; each thread holds the
 * stored elements of one tensor up to `MAX_KEPT_BYTES`, its masks and its code, and up to 8 results for each thread wait
 * for their turn. Of an adapter, the factors of one tensor
 * are held at a time. The file appears under its name complete and durable, or not at all. A vector whose scale is 0 (no
 * entry, or none that differs) gives the zero payload.
 *
 * @throws CodecError BAD_TABLE, BAD_PARAMETER, TENSOR_MISMATCH, NOT_FINITE, SCALE_OVERFLOW, OUT_OF_MEMORY;
 *   CheckpointError FILE_CHANGED, IO_FAILED; ThreadError; whatever the file system throws
 */
export async function encodeTaskVector(
  input: EncodeInput,
  out: string,
  options: RunOptions = {},
): Promise<EncodeReport> {
  options.signal?.throwIfAborted();
  checkSettings(input);
  const { table, mode } = input;
  const elements = checkOrderedTable(table);
  const prefix = input.container ? containerHead(table, input) : new Uint8Array(0);
  // Threads take a while to start: they do so while names are compared.
  return withEncodeThreads(comparedTensors(input), input.threads, options.signal, async (threads) => {
    const { pairs, factorPairs, adapter, notes } = await sourcesOf(input, options);
    // A model is one vector with all its tensors; an adapter has only what it has.
    const dense = adapter === null ? elements : pairs.reduce((sum, { pair }) => sum + pair.elements, 0);
    const components = { table, pairs, threads };
    const rule = mode === 'global' ? await globalRule(components, input, dense, options) : null;
    const ternary = rule ? encodeGlobal(components, rule, options) : encodeTensors(components, input, options);
    const written = await withKernel((kernel) => {
      const lowRank =
        adapter === null ? null : encodeFactors({ table, adapter, pairs: factorPairs, kernel }, input, options);
      const drafts = byIndex(ternary, lowRank, table);
      return writeDrafts(drafts, prefix, mode === 'global' && adapter === null, out, options);
    });
    const codedElements = dense + factorElements(factorPairs);
    const density = codedElements === 0 ? 0 : written.nnz / codedElements;
    const magnitudes = (rule?.magnitudes ?? 0) + written.magnitudes;
    return {
      bytes: written.bytes,
      elements,
      codedElements,
      nnz: written.nnz,
      density,
      sigma: rule?.sigma ?? null,
      scales: rule
        ? [...new Set(written.tensors.filter((t) => t.rank === undefined).map((t) => t.scale))]
        : written.tensors.map((t) => t.scale),
      tensors: written.tensors,
      leastSquaresScale: written.ternaryNnz === 0 ? 0 : magnitudes / written.ternaryNnz,
      entropyBoundBytes: Math.ceil(entropyBoundBits(density, codedElements) / 8),
      fp16Bytes: fp16Bytes(codedElements),
      notes,
    };
  });
}

/** A section with what the report says of it. */
interface Draft extends EncodedTensor, Pick<SectionDraft, 'header' | 'codes'> {
  /** Sum of the kept magnitudes of a ternary tensor, where it is known. */
  readonly magnitudes: number;
}

/** Both kinds of sections in ascending index. */
async function* byIndex(
  ternary: AsyncGenerator<DenseSection>,
  lowRank: ReturnType<typeof encodeFactors> | null,
  table: TensorTable,
): AsyncGenerator<Draft> {
  const nextFactors = async () => (await lowRank?.next())?.value ?? null;
  let factors = await nextFactors();
  const before = async function* (end: number): AsyncGenerator<Draft> {
    while (factors !== null && factors.tensor.index < end) {
      const { tensor, magnitudes } = factors;
      const { index } = tensor;
      const { nnz, rank } =
        tensor.form === 'low-rank'
          ? { nnz: tensor.left.nnz + tensor.right.nnz, rank: tensor.rank }
          : { nnz: tensor.nnz, rank: undefined };
      yield { ...sectionDraft(tensor, table[index]!.shape), index, nnz, sigma: null, rank, magnitudes };
      factors = await nextFactors();
    }
  };
  for await (const t of ternary) {
    yield* before(t.index);
    const { index, nnz, sigma, scale, magnitudes } = t;
    const { coding, code } = t.section;
    const header = (perTensor: boolean) => formatSection(t, coding, perTensor, code.length);
    yield { index, nnz, sigma, scale, magnitudes: magnitudes ?? 0, header, codes: [code] };
  }
  yield* before(table.length);
}

async function writeDrafts(
  drafts: AsyncIterable<Draft>,
  prefix: Uint8Array,
  oneScale: boolean,
  out: string,
  options: RunOptions,
) {
  const file = await PayloadFile.create(out, prefix, oneScale ? 'one scale' : 'scales');
  try {
    const tensors: EncodedTensor[] = [];
    let nnz = 0;
    let ternaryNnz = 0;
    let magnitudes = 0;
    for await (const draft of drafts) {
      await file.write(draft);
      const { index, sigma, scale, rank } = draft;
      tensors.push({ index, nnz: draft.nnz, sigma, scale, ...(rank === undefined ? {} : { rank }) });
      nnz += draft.nnz;
      if (rank === undefined) ternaryNnz += draft.nnz;
      magnitudes += draft.magnitudes;
    }
    options.signal?.throwIfAborted();
    return { bytes: await file.commit(), tensors, nnz, ternaryNnz, magnitudes };
  } catch (error) {
    await file.abort();
    throw error;
  }
}
