import type { RunOptions } from '../run-options.ts';
import { CodecError } from './errors.ts';
import { HEADER_BYTES, MAX_SECTION_HEADER_BYTES, parseHeader, parseSection } from './format.ts';
import { SLICE_ENTRIES } from './limits.ts';
import { measureLowRank, ternaryMeasure } from './measure.ts';
import { Pacer } from './pacer.ts';
import { type DecodedSection, decodeSection } from './section-decoder.ts';
import { type ByteSource, openSource, type PayloadSource } from './source.ts';
import { checkTable } from './table.ts';
import type {
  LowRankSection,
  LowRankTensor,
  PayloadMeasure,
  PayloadReader,
  PayloadSection,
  ScaleMode,
  SignMasks,
  TensorMeasure,
  TensorTable,
  UpdateSection,
  UpdateTensor,
} from './types.ts';

/**
 * Opens a payload and walks its section headers. Memory is a fixed amount plus one entry per section, never more than
 * the table has tensors.
 * @throws CodecError BAD_TABLE, READ_FAILED, and every code of the payload's headers
 */
export async function openPayload(
  source: PayloadSource,
  table: TensorTable,
  options: RunOptions = {},
): Promise<PayloadReader> {
  checkTable(table);
  return openPayloadSource(await openSource(source), table, options);
}

/** As `openPayload` on an open source, which is closed if this fails. */
export async function openPayloadSource(
  source: ByteSource,
  table: TensorTable,
  options: RunOptions = {},
): Promise<Reader> {
  try {
    return await walk(source, table, options);
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function walk(source: ByteSource, table: TensorTable, { signal }: RunOptions): Promise<Reader> {
  signal?.throwIfAborted();
  const { size } = source;
  const header = parseHeader(await source.read(0, Math.min(size, HEADER_BYTES + 4)), table);
  const sections: UpdateSection[] = [];
  let offset = header.length;
  let previous = -1;
  let sameScale = true;
  for (let i = 0; i < header.count; i++) {
    signal?.throwIfAborted();
    const bytes = await source.read(offset, Math.min(size - offset, MAX_SECTION_HEADER_BYTES));
    const section = parseSection(bytes, offset, size, header, table, previous);
    sections.push(section);
    offset = section.offset + section.byteLength;
    previous = section.index;
    sameScale &&= section.scale === sections[0]!.scale;
  }
  if (header.mode === 'tensor' && sameScale) {
    throw new CodecError('BAD_FLAGS', 'The payload repeats one scale per tensor; it belongs in the header.');
  }
  if (offset !== size) {
    throw new CodecError('TRAILING_BYTES', `${size - offset} bytes follow the last tensor of the payload.`, { offset });
  }
  return new Reader(source, table, header.mode, sections);
}

class Reader implements PayloadReader {
  readonly table: TensorTable;
  readonly bytes: number;
  readonly mode: ScaleMode;
  readonly nnz: number;
  readonly sections: readonly UpdateSection[];
  readonly #source: ByteSource;

  constructor(source: ByteSource, table: TensorTable, mode: ScaleMode, sections: readonly UpdateSection[]) {
    this.#source = source;
    this.table = table;
    this.bytes = source.size;
    this.mode = mode;
    this.sections = sections;
    this.nnz = sections.reduce((sum, section) => sum + section.nnz, 0);
  }

  async *tensors(options: RunOptions = {}): AsyncIterable<UpdateTensor> {
    const pacer = new Pacer(SLICE_ENTRIES, options.signal);
    for (const [i, section] of this.sections.entries()) {
      options.onProgress?.({ phase: 'decoding', done: i, total: this.sections.length, unit: 'tensors' });
      yield await this.#read(section, pacer);
    }
    options.onProgress?.({
      phase: 'decoding',
      done: this.sections.length,
      total: this.sections.length,
      unit: 'tensors',
    });
  }

  async tensor(index: number, options: RunOptions = {}): Promise<UpdateTensor | null> {
    const section = findSection(this.sections, index);
    if (!section) return null;
    return this.#read(section, new Pacer(SLICE_ENTRIES, options.signal));
  }

  /** The full pass of `checkPayload`: everything is decoded and checked, nothing is kept but the integers. */
  async measure(options: RunOptions): Promise<PayloadMeasure> {
    const pacer = new Pacer(SLICE_ENTRIES, options.signal);
    const tensors: TensorMeasure[] = [];
    let squares = 0;
    let sum = 0;
    for (const [i, section] of this.sections.entries()) {
      options.onProgress?.({ phase: 'checking', done: i, total: this.sections.length, unit: 'tensors' });
      const measured = await this.#measure(section, pacer);
      tensors.push(measured);
      squares += measured.scale * measured.scale * measured.squares;
      sum += measured.scale * measured.sum;
    }
    const elements = this.table.reduce((total, t) => total + t.elements, 0);
    return { bytes: this.bytes, tensors, elements, nnz: this.nnz, norm: Math.sqrt(squares), sum };
  }

  async #measure(section: UpdateSection, pacer: Pacer): Promise<TensorMeasure> {
    if (section.form === 'low-rank') return measureLowRank(await this.#readFactors(section, pacer), pacer);
    const { negatives } = await this.#decode(section, false, pacer);
    return ternaryMeasure(section, section.nnz, negatives);
  }

  async #read(section: UpdateSection, pacer: Pacer): Promise<UpdateTensor> {
    if (section.form === 'low-rank') return this.#readFactors(section, pacer);
    const { index, elements, scale } = section;
    return { index, elements, scale, ...masks(section, await this.#decode(section, true, pacer)) };
  }

  async #readFactors(section: LowRankSection, pacer: Pacer): Promise<LowRankTensor> {
    const { form, index, elements, scale, rows, columns, rank } = section;
    const left = masks(section.left, await this.#decode(section.left, true, pacer));
    const right = masks(section.right, await this.#decode(section.right, true, pacer));
    return { form, index, elements, scale, rows, columns, rank, left, right };
  }

  get location() {
    return this.#source.location;
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  async #decode(section: PayloadSection, keep: boolean, pacer: Pacer): Promise<DecodedSection> {
    await pacer.add(0);
    return decodeSection(section, await this.#source.read(section.offset, section.byteLength), keep, pacer);
  }
}

function masks({ nnz }: PayloadSection, { plus, minus }: DecodedSection): SignMasks {
  return { plus, minus, nnz };
}

function findSection(sections: readonly UpdateSection[], index: number): UpdateSection | undefined {
  let low = 0;
  let high = sections.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sections[middle]!.index < index) low = middle + 1;
    else high = middle;
  }
  return sections[low]?.index === index ? sections[low] : undefined;
}

/**
 * Decodes and checks a whole payload without keeping it: memory is about one section's bytes, and for a low-rank tensor
 * the masks and entries of its factors (docs/payload-format.md).
 * @throws CodecError with every code of the payload
 */
export async function checkPayload(
  source: PayloadSource,
  table: TensorTable,
  options: RunOptions = {},
): Promise<PayloadMeasure> {
  checkTable(table);
  const reader = await openPayloadSource(await openSource(source), table, options);
  try {
    return await reader.measure(options);
  } finally {
    await reader.close();
  }
}
