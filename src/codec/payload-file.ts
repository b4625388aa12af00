import { type FileHandle, open, rm } from 'node:fs/promises';
import { renameDurably, tempSibling } from '../durable.ts';
import { formatHeader } from './format.ts';

/** One section, ready to be written: its header depends on whether scales go with the sections. */
export interface SectionDraft {
  readonly scale: number;
  header(perTensor: boolean): Uint8Array;
  readonly codes: readonly Uint8Array[];
}

/** What was written of a section: enough to write it again under the other kind of header. */
interface Written {
  readonly header: SectionDraft['header'];
  readonly offset: number;
  readonly length: number;
}

/** Bytes copied at a time when a payload is written anew. */
const COPY_BYTES = 1024 * 1024;

/**
 * Writes a payload section by section beside its target and moves it there when it is complete and on disk.
 *
 * Whether scales stand in the sections or once in the header follows from all of them (docs/payload-format.md), so it
 * is known at the end: the writer begins with what is expected, and copies the codes once more where that was wrong.
 */
export class PayloadFile {
  readonly #target: string;
  readonly #prefix: Uint8Array;
  readonly #perTensor: boolean;
  readonly #written: Written[] = [];
  readonly #scales = new Set<number>();
  #draft: Draft;

  private constructor(target: string, prefix: Uint8Array, perTensor: boolean, draft: Draft) {
    this.#target = target;
    this.#prefix = prefix;
    this.#perTensor = perTensor;
    this.#draft = draft;
  }

  /** @param prefix - goes before the payload (the head of a container) */
  static async create(target: string, prefix: Uint8Array, expect: 'one scale' | 'scales'): Promise<PayloadFile> {
    const draft = await Draft.create(target);
    const file = new PayloadFile(target, prefix, expect === 'scales', draft);
    try {
      // A header of the expected length; what it says is written at the end.
      await draft.append(prefix);
      await draft.append(formatHeader(1, file.#perTensor ? null : 1));
    } catch (error) {
      await file.abort();
      throw error;
    }
    return file;
  }

  async write(section: SectionDraft): Promise<void> {
    await this.#draft.append(section.header(this.#perTensor));
    const offset = this.#draft.end;
    for (const code of section.codes) await this.#draft.append(code);
    this.#written.push({ header: section.header, offset, length: this.#draft.end - offset });
    this.#scales.add(section.scale);
  }

  /** Returns the payload's size in bytes, once it is durable under its name. */
  async commit(): Promise<number> {
    const perTensor = this.#scales.size > 1;
    const [scale = null] = this.#scales;
    const header = formatHeader(this.#written.length, perTensor ? null : scale);
    if (perTensor === this.#perTensor && this.#written.length > 0) {
      await this.#draft.writeAt(header, this.#prefix.length);
    } else {
      await this.#rewrite(header, perTensor);
    }
    const size = this.#draft.end - this.#prefix.length;
    await this.#draft.publish(this.#target);
    return size;
  }

  /** Removes what was written; the target is untouched. */
  abort(): Promise<void> {
    return this.#draft.remove();
  }

  async #rewrite(header: Uint8Array, perTensor: boolean): Promise<void> {
    const old = this.#draft;
    this.#draft = await Draft.create(this.#target);
    try {
      await this.#draft.append(this.#prefix);
      await this.#draft.append(header);
      for (const section of this.#written) {
        await this.#draft.append(section.header(perTensor));
        for (let done = 0; done < section.length; done += COPY_BYTES) {
          const length = Math.min(COPY_BYTES, section.length - done);
          await this.#draft.append(await old.read(section.offset + done, length));
        }
      }
    } finally {
      await old.remove();
    }
  }
}

/** A file under a temporary name. */
class Draft {
  readonly #path: string;
  readonly #handle: FileHandle;
  #open = true;
  end = 0;

  private constructor(path: string, handle: FileHandle) {
    this.#path = path;
    this.#handle = handle;
  }

  static async create(target: string): Promise<Draft> {
    const path = tempSibling(target);
    return new Draft(path, await open(path, 'wx+'));
  }

  async append(bytes: Uint8Array): Promise<void> {
    await this.writeAt(bytes, this.end);
    this.end += bytes.length;
  }

  async writeAt(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      done += (await this.#handle.write(bytes, done, bytes.length - done, position + done)).bytesWritten;
    }
  }

  /** Bytes that were appended before. */
  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#handle.read(bytes, done, length - done, position + done);
      if (bytesRead === 0) throw new Error(`${this.#path} became shorter while it was written`);
      done += bytesRead;
    }
    return bytes;
  }

  async publish(target: string): Promise<void> {
    this.#open = false;
    await this.#handle.close();
    await renameDurably(this.#path, target);
  }

  async remove(): Promise<void> {
    if (this.#open) await this.#handle.close();
    this.#open = false;
    await rm(this.#path, { force: true });
  }
}
