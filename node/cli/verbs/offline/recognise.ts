import { stat } from 'node:fs/promises';
import { CONTAINER_MAGIC } from '../../../../src/codec/container-format.ts';
import { PAYLOAD_MAGIC } from '../../../../src/codec/format.ts';
import type { RunOptions } from '../../../../src/run-options.ts';
import {
  adapterDirectory,
  type Checkpoint,
  CheckpointError,
  isFloat,
  locateCheckpoint,
  openCheckpoint,
} from '../../../../src/tensors/index.ts';
import { closingAfter, magicOf, readHead } from './files.ts';
import { describeAdapterAt } from './recognise-adapter.ts';
import { describeDocument, documentKind, readDocument } from './recognise-document.ts';
import { describePayload, describeUpdate, type TableSources } from './recognise-update.ts';

/** What `inspect` prints. `kind` says which further fields there are. */
export interface InspectDocument {
  readonly kind: string;
  readonly path: string;
  /** Of the file, or of all weight files of a directory. */
  readonly bytes: number;
  readonly [field: string]: unknown;
}

/** Bytes at the front of a file that tell its kind. */
const HEAD_BYTES = 128;

/**
 * Finds out by content what a path holds, and checks it as far as it can be checked alone: a safetensors header, every
 * entry of an update or payload, the factors of a LoRA adapter, the form and the signature of a document. What is of no known kind is reported as a
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
  const adapter = info.isDirectory() ? await adapterDirectory(path) : undefined;
  if (adapter !== undefined) return describeAdapterAt({ path, dir: adapter, base: sources.base }, run);
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
