/** How long the fuzzers run, and from which seed: one switch for all of them. */
import fc from 'fast-check';
import { afterAll, expect } from 'vitest';

/**
 * Environment variable: inputs for each decoder (each test file of this folder that uses `fuzzer`). Without it a file
 * has a budget of seconds, so that the folder takes about 30 s on two cores.
 */
const RUNS = positive('KINMERGE_FUZZ_RUNS');

/** Environment variable: the seed of an earlier run, which every run prints, to have the same inputs again. */
const SEED = positive('KINMERGE_FUZZ_SEED') ?? Math.floor(Math.random() * 2 ** 31);

/** Inputs between two looks at the clock. */
const BATCH = 250;

/** Limit of one test in milliseconds. A decoder that waits forever runs into it; one that computes, into `within`. */
export const FUZZ_TIMEOUT = RUNS === undefined ? 180_000 : 6 * 3_600_000;

/** Milliseconds of processor time that one input may take: the largest samples take about ten. */
export const MAX_INPUT_MILLISECONDS = 1_000;

export interface Fuzzer {
  /** Gives the property a share (0 to 1) of the file's inputs; those of all properties add up to 1. Returns their verdicts. */
  run<T>(share: number, inputs: fc.Arbitrary<T>, property: (input: T) => Promise<string> | string): Promise<Verdicts>;
}

/**
 * @param seconds - the file's budget where no number of inputs is set
 */
export function fuzzer(name: string, seconds: number): Fuzzer {
  const all = new Verdicts();
  let total = 0;
  let properties = 0;
  process.stdout.write(`fuzzing ${name}: KINMERGE_FUZZ_SEED=${SEED} repeats this run\n`);
  afterAll(() => {
    const slowest = Math.ceil(slowestMilliseconds);
    process.stdout.write(`fuzzed ${name}: ${total} inputs, slowest ${slowest} ms, ${all}\n`);
  });
  return {
    async run(share, inputs, property) {
      const runs = RUNS === undefined ? Number.POSITIVE_INFINITY : Math.ceil(share * RUNS);
      const end = RUNS === undefined ? performance.now() + 1_000 * share * seconds : Number.POSITIVE_INFINITY;
      // Every property and every batch has inputs of its own.
      let seed = SEED + 1_000_003 * ++properties;
      const verdicts = new Verdicts();
      let done = 0;
      while (done < runs && (done === 0 || performance.now() < end)) {
        const numRuns = Math.min(BATCH, runs - done);
        await fc.assert(
          fc.asyncProperty(inputs, async (input) => {
            const verdict = await property(input);
            verdicts.note(verdict);
            all.note(verdict);
          }),
          { numRuns, seed: seed++ | 0, endOnFailure: true },
        );
        done += numRuns;
      }
      total += done;
      return verdicts;
    },
  };
}

/** Inputs from which on every kind of verdict that is not rare must have come. */
const ENOUGH_INPUTS = 2_000;

/** Counts verdicts, to print them and to see that a property reached what it is for. */
export class Verdicts {
  readonly #counts = new Map<string, number>();

  note(verdict: string): void {
    this.#counts.set(verdict, (this.#counts.get(verdict) ?? 0) + 1);
  }

  /** Fails when one of them never came, though there were enough inputs. */
  expectAll(kinds: readonly string[]): void {
    const inputs = [...this.#counts.values()].reduce((a, b) => a + b, 0);
    if (inputs >= ENOUGH_INPUTS) expect([...this.#counts.keys()]).toEqual(expect.arrayContaining([...kinds]));
  }

  toString(): string {
    const counts = [...this.#counts].sort(([, a], [, b]) => b - a);
    return counts.map(([verdict, count]) => `${count} ${verdict}`).join(', ');
  }
}

let slowestMilliseconds = 0;

/**
 * Fails when the work takes more than `MAX_INPUT_MILLISECONDS`. Processor time, so that other processes do not matter;
 * and three times in a row, so that a collection of garbage does not: a decoder that hangs on an input always does.
 */
export async function within<T>(work: () => Promise<T> | T): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    const before = process.cpuUsage();
    const result = await work();
    const { user, system } = process.cpuUsage(before);
    const milliseconds = (user + system) / 1_000;
    if (milliseconds <= MAX_INPUT_MILLISECONDS) {
      slowestMilliseconds = Math.max(slowestMilliseconds, milliseconds);
      return result;
    }
    if (attempt === 3) throw new Error(`took ${milliseconds} ms of processor time, three times in a row`);
  }
}

function positive(variable: string): number | undefined {
  const text = process.env[variable];
  if (text === undefined || text === '') return undefined;
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw new Error(`${variable} must be a whole number above 0`);
  return value;
}
