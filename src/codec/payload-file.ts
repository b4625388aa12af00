import { type FileHandle, open, rm } from 'node:fs/promises';
import { renameDurably, tempSibling } from '../durable.ts';
import { COUNT_OFFSET, formatHeader } from './format.ts';
import { sectionBytes } from './payload-encode.ts';
import type { TernaryTensor } from './types.ts';

/** Writes a payload section by section beside its target and moves it there when it is complete and on disk. */
export class PayloadFile {
  readonly #target: string;
  readonly #temporary: string;
  readonly #handle: FileHandle;
  readonly #start: number;
  readonly #perTensor: boolean;
  #end: number;
  #count = 0;
  #open = true;

  private constructor(target: string, temporary: string, handle: FileHandle, start: number, perTensor: boolean) {
    this.#target = target;
    this.#temporary = temporary;
    this.#handle = handle;
    this.#start = start;
    this.#end = start;
    this.#perTensor = perTensor;
  }

  /**
   * `prefix` goes before the payload (the head of a container). `scale` is the global one, null for scales per tensor.
   * `empty` says that no section will follow.
   */
  static async create(target: string, prefix: Uint8Array, scale: number | null, empty: boolean): Promise<PayloadFile> {
    const temporary = tempSibling(target);
    const handle = await open(temporary, 'wx');
    const file = new PayloadFile(target, temporary, handle, prefix.length, !empty && scale === null);
    try {
      await file.#writeAt(prefix, 0);
      // The count is not known yet; any other than 0 gives the header its final length.
      await file.#append(formatHeader(empty ? 0 : 1, scale));
    } catch (error) {
      await file.abort();
      throw error;
    }
    return file;
  }

  async write(tensor: TernaryTensor, shape: readonly number[]): Promise<void> {
    for (const part of sectionBytes(tensor, shape, this.#perTensor)) await this.#append(part);
    this.#count++;
  }

  /** Returns the payload's size in bytes, once it is durable under its name. */
  async commit(): Promise<number> {
    const count = new Uint8Array(4);
    new DataView(count.buffer).setUint32(0, this.#count, true);
    await this.#writeAt(count, this.#start + COUNT_OFFSET);
    this.#open = false;
    await this.#handle.close();
    await renameDurably(this.#temporary, this.#target);
    return this.#end - this.#start;
  }

  /** Removes what was written; the target is untouched. */
  async abort(): Promise<void> {
    if (this.#open) await this.#handle.close();
    this.#open = false;
    await rm(this.#temporary, { force: true });
  }

  async #append(bytes: Uint8Array): Promise<void> {
    await this.#writeAt(bytes, this.#end);
    this.#end += bytes.length;
  }

  async #writeAt(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      done += (await this.#handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
    }
  }
}
