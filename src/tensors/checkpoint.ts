import type { FileIdentity } from '../file-identity.ts';
import type { RunOptions } from '../run-options.ts';
import { widenInto } from './convert.ts';
import { compareNames, type Dtype, dtypeBytes, FLOAT_DTYPES, isFloat } from './dtype.ts';
import { CheckpointError, quote } from './errors.ts';
import type { SafetensorsFile } from './file.ts';
import type { TensorInfo } from './header.ts';
import { DEFAULT_CHUNK_BYTES, MAX_TENSOR_BYTES } from './limits.ts';
import type { CheckpointWarning, SideFile } from './side-files.ts';

export interface ChunkOptions extends RunOptions {
  /** Bytes per chunk, rounded down to a multiple of 8 (at least 8) so that chunks hold whole elements. */
  readonly chunkBytes?: number;
}

/** Where the bytes of one tensor lie on disk. */
export interface TensorPlace {
  /** The safetensors file, as it was opened. */
  readonly path: string;
  /** Bytes from the start of that file. Not aligned: files in the wild start tensors at odd bytes. */
  readonly offset: number;
  readonly byteLength: number;
  readonly dtype: Dtype;
  /** What the file was when it was opened: a reader in another thread opens it by its path. */
  readonly identity: FileIdentity;
}

/** A safetensors file or a Hugging Face directory (one file, or shards with an index), open for reading. */
export interface Checkpoint {
  readonly path: string;
  /** Iterates in code-point order of the names. */
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** `__metadata__`; of shards, the union (the first shard wins). */
  readonly metadata: ReadonlyMap<string, string>;
  /** Configuration and tokenizer files of a directory; empty for a lone file. */
  readonly sideFiles: readonly SideFile[];
  /** The safetensors files, sorted by name. */
  readonly weightFiles: readonly SideFile[];
  /** What was odd but did not stop the opening. */
  readonly warnings: readonly CheckpointWarning[];
  /**
   * The raw little-endian bytes of a tensor, in order. Every chunk is fresh memory that the caller may keep; each
   * holds whole elements. Reads report no progress: the caller knows the whole.
   */
  chunks(name: string, options?: ChunkOptions): AsyncIterable<Uint8Array>;
  /** A whole tensor widened to float32: F64 rounded to nearest even, the others exactly. */
  readFloat32(name: string, options?: RunOptions): Promise<Float32Array>;
  /** The raw little-endian bytes of a whole tensor. */
  readRaw(name: string, options?: RunOptions): Promise<Uint8Array>;
  /**
   * The same over all of `out`, piece by piece; `seen` gets each piece when it is there.
   *
   * @throws RangeError when `out` has another length than the tensor
   */
  readInto(name: string, out: Uint8Array, seen: (piece: Uint8Array) => void, options?: RunOptions): Promise<void>;
  /**
   * Where a tensor lies, for readers with file handles of their own, as in other threads. The range was inside the file
   * when it was opened; a reader that meets its end finds a file that changed.
   *
   * @throws CheckpointError UNKNOWN_TENSOR, CLOSED
   */
  place(name: string): TensorPlace;
  /** Closes the files. Idempotent; reads afterwards throw CLOSED. */
  close(): Promise<void>;
}

interface Source {
  readonly path: string;
  readonly files: readonly SafetensorsFile[];
  readonly weightFiles: readonly SideFile[];
  readonly sideFiles: readonly SideFile[];
  readonly warnings: readonly CheckpointWarning[];
}

/** One checkpoint over the open files, whose tensor names are disjoint. */
export function makeCheckpoint(source: Source): Checkpoint {
  return new FileCheckpoint(source);
}

class FileCheckpoint implements Checkpoint {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
  readonly sideFiles: readonly SideFile[];
  readonly weightFiles: readonly SideFile[];
  readonly warnings: readonly CheckpointWarning[];
  readonly #files: readonly SafetensorsFile[];
  readonly #places = new Map<string, { file: SafetensorsFile; begin: number }>();
  #closed = false;

  constructor(source: Source) {
    this.path = source.path;
    this.sideFiles = source.sideFiles;
    this.weightFiles = source.weightFiles;
    this.warnings = source.warnings;
    this.#files = source.files;
    const infos: TensorInfo[] = [];
    const metadata = new Map<string, string>();
    for (const file of source.files) {
      for (const { begin, name, dtype, shape, elements, byteLength } of file.tensors.values()) {
        this.#places.set(name, { file, begin });
        infos.push(Object.freeze({ name, dtype, shape: Object.freeze(shape), elements, byteLength }));
      }
      for (const [key, value] of file.metadata) if (!metadata.has(key)) metadata.set(key, value);
    }
    if (source.files.length > 1) infos.sort((a, b) => compareNames(a.name, b.name));
    this.tensors = new Map(infos.map((info) => [info.name, info]));
    this.metadata = metadata;
  }

  async *chunks(name: string, options: ChunkOptions = {}): AsyncGenerator<Uint8Array, void, undefined> {
    const { info, file, begin } = this.#find(name);
    const size = Math.max(8, Math.floor((options.chunkBytes ?? DEFAULT_CHUNK_BYTES) / 8) * 8);
    for (let done = 0; done < info.byteLength; done += size) {
      this.#requireOpen();
      const chunk = allocate(Math.min(size, info.byteLength - done), info);
      await file.read(chunk, begin + done, options);
      yield chunk;
    }
  }

  async readFloat32(name: string, options: RunOptions = {}): Promise<Float32Array> {
    const { info, file, begin } = this.#find(name);
    if (!isFloat(info.dtype)) {
      const text = `tensor ${quote(name)} is ${info.dtype}; only ${[...FLOAT_DTYPES].join(', ')} have float32 values.`;
      throw new CheckpointError('NOT_FLOAT', text, { tensor: name, dtype: info.dtype });
    }
    const values = new Float32Array(allocate(info.elements * 4, info).buffer);
    if (info.dtype === 'F32') {
      await file.read(new Uint8Array(values.buffer), begin, options);
      return values;
    }
    const size = dtypeBytes(info.dtype);
    const buffer = new Uint8Array(Math.min(DEFAULT_CHUNK_BYTES, info.byteLength));
    for (let done = 0; done < info.byteLength; done += buffer.byteLength) {
      const part = buffer.subarray(0, Math.min(buffer.byteLength, info.byteLength - done));
      await file.read(part, begin + done, options);
      widenInto(part, info.dtype, values, done / size);
    }
    return values;
  }

  async readRaw(name: string, options: RunOptions = {}): Promise<Uint8Array> {
    const { info, file, begin } = this.#find(name);
    const bytes = allocate(info.byteLength, info);
    await file.read(bytes, begin, options);
    return bytes;
  }

  async readInto(
    name: string,
    out: Uint8Array,
    seen: (piece: Uint8Array) => void,
    options: RunOptions = {},
  ): Promise<void> {
    const { info, file, begin } = this.#find(name);
    if (out.byteLength !== info.byteLength) {
      throw new RangeError(`Tensor ${quote(name)} has ${info.byteLength} bytes, the target ${out.byteLength}.`);
    }
    for (let done = 0; done < info.byteLength; done += DEFAULT_CHUNK_BYTES) {
      this.#requireOpen();
      const piece = out.subarray(done, done + DEFAULT_CHUNK_BYTES);
      await file.read(piece, begin + done, options);
      seen(piece);
    }
  }

  place(name: string): TensorPlace {
    const { info, file, begin } = this.#find(name);
    return {
      path: file.path,
      offset: file.dataStart + begin,
      byteLength: info.byteLength,
      dtype: info.dtype,
      identity: file.identity,
    };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await Promise.all(this.#files.map((file) => file.close()));
  }

  #find(name: string): { info: TensorInfo; file: SafetensorsFile; begin: number } {
    this.#requireOpen();
    const info = this.tensors.get(name);
    const place = this.#places.get(name);
    if (info === undefined || place === undefined) {
      const text = `${this.path}: no tensor ${quote(name)}. Compare the names with \`kinmerge inspect\`.`;
      throw new CheckpointError('UNKNOWN_TENSOR', text, { path: this.path, tensor: name });
    }
    return { info, ...place };
  }

  #requireOpen(): void {
    if (this.#closed) throw new CheckpointError('CLOSED', `${this.path}: already closed.`, { path: this.path });
  }
}

function allocate(bytes: number, info: TensorInfo): Uint8Array<ArrayBuffer> {
  const tooLarge = (cause?: unknown) =>
    new CheckpointError(
      'TENSOR_TOO_LARGE',
      `tensor ${quote(info.name)}: ${bytes} bytes do not fit into memory at once. Use a machine with more memory.`,
      { tensor: info.name, bytes, limit: MAX_TENSOR_BYTES },
      { cause },
    );
  if (bytes > MAX_TENSOR_BYTES) throw tooLarge();
  try {
    return new Uint8Array(bytes);
  } catch (error) {
    throw error instanceof RangeError ? tooLarge(error) : error;
  }
}
