import { mkdir, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { writeFileDurably } from '../../src/durable.ts';
import { Historian } from '../../src/history/index.ts';
import type { SignedSeal } from '../../src/log/index.ts';
import type { Logger } from '../logger.ts';
import type { Judge } from './judge.ts';
import type { View } from './view.ts';

/**
 * Records that a seal brings and that this node has not decided on itself, above which their decisions are adopted first: below,
 * replaying takes no longer than anybody waits.
 */
export const ADOPT_ABOVE_RECORDS = 32;

export interface AdoptionOptions {
  /** Whether decisions are ever adopted. */
  readonly enabled: boolean;
  /** Where the number of the last replayed seal is kept; derived, may be deleted. */
  readonly path: string;
}

/**
 * Which seals' decisions are taken as their sealers made them, for a node that starts late: it has the sealed model at once, and
 * replays the decisions in the background until it can say that it checked them.
 */
export class Adoption {
  readonly #options: AdoptionOptions;
  readonly #judge: Judge;
  readonly #logger: Logger;
  readonly #adopted = new Set<string>();
  #replayed = 0;
  #decided = 0;
  /** A replay found that a seal does not hold: nothing is adopted any more. */
  #distrusted = false;
  #replaying: Promise<void> | undefined;
  #keeping: Promise<void> = Promise.resolve();

  constructor(options: AdoptionOptions, components: { judge: Judge; logger: Logger }) {
    this.#options = options;
    this.#judge = components.judge;
    this.#logger = components.logger;
  }

  /** Reads how far this home has replayed. */
  async open(): Promise<void> {
    const number = Number(await readFile(this.#options.path, 'utf8').catch(() => '0'));
    this.#replayed = Number.isSafeInteger(number) && number > 0 ? number : 0;
  }

  /** @param before - records in earlier epochs */
  adopts({ id, seal }: SignedSeal, before: number): boolean {
    if (!this.#options.enabled || this.#distrusted || seal.number <= this.#replayed) return false;
    if (this.#adopted.has(id.toString())) return true;
    if (before + seal.decisions.length - this.#decided <= ADOPT_ABOVE_RECORDS) return false;
    this.#adopted.add(id.toString());
    return true;
  }

  /** Notes what was derived; what was adopted in it is replayed in the background, one time at once. */
  note(view: View, source: ConstructorParameters<typeof Historian>, onReplayed: () => void, signal: AbortSignal): void {
    this.#decided = view.decisions.size;
    const behind = view.seals.some(({ replayed }) => !replayed);
    if (!behind) {
      this.#keeping = this.#keeping.then(() => this.#keep(view.seals.length));
      return;
    }
    this.#replaying ??= this.#replay(source, signal)
      .then(onReplayed)
      .catch((error: unknown) => {
        if (!signal.aborted) this.#logger.warn({ err: error }, 'adopted decisions could not be replayed yet');
      })
      .finally(() => {
        this.#replaying = undefined;
      });
  }

  async idle(): Promise<void> {
    await this.#replaying;
    await this.#keeping;
  }

  async #replay([options, components]: ConstructorParameters<typeof Historian>, signal: AbortSignal): Promise<void> {
    const decide = this.#judge.apart();
    const view = await new Historian({ ...options, adopts: () => false }, { ...components, decide }).derive({ signal });
    if (view.alarm?.code === 'SEAL_MISMATCH') this.#distrusted = true;
    await this.#keep(view.seals.length);
    this.#logger.info({ seals: view.seals.length, alarm: view.alarm?.code ?? null }, 'adopted decisions were replayed');
  }

  async #keep(number: number): Promise<void> {
    if (number <= this.#replayed) return;
    this.#replayed = number;
    try {
      // A home that never folded has no directory of derived files yet.
      await mkdir(dirname(this.#options.path), { recursive: true });
      await writeFileDurably(this.#options.path, String(number));
    } catch (error) {
      this.#logger.warn({ err: error }, 'how far decisions are replayed could not be kept');
    }
  }
}
