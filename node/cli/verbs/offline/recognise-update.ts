/** What an update or a bare payload is, checked to its last entry. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import {
  checkPayload,
  entropyBoundBits,
  fp16Bytes,
  openContainer,
  openPayload,
  type PayloadMeasure,
  type PayloadReader,
  type TensorTable,
  tableOf,
  type UpdateSection,
} from '../../../../src/codec/index.ts';
import { leftFactor, rightFactor } from '../../../../src/codec/low-rank.ts';
import { codeWith, sectionParameter } from '../../../../src/codec/section-choice.ts';
import { charterTable, decodeCharter, manifestOf } from '../../../../src/log/index.ts';
import type { RunOptions } from '../../../../src/run-options.ts';
import { openCheckpoint } from '../../../../src/tensors/index.ts';
import { closingAfter } from './files.ts';
import { readDocument } from './recognise-document.ts';

/** Where the tensor table of a bare payload comes from. */
export interface TableSources {
  readonly charter?: string | undefined;
  readonly base?: string | undefined;
}

/** What a payload holds and takes. Sizes are bytes. */
interface PayloadFacts {
  readonly payloadBytes: number;
  /** Of one density for all coded elements. */
  readonly entropyBoundBytes: number;
  /** The payload if every code in it were Golomb's. */
  readonly golombBytes: number;
  /** The coded elements as 16-bit floats. */
  readonly fp16Bytes: number;
  /** Of the whole table. */
  readonly elements: number;
  /** The table's; where tensors are low-rank, those of their factors and of the ternary tensors beside them. */
  readonly codedElements: number;
  readonly entries: number;
  /** entries / codedElements. */
  readonly density: number;
  readonly norm: number;
  /** Tensors that the update changes, and how many of these travel as two factors. */
  readonly coded: number;
  readonly lowRank: number;
}

/** @throws CodecError */
export function describeUpdate(path: string, run: RunOptions): Promise<object> {
  return closingAfter(async (keep) => {
    const update = keep(await openContainer(path, run));
    const measure = await update.check(run);
    const { id } = await manifestOf(update.payloadChunks(run), run);
    const measures = new Map(measure.tensors.map((tensor) => [tensor.index, tensor]));
    const sections = new Map(update.payload.sections.map((section) => [section.index, section]));
    return {
      payload: id.toString(),
      encoder: update.encoder,
      ...(await describeMeasure(measure, update.payload, run)),
      tensors: update.table.map(({ name, shape, elements }, index) => {
        const { scale = 0, entries = 0 } = measures.get(index) ?? {};
        const section = sections.get(index);
        const form = section === undefined ? 'zero' : section.form === 'low-rank' ? 'low-rank' : 'ternary';
        const rank = section?.form === 'low-rank' ? section.rank : null;
        const coded = section === undefined ? elements : codedElements(section);
        return { name, shape, form, rank, scale, entries, density: coded === 0 ? 0 : entries / coded };
      }),
    };
  });
}

/** @throws CodecError, and errors of the file that the table is read from */
export async function describePayload(path: string, sources: TableSources, run: RunOptions): Promise<object> {
  const { id } = await manifestOf(createReadStream(path), run);
  const payload = id.toString();
  const table = await tableFrom(sources, run);
  if (table === undefined) {
    return { payload, checked: false, note: 'names no tensors: give --charter or --base to check and measure it' };
  }
  return closingAfter(async (keep) => {
    const measure = await checkPayload(path, table, run);
    const reader = keep(await openPayload(path, table, run));
    return { payload, checked: true, ...(await describeMeasure(measure, reader, run)) };
  });
}

async function tableFrom({ charter, base }: TableSources, run: RunOptions): Promise<TensorTable | undefined> {
  if (charter !== undefined) {
    const { size } = await stat(charter);
    return charterTable(decodeCharter(await readDocument(charter, size, 'charter')));
  }
  if (base === undefined) return undefined;
  return closingAfter(async (keep) => tableOf(keep(await openCheckpoint(base, run))));
}

async function describeMeasure(
  { bytes, elements, nnz, norm, tensors }: PayloadMeasure,
  payload: PayloadReader,
  run: RunOptions,
): Promise<PayloadFacts> {
  const { sections } = payload;
  const lowRank = sections.filter(({ form }) => form === 'low-rank').length;
  const coded = lowRank === 0 ? elements : sections.reduce((sum, section) => sum + codedElements(section), 0);
  const density = coded === 0 ? 0 : nnz / coded;
  return {
    payloadBytes: bytes,
    entropyBoundBytes: Math.ceil(entropyBoundBits(density, coded) / 8),
    golombBytes: await golombBytes(payload, run),
    fp16Bytes: fp16Bytes(coded),
    elements,
    codedElements: coded,
    entries: nnz,
    density,
    norm,
    coded: tensors.length,
    lowRank,
  };
}

function codedElements(section: UpdateSection): number {
  return section.form === 'low-rank' ? section.left.elements + section.right.elements : section.elements;
}

/** Golomb's code of each tensor or factor in place of its own, by the parameter of its density. */
async function golombBytes(payload: PayloadReader, run: RunOptions): Promise<number> {
  let bytes = payload.sections.reduce((rest, { byteLength }) => rest - byteLength, payload.bytes);
  for await (const t of payload.tensors(run)) {
    for (const part of t.form === 'low-rank' ? [leftFactor(t), rightFactor(t)] : [t]) {
      bytes += codeWith(part, { golombM: sectionParameter(part.elements, part.nnz) }).length;
    }
  }
  return bytes;
}
