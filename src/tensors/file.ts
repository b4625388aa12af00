import { constants } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { type FileIdentity, identityOf } from '../file-identity.ts';
import type { RunOptions } from '../run-options.ts';
import { asCheckpointError, CheckpointError, SafetensorsError, type SafetensorsErrorCode } from './errors.ts';
import { type ParsedHeader, type ParseOptions, parseHeader } from './header.ts';
import { MAX_HEADER_BYTES } from './limits.ts';
import { SNIFF_BYTES, sniff } from './sniff.ts';

/** Bytes of one system call: what an abort waits for at most. */
const READ_BYTES = 4 * 2 ** 20;

/** Faults that another kind of file would show first. */
const FOREIGN_FAULTS: ReadonlySet<SafetensorsErrorCode> = new Set<SafetensorsErrorCode>([
  'FILE_TOO_SMALL',
  'HEADER_EMPTY',
  'HEADER_TOO_LARGE',
  'HEADER_TRUNCATED',
  'HEADER_NOT_UTF8',
  'HEADER_NOT_JSON',
  'HEADER_NOT_OBJECT',
]);

/** An open safetensors file: its header, and positional reads of its data. No memory mapping: a file that shrinks gives an error, not a signal. */
export interface SafetensorsFile extends ParsedHeader {
  readonly path: string;
  readonly size: number;
  /** Bytes before the data: length field and header. */
  readonly dataStart: number;
  readonly identity: FileIdentity;
  /** Fills `target` from byte `position` of the data. */
  read(target: Uint8Array, position: number, options?: RunOptions): Promise<void>;
  close(): Promise<void>;
}

/** @throws SafetensorsError, CheckpointError */
export async function openSafetensorsFile(
  path: string,
  options: RunOptions & Pick<ParseOptions, 'unknownFields'> = {},
): Promise<SafetensorsFile> {
  const { handle, size, identity } = await openRegularFile(path);
  try {
    const parsed = await readHeader(handle, size, path, options);
    const { dataStart, tensors, metadata } = parsed;
    return {
      path,
      size,
      dataStart,
      identity,
      tensors,
      metadata,
      read: (target, position, readOptions) => readFully(handle, target, dataStart + position, path, readOptions),
      close: () => handle.close(),
    };
  } catch (error) {
    await handle.close();
    throw asCheckpointError(error, path);
  }
}

async function readHeader(
  handle: FileHandle,
  size: number,
  path: string,
  options: RunOptions & Pick<ParseOptions, 'unknownFields'>,
): Promise<ParsedHeader & { dataStart: number }> {
  const head = new Uint8Array(Math.min(size, SNIFF_BYTES));
  await readFully(handle, head, 0, path, options);
  try {
    const length = headerLength(head, size, path);
    const header = new Uint8Array(length);
    await readFully(handle, header, 8, path, options);
    const parseOptions: ParseOptions = { source: path, unknownFields: options.unknownFields ?? 'reject' };
    return { ...parseHeader(header, size - 8 - length, parseOptions), dataStart: 8 + length };
  } catch (error) {
    const foreign = error instanceof SafetensorsError && FOREIGN_FAULTS.has(error.code) ? sniff(head) : undefined;
    if (foreign === undefined) throw error;
    const text = `${path}: not a safetensors file but ${foreign.advice}`;
    throw new SafetensorsError('NOT_SAFETENSORS', text, { source: path, kind: foreign.kind }, { cause: error });
  }
}

/** Reads the length field, and checks it before anything of that length is allocated. */
function headerLength(head: Uint8Array, size: number, path: string): number {
  const fault = (code: SafetensorsErrorCode, text: string) =>
    new SafetensorsError(code, `${path}: ${text}`, { source: path, size });
  if (size < 8) throw fault('FILE_TOO_SMALL', size === 0 ? 'the file is empty.' : `only ${size} bytes. It is damaged.`);
  const length = new DataView(head.buffer, head.byteOffset).getBigUint64(0, true);
  if (length === 0n) throw fault('HEADER_EMPTY', 'the header has no bytes. The file is damaged.');
  if (length > MAX_HEADER_BYTES) {
    throw fault('HEADER_TOO_LARGE', `the header would take ${length} bytes, above ${MAX_HEADER_BYTES}.`);
  }
  if (length > size - 8) {
    throw fault('HEADER_TRUNCATED', `the file ends inside its header of ${length} bytes. Copy or download it again.`);
  }
  return Number(length);
}

/** Opens a regular file for reading; a pipe or device is refused and never waited for. */
export async function openRegularFile(
  path: string,
): Promise<{ handle: FileHandle; size: number; identity: FileIdentity }> {
  let handle: FileHandle | undefined;
  try {
    if (!(await stat(path)).isFile()) throw notAFile(path);
    // The path may be replaced by a pipe in between, hence O_NONBLOCK and a second look.
    handle = await open(path, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0));
    const info = await handle.stat();
    if (!info.isFile()) throw notAFile(path);
    return { handle, size: info.size, identity: identityOf(info) };
  } catch (error) {
    await handle?.close();
    throw asCheckpointError(error, path);
  }
}

/** Fills `target` from `position` on. */
export async function readFully(
  handle: FileHandle,
  target: Uint8Array,
  position: number,
  path: string,
  options: RunOptions = {},
): Promise<void> {
  let done = 0;
  while (done < target.byteLength) {
    options.signal?.throwIfAborted();
    const length = Math.min(READ_BYTES, target.byteLength - done);
    const { bytesRead } = await handle.read(target, done, length, position + done).catch((error: unknown) => {
      throw asCheckpointError(error, path);
    });
    if (bytesRead === 0) {
      throw new CheckpointError('FILE_CHANGED', `${path}: became shorter while it was read. Open it again.`, { path });
    }
    done += bytesRead;
  }
}

function notAFile(path: string): CheckpointError {
  return new CheckpointError('NOT_A_FILE', `${path}: neither a regular file nor a directory.`, { path });
}
