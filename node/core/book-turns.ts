import { NodeError } from '../errors.ts';
import type { RecordFiles } from './record-files.ts';
import { Serial } from './serial.ts';

/** The changes of a book: one after another, until it is closed. */
export class BookTurns {
  readonly #files: RecordFiles;
  readonly #serial = new Serial();
  #closed = false;

  constructor(components: { files: RecordFiles }) {
    this.#files = components.files;
  }

  /** @throws NodeError `INTERRUPTED` once the book is closed */
  run<T>(task: () => Promise<T>): Promise<T> {
    if (this.#closed) return Promise.reject(new NodeError('INTERRUPTED', 'the node is shutting down'));
    return this.#serial.run(task);
  }

  /** The same, and then waits until what became held is on disk, together with what others wait for. */
  async saved<T>(task: () => Promise<T>): Promise<T> {
    const result = await this.run(task);
    await this.#files.save();
    return result;
  }

  /** Runs what ends something, also in a book that is closed. */
  end<T>(task: () => Promise<T>): Promise<T> {
    return this.#serial.run(task);
  }

  /** Takes no more changes; waits until those under way are on disk. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#serial.idle();
    await this.#files.save().catch(() => {});
  }
}
