import type { SignedRecord } from '../../src/log/index.ts';
import type { SimNode } from './node.ts';
import type { SimulationOptions } from './options.ts';
import { payloadBytes } from './payloads.ts';
import { exponential, seededRandom } from './random.ts';

/** Milliseconds after which an author that is not there tries again. */
const AGAIN_MS = 5_000;

export interface Contributed {
  readonly author: SimNode;
  readonly signed: SignedRecord;
  /** Milliseconds of the run. */
  readonly at: number;
}

/** The contributions of a run: who contributes what and when, planned from the seed. */
export class Workload {
  readonly contributed: Contributed[] = [];
  readonly #options: SimulationOptions;
  readonly #authors: readonly SimNode[];
  readonly #now: () => number;
  #left: number;
  #failure: unknown;

  constructor(options: SimulationOptions, components: { authors: readonly SimNode[]; now: () => number }) {
    this.#options = options;
    this.#authors = components.authors;
    this.#now = components.now;
    this.#left = options.updates;
  }

  /** Whether everything is contributed. @throws whatever a contribution failed with */
  isOver(): boolean {
    if (this.#failure !== undefined) throw this.#failure;
    return this.#left === 0;
  }

  /** Plans all updates from now on. @returns milliseconds until the last of them */
  begin(): number {
    const { seed, updates, intervalMs, regular, revoke, large, largeBytes, payloadBytes: smallBytes } = this.#options;
    const random = seededRandom(`${seed} workload`);
    let at = 0;
    for (let n = 0; n < updates; n++) {
      const author = this.#authors[Math.floor(random() * this.#authors.length)]!;
      const size = random() < large ? largeBytes : smallBytes;
      const revokes = random() < revoke;
      const run = () => this.#contribute(author, `update ${n}`, size, revokes);
      setTimeout(run, at);
      if (n < updates - 1) at += regular ? intervalMs : exponential(intervalMs, random);
    }
    return at;
  }

  #contribute(author: SimNode, title: string, size: number, revokes: boolean): void {
    const again = () => this.#contribute(author, title, size, revokes);
    if (!author.online) {
      setTimeout(again, AGAIN_MS);
      return;
    }
    this.#publish(author, title, size, revokes).then(
      (signed) => {
        this.contributed.push({ author, signed, at: this.#now() });
        this.#left--;
      },
      (error: unknown) => {
        // An author that was stopped in the middle of it: the update may be on its disk, and is not counted.
        if (author.online) this.#failure ??= error;
        else again();
      },
    );
  }

  async #publish(author: SimNode, title: string, size: number, revokes: boolean): Promise<SignedRecord> {
    const revoked = revokes && author.honest ? await author.revokeNewest() : null;
    return revoked ?? author.contribute(payloadBytes(`${this.#options.seed} ${title}`, size), title);
  }
}
