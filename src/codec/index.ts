/**
 * ComPEFT, the codec of updates (docs/algorithms.md A and B, docs/payload-format.md): keep the largest entries of a
 * task vector, replace each by sign times scale, and code the positions of each tensor by Golomb gaps or, where that is
 * smaller, by an entropy coder that learns the densities of rows and columns.
 *
 * - `encode/`: base and fine-tune, or a LoRA adapter, to a payload file, streaming, one tensor per thread (`align.ts` which
 *   tensors belong together, `select.ts` the exact top-k, `payload-file.ts` the file)
 * - `decode/`: a payload to float32 tensors, in threads
 * - `kernel/`: the hot loops, C compiled to WebAssembly; `section-choice.ts` and `section-decoder.ts` code and decode one
 *   tensor's entries with it, `spread.ts` says whether rows and columns are worth modelling
 * - `payload-encode.ts`, `payload-reader.ts`, `measure.ts`: ternary and low-rank tensors to bytes, back, and measured
 *   (`format.ts`, `format-coding.ts`, `format-low-rank.ts` and `cursor.ts` headers, `source.ts` bytes or files)
 * - `container.ts`: a payload with its own table of names and shapes, for files outside a community
 * - `low-rank.ts`, `low-rank-product.ts`: tensors that travel as two ternary factors, and the rows of their product
 * - `ternary.ts`, `expand.ts`, `size.ts`, `table.ts`: masks, dense values, size formulas, tensor tables
 */

export { type Alignment, type AlignPolicy, alignTensors, type TensorDifference } from './align.ts';
export { type Container, openContainer, writeContainer } from './container.ts';
export { type DenseOptions, type DenseTensor, denseTensors } from './decode/dense.ts';
export { type EncodeInput, type EncodeReport, encodeTaskVector } from './encode/encode.ts';
export type { EncoderSettings } from './encode/settings.ts';
export { comparedTensors } from './encode/sources.ts';
export { type EncodeThreads, openEncodeThreads } from './encode/threads.ts';
export {
  CodecError,
  type CodecErrorCode,
  type ContainerErrorCode,
  type EncodeErrorCode,
  isPayloadFault,
  PAYLOAD_ERROR_CODES,
  type PayloadErrorCode,
  type ReadErrorCode,
  type ResourceErrorCode,
} from './errors.ts';
export { expand } from './expand.ts';
export {
  MAX_PRODUCT_SIDE,
  MAX_SCALE,
  MAX_TABLE_TENSORS,
  MAX_TENSOR_ELEMENTS,
  MAX_UPDATE_RANK,
  MIN_SCALE,
} from './limits.ts';
export { isLowRankScale, isLowRankShape, lowRankScale } from './low-rank.ts';
export { encodeTernary, encodeTernarySync } from './payload-encode.ts';
export { checkPayload, openPayload } from './payload-reader.ts';
export {
  entropyBitsPerEntry,
  entropyBoundBits,
  expectedRiceGapBits,
  fp16Bytes,
  golombGapBits,
  golombParameter,
  riceGapBits,
  riceParameter,
} from './size.ts';
export type { PayloadSource } from './source.ts';
export { checkTable, type FloatSource, isFloatDtype, tableOf } from './table.ts';
export { isWireScale, maskWords, popcount, popcount32, ternaryFromSigns } from './ternary.ts';
export type {
  AnsModel,
  LowRankSection,
  LowRankTensor,
  PayloadMeasure,
  PayloadReader,
  PayloadSection,
  ScaleMode,
  ScaleUnit,
  SectionCoding,
  SignMasks,
  TableTensor,
  TensorMeasure,
  TensorTable,
  TernaryTensor,
  UpdateSection,
  UpdateTensor,
} from './types.ts';
