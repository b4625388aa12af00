import { createWriteStream } from 'node:fs';
import { rm } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { renameDurably, tempSibling } from '../durable.ts';
import type { RunOptions } from '../run-options.ts';
import {
  CONTAINER_PREFIX_BYTES,
  containerHead,
  parseContainerHeader,
  parseContainerPrefix,
} from './container-format.ts';
import type { EncoderSettings } from './encode/settings.ts';
import { openPayloadSource } from './payload-reader.ts';
import { type ByteSource, openSource, type PayloadSource, sliceSource } from './source.ts';
import type { PayloadMeasure, PayloadReader, TensorTable } from './types.ts';

/** Bytes copied at a time. */
const COPY_BYTES = 1024 * 1024;

export interface Container {
  readonly table: TensorTable;
  readonly encoder: EncoderSettings;
  /** Bytes before the payload. */
  readonly payloadOffset: number;
  /** The payload; closing it or the container closes the file. */
  readonly payload: PayloadReader;
  /** Full pass over the payload, as `checkPayload`. */
  check(options?: RunOptions): Promise<PayloadMeasure>;
  /** The payload's bytes in pieces of up to 1 MiB. */
  payloadChunks(options?: RunOptions): AsyncIterable<Uint8Array>;
  close(): Promise<void>;
}

/**
 * Opens a file of `kinmerge encode`: a head with names and shapes, then a payload, whose headers are checked.
 * @throws CodecError BAD_CONTAINER_MAGIC, UNSUPPORTED_CONTAINER_VERSION, BAD_CONTAINER_HEADER, READ_FAILED, and every
 *   code of a payload's headers
 */
export async function openContainer(source: PayloadSource, options: RunOptions = {}): Promise<Container> {
  const bytes = await openSource(source);
  try {
    const prefix = await bytes.read(0, Math.min(bytes.size, CONTAINER_PREFIX_BYTES));
    const length = parseContainerPrefix(prefix, bytes.size);
    const { table, encoder } = parseContainerHeader(await bytes.read(CONTAINER_PREFIX_BYTES, length));
    const payloadOffset = CONTAINER_PREFIX_BYTES + length;
    const part = sliceSource(bytes, payloadOffset);
    const payload = await openPayloadSource(part, table, options);
    return {
      table,
      encoder,
      payloadOffset,
      payload,
      check: (checkOptions = {}) => payload.measure(checkOptions),
      payloadChunks: (chunkOptions = {}) => chunks(part, chunkOptions),
      close: () => payload.close(),
    };
  } catch (error) {
    await bytes.close();
    throw error;
  }
}

/**
 * Writes a container around an existing payload, durably. The payload is checked in full first.
 * @throws CodecError BAD_TABLE, BAD_CONTAINER_HEADER, and every code of a payload
 */
export async function writeContainer(
  path: string,
  content: { readonly table: TensorTable; readonly encoder: EncoderSettings; readonly payload: PayloadSource },
  options: RunOptions = {},
): Promise<void> {
  const head = containerHead(content.table, content.encoder);
  const source = await openSource(content.payload);
  const reader = await openPayloadSource(source, content.table, options);
  const temporary = tempSibling(path);
  try {
    await reader.measure(options);
    const write = async function* () {
      yield head;
      yield* chunks(source, options);
    };
    await pipeline(write, createWriteStream(temporary, { flags: 'wx' }));
    await renameDurably(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await reader.close();
  }
}

async function* chunks(source: ByteSource, { signal }: RunOptions): AsyncIterable<Uint8Array> {
  for (let offset = 0; offset < source.size; offset += COPY_BYTES) {
    signal?.throwIfAborted();
    yield await source.read(offset, Math.min(COPY_BYTES, source.size - offset));
  }
}
