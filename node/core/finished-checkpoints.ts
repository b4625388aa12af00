import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { removeWhole } from '../../src/durable.ts';

export interface FoldedCheckpoint {
  readonly recipe: string;
  readonly path: string;
}

/** The merged checkpoints on disk, and which of them this process has finished and still needs. */
export class FinishedCheckpoints {
  readonly #directory: string;
  #finished = new Map<string, FoldedCheckpoint>();

  constructor(options: { directory: string }) {
    this.#directory = options.directory;
  }

  /** Where the checkpoint of a recipe is, or will be. */
  at(recipe: string): FoldedCheckpoint {
    return { recipe, path: join(this.#directory, recipe) };
  }

  get(recipe: string): FoldedCheckpoint | undefined {
    return this.#finished.get(recipe);
  }

  /** That which was finished last. */
  get last(): FoldedCheckpoint | undefined {
    return [...this.#finished.values()].at(-1);
  }

  /** Takes a finished one; of the others those of `wanted` recipes stay. */
  add(checkpoint: FoldedCheckpoint, wanted: ReadonlySet<string>): void {
    const others = [...this.#finished].filter(([recipe]) => recipe !== checkpoint.recipe && wanted.has(recipe));
    this.#finished = new Map([...others, [checkpoint.recipe, checkpoint]]);
  }

  /** Removes from the disk all but the newest `count`, and those of `needed` recipes. */
  async keepNewest(count: number, needed: ReadonlySet<string>): Promise<void> {
    const names = (await readdir(this.#directory)).filter((name) => !needed.has(name));
    const aged = await Promise.all(
      names.map(async (name) => ({ name, age: (await stat(join(this.#directory, name))).mtimeMs })),
    );
    aged.sort((a, b) => b.age - a.age);
    for (const { name } of aged.slice(Math.max(0, count - 1))) await removeWhole(join(this.#directory, name));
  }
}
