import { type FileHandle, open } from 'node:fs/promises';
import { type FileIdentity, identityOf } from '../file-identity.ts';
import { CodecError } from './errors.ts';
import type { PayloadLocation } from './types.ts';

/** Random access to the bytes of a payload, in memory or in a file. */
export interface ByteSource {
  readonly size: number;
  /** Exactly `length` bytes from `offset`; the caller keeps both inside `size`. Not to be written to. */
  read(offset: number, length: number): Promise<Uint8Array>;
  /** Where the bytes are, for readers in other threads. */
  readonly location: PayloadLocation | Uint8Array;
  close(): Promise<void>;
}

/** A payload is read from bytes in memory, or from a file by its path. */
export type PayloadSource = Uint8Array | string;

/** @throws CodecError READ_FAILED if the file cannot be opened */
export async function openSource(source: PayloadSource): Promise<ByteSource> {
  if (typeof source !== 'string') return bytesSource(source);
  let handle: FileHandle;
  try {
    handle = await open(source, 'r');
  } catch (cause) {
    throw new CodecError('READ_FAILED', `Cannot open ${source}.`, { path: source }, { cause });
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw new CodecError('READ_FAILED', `${source} is not a file.`, { path: source });
    return fileSource(handle, source, identityOf(stat));
  } catch (error) {
    await handle.close();
    throw error;
  }
}

function bytesSource(bytes: Uint8Array): ByteSource {
  return {
    size: bytes.length,
    location: bytes,
    read: async (offset, length) => bytes.subarray(offset, offset + length),
    close: async () => {},
  };
}

function fileSource(handle: FileHandle, path: string, identity: FileIdentity): ByteSource {
  const { size } = identity;
  let closed: Promise<void> | undefined;
  return {
    size,
    location: { path, offset: 0, identity },
    async read(offset, length) {
      const bytes = new Uint8Array(length);
      let done = 0;
      while (done < length) {
        const { bytesRead } = await handle.read(bytes, done, length - done, offset + done).catch((cause) => {
          throw new CodecError('READ_FAILED', `Cannot read ${path}.`, { path }, { cause });
        });
        if (bytesRead === 0) {
          throw new CodecError('READ_FAILED', `${path} became shorter while it was read.`, { path });
        }
        done += bytesRead;
      }
      return bytes;
    },
    close() {
      closed ??= handle.close();
      return closed;
    },
  };
}

/** The part of a source from `offset` to its end. Closing it closes the whole. */
export function sliceSource(source: ByteSource, offset: number): ByteSource {
  const { location } = source;
  return {
    size: source.size - offset,
    location:
      location instanceof Uint8Array ? location.subarray(offset) : { ...location, offset: location.offset + offset },
    read: (at, length) => source.read(offset + at, length),
    close: () => source.close(),
  };
}
