import { type FileHandle, open, rm } from 'node:fs/promises';
import { renameDurably, tempSibling } from '../durable.ts';
import type { RunOptions } from '../run-options.ts';
import { asCheckpointError, CheckpointError, quote } from './errors.ts';
import type { TensorInfo } from './header.ts';
import { type Layout, layoutFile, type TensorPlan } from './layout.ts';

export interface CheckpointWriter {
  /** The tensors in file order. Writing in this order is fastest; any order gives the same bytes. */
  readonly tensors: readonly TensorInfo[];
  /** Writes a whole tensor: raw little-endian bytes. @throws CheckpointError UNKNOWN_TENSOR, WRONG_LENGTH, ALREADY_WRITTEN */
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** Writes a tensor piece by piece; each piece may be reused once the next one is asked for. */
  writeChunks(
    name: string,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options?: RunOptions,
  ): Promise<void>;
  /** Flushes and gives the result its name. @throws CheckpointError TENSOR_MISSING (nothing is committed) */
  commit(): Promise<void>;
  /** Removes everything written so far. After commit, or a second time, it does nothing. */
  abort(): Promise<void>;
}

/**
 * Starts a safetensors file. Nothing shows under `path` before `commit`, which replaces what was there.
 *
 * The bytes depend on tensors and metadata alone: see `layoutFile`.
 */
export async function createSafetensors(
  path: string,
  tensors: readonly TensorPlan[],
  options: { readonly metadata?: Readonly<Record<string, string>> } = {},
): Promise<CheckpointWriter> {
  const layout = layoutFile(tensors, options.metadata);
  const temp = tempSibling(path);
  let handle: FileHandle | undefined;
  try {
    handle = await open(temp, 'wx');
    await writeFully(handle, layout.head, 0);
    return new FileWriter(path, temp, handle, layout);
  } catch (error) {
    await handle?.close();
    await rm(temp, { force: true });
    throw asCheckpointError(error, path);
  }
}

class FileWriter implements CheckpointWriter {
  readonly tensors: readonly TensorInfo[];
  readonly #path: string;
  readonly #temp: string;
  readonly #handle: FileHandle;
  readonly #layout: Layout;
  /** A tensor being written counts as begun, a whole one as done. */
  readonly #begun = new Set<string>();
  readonly #done = new Set<string>();
  #state: 'open' | 'committed' | 'aborted' = 'open';

  constructor(path: string, temp: string, handle: FileHandle, layout: Layout) {
    this.#path = path;
    this.#temp = temp;
    this.#handle = handle;
    this.#layout = layout;
    this.tensors = [...layout.places.values()].map(({ begin: _begin, ...info }) => info);
  }

  write(name: string, bytes: Uint8Array): Promise<void> {
    return this.writeChunks(name, [bytes]);
  }

  async writeChunks(
    name: string,
    chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
    options: RunOptions = {},
  ): Promise<void> {
    this.#requireOpen();
    const place = this.#layout.places.get(name);
    if (place === undefined) {
      throw new CheckpointError('UNKNOWN_TENSOR', `${this.#path}: tensor ${quote(name)} was not planned.`, {
        path: this.#path,
        tensor: name,
      });
    }
    if (this.#begun.has(name)) {
      throw new CheckpointError('ALREADY_WRITTEN', `${this.#path}: tensor ${quote(name)} was already given.`, {
        path: this.#path,
        tensor: name,
      });
    }
    this.#begun.add(name);
    try {
      let written = 0;
      for await (const chunk of chunks) {
        options.signal?.throwIfAborted();
        this.#requireOpen();
        if (written + chunk.byteLength > place.byteLength) throw this.#wrongLength(place, written + chunk.byteLength);
        await writeFully(this.#handle, chunk, place.begin + written);
        written += chunk.byteLength;
      }
      if (written !== place.byteLength) throw this.#wrongLength(place, written);
      this.#done.add(name);
    } catch (error) {
      // The right bytes may still be given: they overwrite the wrong ones.
      this.#begun.delete(name);
      throw asCheckpointError(error, this.#path);
    }
  }

  async commit(): Promise<void> {
    this.#requireOpen();
    for (const name of this.#layout.places.keys()) {
      if (this.#done.has(name)) continue;
      throw new CheckpointError('TENSOR_MISSING', `${this.#path}: tensor ${quote(name)} was not written.`, {
        path: this.#path,
        tensor: name,
      });
    }
    try {
      await this.#handle.sync();
      await this.#handle.close();
      await renameDurably(this.#temp, this.#path);
      this.#state = 'committed';
    } catch (error) {
      await this.abort();
      throw asCheckpointError(error, this.#path);
    }
  }

  async abort(): Promise<void> {
    if (this.#state !== 'open') return;
    this.#state = 'aborted';
    await this.#handle.close().catch(() => undefined);
    await rm(this.#temp, { force: true });
  }

  #requireOpen(): void {
    if (this.#state === 'open') return;
    throw new CheckpointError('CLOSED', `${this.#path}: already ${this.#state}.`, { path: this.#path });
  }

  #wrongLength(place: TensorInfo, found: number): CheckpointError {
    const text = `${this.#path}: tensor ${quote(place.name)} takes ${place.byteLength} bytes, at least ${found} were given.`;
    const exact = found < place.byteLength ? text.replace('at least', 'only') : text;
    return new CheckpointError('WRONG_LENGTH', exact, {
      path: this.#path,
      tensor: place.name,
      expected: place.byteLength,
      found,
    });
  }
}

async function writeFully(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < bytes.byteLength; ) {
    const { bytesWritten } = await handle.write(bytes, done, bytes.byteLength - done, position + done);
    done += bytesWritten;
  }
}
