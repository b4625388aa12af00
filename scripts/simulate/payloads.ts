import { createHash } from 'node:crypto';
import type { MeasuredFile, PayloadCalls, PayloadVerdict } from '../../node/work/payload-calls.ts';
import type { WorkerThread } from '../../node/work/rpc.ts';
import type { PayloadMeasure } from '../../src/codec/index.ts';
import type { Pair } from '../../src/kinship/index.ts';
import type { SharedContent } from './memory-stores.ts';
import { seededRandom } from './random.ts';

/** Dimensions of the direction that stands for an update's signs. */
const DIMENSIONS = 24;
/** What all updates of a community have in common, beside the noise of each. */
const COMMON = 0.6;
/** Share of the updates that work against the others: admission declines them. */
const OPPOSED = 0.1;
/** Milliseconds that measuring a payload and comparing it with another takes a node. */
const CHECK_MS = 10;
const PAIR_MS = 1;

const ELEMENTS = 1_000_000;
const SCALE = 0.001;
const NNZ = 200_000;

/** The bytes of an update: noise, of which nothing matters but that it differs from every other. */
export function payloadBytes(name: string, size: number): Uint8Array {
  const bytes = new Uint8Array(size);
  const random = seededRandom(`payload ${name}`);
  const words = new Uint32Array(bytes.buffer, 0, size >>> 2);
  for (let i = 0; i < words.length; i++) words[i] = random() * 2 ** 32;
  return bytes;
}

/**
 * Stands in for the worker thread that measures payloads: a direction and a norm are drawn from the hash of a payload's
 * bytes, so all nodes find the same, and some updates are declined. It takes time, of which the node knows nothing.
 */
export class SyntheticPayloads implements Pick<WorkerThread<PayloadCalls>, 'call'> {
  readonly #shared: SharedContent;
  readonly #directions = new Map<string, Float64Array>();
  readonly #pairs = new Map<string, Pair>();

  constructor(components: { shared: SharedContent }) {
    this.#shared = components.shared;
  }

  async call<M extends keyof PayloadCalls & string>(
    method: M,
    job: Parameters<PayloadCalls[M]>[0],
  ): Promise<Awaited<ReturnType<PayloadCalls[M]>>> {
    type Result = Awaited<ReturnType<PayloadCalls[M]>>;
    if (method === 'check') return (await this.#check((job as { file: string }).file)) as Result;
    if (method === 'pairs') {
      return (await this.#comparePairs(job as { one: MeasuredFile; others: readonly MeasuredFile[] })) as Result;
    }
    throw new Error(`a simulated node does not ${method}`);
  }

  async #check(file: string): Promise<PayloadVerdict> {
    await after(CHECK_MS);
    const bytes = this.#shared.get(file);
    if (bytes === undefined) throw new Error(`the payload ${file} is not there`);
    this.#direction(file, bytes);
    return { ok: true, measure: measureOf(file, bytes.length) };
  }

  async #comparePairs({ one, others }: { one: MeasuredFile; others: readonly MeasuredFile[] }): Promise<Pair[]> {
    await after(PAIR_MS * others.length);
    return others.map((other) => {
      const key = one.file < other.file ? `${one.file} ${other.file}` : `${other.file} ${one.file}`;
      let pair = this.#pairs.get(key);
      if (pair === undefined) {
        pair = compare(this.#directions.get(one.file)!, this.#directions.get(other.file)!);
        this.#pairs.set(key, pair);
      }
      return pair;
    });
  }

  #direction(file: string, bytes: Uint8Array): void {
    if (this.#directions.has(file)) return;
    const random = seededRandom(createHash('sha256').update(bytes).digest('hex'));
    const common = seededRandom('common direction');
    const sign = random() < OPPOSED ? -1 : 1;
    const direction = Float64Array.from({ length: DIMENSIONS }, () => {
      const shared = common() - 0.5;
      return COMMON * sign * shared + (1 - COMMON) * (random() - 0.5);
    });
    const norm = Math.sqrt(direction.reduce((sum, value) => sum + value * value, 0));
    this.#directions.set(
      file,
      direction.map((value) => value / norm),
    );
  }
}

/** What a ternary payload of one tensor would measure; its norm is between 0.7 and 1.3 of the usual one. */
function measureOf(file: string, bytes: number): PayloadMeasure {
  const scale = SCALE * (0.7 + 0.6 * seededRandom(`norm ${file}`)());
  const norm = scale * Math.sqrt(NNZ);
  const tensor = { index: 0, scale, entries: NNZ, sum: 0, squares: NNZ, peak: 1 };
  return { bytes, elements: ELEMENTS, nnz: NNZ, norm, sum: 0, tensors: [tensor] };
}

function compare(a: Float64Array, b: Float64Array): Pair {
  const cosine = a.reduce((sum, value, place) => sum + value * b[place]!, 0);
  return { cosine, fixed: BigInt(Math.round(cosine * 2 ** 40)) << 24n };
}

function after(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
