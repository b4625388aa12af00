import { closeSync, openSync } from 'node:fs';
import { CheckpointError } from '../tensors/errors.ts';

/** Files that one thread keeps open, at most; the one that was opened first is closed for another. */
export const MAX_OPEN_FILES = 16;

/** File descriptors by path, opened when they are first needed. */
export class FileCache {
  readonly #files = new Map<string, number>();

  /** @throws CheckpointError IO_FAILED */
  open(path: string): number {
    const known = this.#files.get(path);
    if (known !== undefined) return known;
    if (this.#files.size >= MAX_OPEN_FILES) {
      const [oldest, descriptor] = this.#files.entries().next().value!;
      this.#files.delete(oldest);
      closeSync(descriptor);
    }
    try {
      const descriptor = openSync(path, 'r');
      this.#files.set(path, descriptor);
      return descriptor;
    } catch (cause) {
      const text = `${path}: ${(cause as Error).message}. It was there when the checkpoint was opened: put it back.`;
      throw new CheckpointError('IO_FAILED', text, { path }, { cause });
    }
  }

  close(): void {
    for (const descriptor of this.#files.values()) closeSync(descriptor);
    this.#files.clear();
  }
}
