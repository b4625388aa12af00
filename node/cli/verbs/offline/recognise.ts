import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { CONTAINER_MAGIC } from '../../../../src/codec/container-format.ts';
import { PAYLOAD_MAGIC } from '../../../../src/codec/format.ts';
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
} from '../../../../src/codec/index.ts';
import { charterTable, decodeCharter, manifestOf } from '../../../../src/log/index.ts';
import type { RunOptions } from '../../../../src/run-options.ts';
import {
  type Checkpoint,
  CheckpointError,
  isFloat,
  locateCheckpoint,
  openCheckpoint,
} from '../../../../src/tensors/index.ts';
import { closingAfter, magicOf, readHead } from './files.ts';
import { describeDocument, documentKind, readDocument } from './recognise-document.ts';

/** What `inspect` prints. `kind` says which further fields there are. */
export interface InspectDocument {
  readonly kind: string;
  readonly path: string;
  /** Of the file, or of all weight files of a directory. */
  readonly bytes: number;
  readonly [field: string]: unknown;
}

/** Where the tensor table of a bare payload comes from. */
interface TableSources {
  readonly charter?: string | undefined;
  readonly base?: string | undefined;
}

/** Bytes at the front of a file that tell its kind. */
const HEAD_BYTES = 128;

/**
 * Finds out by content what a path holds, and checks it as far as it can be checked alone: a safetensors header, every
 * entry of an update or payload, the form and the signature of a document. What is of no known kind is reported as a
 * malformed safetensors file.
 *
 * @throws errors of the kind's own parser
 */
export async function recognise(path: string, sources: TableSources, run: RunOptions): Promise<InspectDocument> {
  const info = await stat(await locateCheckpoint(path)).catch((cause: NodeJS.ErrnoException) => {
    const missing = cause.code === 'ENOENT';
    const text = missing ? `${path}: nothing there. Check the path.` : `${path}: ${cause.message}`;
    throw new CheckpointError(missing ? 'NOT_FOUND' : 'IO_FAILED', text, { path }, { cause });
  });
  if (info.isFile()) {
    const head = await readHead(path, HEAD_BYTES);
    const bytes = info.size;
    if (magicOf(head) === CONTAINER_MAGIC) return { kind: 'update', path, bytes, ...(await describeUpdate(path, run)) };
    if (magicOf(head) === PAYLOAD_MAGIC) {
      return { kind: 'payload', path, bytes, ...(await describePayload(path, sources, run)) };
    }
    const kind = documentKind(head);
    if (kind !== undefined) {
      const content = await readDocument(path, bytes, kind);
      return { kind, path, bytes, ...describeDocument(kind, content) };
    }
  }
  return closingAfter(async (keep) => {
    const checkpoint = keep(await openCheckpoint(path, run));
    return describeCheckpoint(path, checkpoint, info.isDirectory());
  });
}

function describeCheckpoint(path: string, checkpoint: Checkpoint, directory: boolean): InspectDocument {
  const tensors = [...checkpoint.tensors.values()];
  const floats = tensors.filter(({ dtype }) => isFloat(dtype));
  const bytes = checkpoint.weightFiles.reduce((sum, { size }) => sum + size, 0);
  return {
    kind: directory ? 'checkpoint directory' : 'safetensors file',
    path,
    bytes,
    files: checkpoint.weightFiles.map(({ name }) => name),
    sideFiles: checkpoint.sideFiles.map(({ name }) => name),
    elements: tensors.reduce((sum, { elements }) => sum + elements, 0),
    floatElements: floats.reduce((sum, { elements }) => sum + elements, 0),
    metadata: Object.fromEntries(checkpoint.metadata),
    warnings: checkpoint.warnings.map(({ message }) => message),
    tensors: tensors.map(({ name, dtype, shape }) => ({ name, dtype, shape })),
  };
}

function describeUpdate(path: string, run: RunOptions): Promise<object> {
  return closingAfter(async (keep) => {
    const update = keep(await openContainer(path, run));
    const measure = await update.check(run);
    const { id } = await manifestOf(update.payloadChunks(run), run);
    const coded = new Map(measure.tensors.map((tensor) => [tensor.index, tensor]));
    const forms = new Map(update.payload.sections.map((section) => [section.index, section]));
    return {
      payload: id.toString(),
      encoder: update.encoder,
      ...describeMeasure(measure, update.payload.sections),
      tensors: update.table.map(({ name, shape, elements }, index) => {
        const { scale = 0, entries = 0 } = coded.get(index) ?? {};
        const section = forms.get(index);
        const form = section === undefined ? 'zero' : section.form === 'low-rank' ? 'low-rank' : 'ternary';
        const rank = section?.form === 'low-rank' ? section.rank : null;
        return { name, shape, form, rank, scale, entries, density: elements === 0 ? 0 : entries / elements };
      }),
    };
  });
}

async function describePayload(path: string, sources: TableSources, run: RunOptions): Promise<object> {
  const { id } = await manifestOf(createReadStream(path), run);
  const payload = id.toString();
  const table = await tableFrom(sources, run);
  if (table === undefined) {
    return { payload, checked: false, note: 'names no tensors: give --charter or --base to check and measure it' };
  }
  return closingAfter(async (keep) => {
    const { sections } = keep(await openPayload(path, table, run));
    return { payload, checked: true, ...describeMeasure(await checkPayload(path, table, run), sections) };
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

function describeMeasure(
  { bytes, elements, nnz, norm, tensors }: PayloadMeasure,
  sections: PayloadReader['sections'],
): object {
  const density = elements === 0 ? 0 : nnz / elements;
  const lowRank = sections.filter(({ form }) => form === 'low-rank').length;
  return {
    payloadBytes: bytes,
    // The bound is one for entries of the tensors themselves; those of factors are not spread over them.
    entropyBoundBytes: lowRank > 0 ? null : Math.ceil(entropyBoundBits(density, elements) / 8),
    fp16Bytes: fp16Bytes(elements),
    elements,
    entries: nnz,
    density,
    norm,
    coded: tensors.length,
    lowRank,
  };
}
