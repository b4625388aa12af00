import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { type FileIdentity, identityOf, sameFile } from '../file-identity.ts';
import { CheckpointError } from '../tensors/errors.ts';
import { CodecError } from './errors.ts';

/** Files that one thread keeps open, at most; the one that was opened first is closed for another. */
export const MAX_OPEN_FILES = 16;

/** A file that was opened before, elsewhere. */
export interface KnownFile {
  readonly path: string;
  /** What it was then; a file that is another one now is refused. */
  readonly identity?: FileIdentity | undefined;
}

/** What is thrown where a file cannot be read, or is not what it was. */
export interface FileErrors {
  failed(path: string, cause: Error): Error;
  changed(path: string): Error;
}

/** Of the files of checkpoints. */
const CHECKPOINT_ERRORS: FileErrors = {
  failed: (path, cause) => {
    const text = `${path}: ${cause.message}. It was there when the checkpoint was opened: put it back.`;
    return new CheckpointError('IO_FAILED', text, { path }, { cause });
  },
  changed: (path) => {
    const text = `${path}: changed while it was read. Run this again when it is complete.`;
    return new CheckpointError('FILE_CHANGED', text, { path });
  },
};

/** Of payloads: nothing that happens to a file says anything about the payload. */
export const PAYLOAD_FILE_ERRORS: FileErrors = {
  failed: (path, cause) => {
    const text = `Cannot read ${path}: ${cause.message}. Put it back, and open it again.`;
    return new CodecError('READ_FAILED', text, { path }, { cause });
  },
  changed: (path) => new CodecError('READ_FAILED', `${path} changed while it was read. Open it again.`, { path }),
};

/** File descriptors by path, opened when they are first needed. */
export class FileCache {
  readonly #errors: FileErrors;
  readonly #files = new Map<string, { readonly descriptor: number; readonly identity: FileIdentity | undefined }>();

  constructor(errors: FileErrors = CHECKPOINT_ERRORS) {
    this.#errors = errors;
  }

  /** @throws as `FileErrors` says */
  open({ path, identity }: KnownFile): number {
    const known = this.#files.get(path);
    // The same path may lead to another file by now.
    if (known !== undefined && (identity === undefined || same(known.identity, identity))) return known.descriptor;
    if (known !== undefined) this.#drop(path);
    if (this.#files.size >= MAX_OPEN_FILES) this.#drop(this.#files.keys().next().value!);
    const descriptor = this.#attempt(path, () => openSync(path, 'r'));
    this.#files.set(path, { descriptor, identity });
    if (identity !== undefined) {
      const found = this.#attempt(path, () => identityOf(fstatSync(descriptor)));
      if (!sameFile(found, identity)) {
        this.#drop(path);
        throw this.#errors.changed(path);
      }
    }
    return descriptor;
  }

  /** Fills `target` from a byte of the file on. @throws as `FileErrors` says */
  read(file: KnownFile, target: Uint8Array, position: number): void {
    const descriptor = this.open(file);
    for (let done = 0; done < target.length; ) {
      const bytes = this.#attempt(file.path, () =>
        readSync(descriptor, target, done, target.length - done, position + done),
      );
      if (bytes === 0) throw this.#errors.changed(file.path);
      done += bytes;
    }
  }

  close(): void {
    for (const path of [...this.#files.keys()]) this.#drop(path);
  }

  #drop(path: string): void {
    const { descriptor } = this.#files.get(path)!;
    this.#files.delete(path);
    closeSync(descriptor);
  }

  #attempt<T>(path: string, work: () => T): T {
    try {
      return work();
    } catch (cause) {
      throw this.#errors.failed(path, cause as Error);
    }
  }
}

function same(known: FileIdentity | undefined, wanted: FileIdentity): boolean {
  return known !== undefined && sameFile(known, wanted);
}
