import type { RunOptions } from '../run-options.ts';
import { AnsDecoder } from './ans-decoder.ts';
import { CodecError } from './errors.ts';
import { HEADER_BYTES, MAX_SECTION_HEADER_BYTES, parseHeader, parseSection } from './format.ts';
import { GolombDecoder } from './golomb-decoder.ts';
import { SLICE_ENTRIES } from './limits.ts';
import { Pacer } from './pacer.ts';

import { type ByteSource, openSource, type PayloadSource } from './source.ts';
import { checkTable } from './table.ts';
import type { PayloadMeasure, PayloadReader, PayloadSection, ScaleMode, TensorTable, TernaryTensor } from './types.ts';

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
  const sections: PayloadSection[] = [];
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
  readonly sections: readonly PayloadSection[];
  readonly #source: ByteSource;

  constructor(source: ByteSource, table: TensorTable, mode: ScaleMode, sections: readonly PayloadSection[]) {
    this.#source = source;
    this.table = table;
    this.bytes = source.size;
    this.mode = mode;
    this.sections = sections;
    this.nnz = sections.reduce((sum, section) => sum + section.nnz, 0);
  }

  async *tensors(options: RunOptions = {}): AsyncIterable<TernaryTensor> {
    const pacer = new Pacer(SLICE_ENTRIES, options.signal);
    for (const [i, section] of this.sections.entries()) {
      options.onProgress?.({ phase: 'decoding', done: i, total: this.sections.length, unit: 'tensors' });
      yield ternary(section, await this.#decode(section, true, pacer));
    }
    options.onProgress?.({
      phase: 'decoding',
      done: this.sections.length,
      total: this.sections.length,
      unit: 'tensors',
    });
  }

  async tensor(index: number, options: RunOptions = {}): Promise<TernaryTensor | null> {
    const section = findSection(this.sections, index);
    if (!section) return null;
    return ternary(section, await this.#decode(section, true, new Pacer(SLICE_ENTRIES, options.signal)));
  }

  /** The full pass of `checkPayload`: everything is decoded and checked, nothing is kept but the counts. */
  async measure(options: RunOptions): Promise<PayloadMeasure> {
    const pacer = new Pacer(SLICE_ENTRIES, options.signal);
    const tensors: { index: number; scale: number; plus: number; minus: number }[] = [];
    let squares = 0;
    let sum = 0;
    for (const [i, section] of this.sections.entries()) {
      options.onProgress?.({ phase: 'checking', done: i, total: this.sections.length, unit: 'tensors' });
      const { index, scale, nnz } = section;
      const { negatives: minus } = await this.#decode(section, false, pacer);
      const plus = nnz - minus;
      tensors.push({ index, scale, plus, minus });
      squares += scale * scale * nnz;
      sum += scale * (plus - minus);
    }
    const elements = this.table.reduce((total, t) => total + t.elements, 0);
    return { bytes: this.bytes, tensors, elements, nnz: this.nnz, norm: Math.sqrt(squares), sum };
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  async #decode(section: PayloadSection, masks: boolean, pacer: Pacer): Promise<SectionDecoder> {
    await pacer.add(0);
    const bytes = await this.#source.read(section.offset, section.byteLength);
    const decoder = section.model
      ? new AnsDecoder(section, section.model, bytes, masks)
      : new GolombDecoder(section, bytes, masks);
    while (!decoder.done) await pacer.add(decoder.run(SLICE_ENTRIES));
    return decoder;
  }
}

/** What the decoders of both codings have in common. */
type SectionDecoder = AnsDecoder | GolombDecoder;

function ternary({ index, elements, scale, nnz }: PayloadSection, decoder: SectionDecoder): TernaryTensor {
  return { index, elements, scale, plus: decoder.plus, minus: decoder.minus, nnz };
}

function findSection(sections: readonly PayloadSection[], index: number): PayloadSection | undefined {
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
 * Decodes and checks a whole payload without keeping it: memory is about one section's bytes.
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
