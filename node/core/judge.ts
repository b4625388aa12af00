import { setImmediate } from 'node:timers/promises';
import type { CID } from 'multiformats/cid';
import type { AdmissionPolicy, Candidate, Decision, Pair } from '../../src/kinship/index.ts';
import { Admission } from '../../src/kinship/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import type { PayloadCalls, PayloadVerdict } from '../work/payload-calls.ts';
import type { WorkerThread } from '../work/rpc.ts';

/** Longest stretch of deciding without a turn for the event loop, in milliseconds. */
export const MAX_TURN_MS = 10;

/** One update as the judge needs it. */
export interface JudgedUpdate {
  readonly id: string;
  readonly cid: CID;
  readonly payload: CID;
  readonly equivocation: boolean;
}

/** Admission over an order, as far as it got. */
interface Run {
  readonly admission: Admission;
  readonly order: JudgedUpdate[];
  readonly decisions: Decision[];
}

/** Where payload files lie. */
export interface PayloadFiles {
  path(payload: CID): string;
}

/**
 * Runs admission over a canonical order. The decisions are a pure function of order, policy and payloads; what is kept
 * between runs are measurements, which no later record can change.
 */
export class Judge {
  readonly #policy: AdmissionPolicy;
  readonly #worker: WorkerThread<PayloadCalls>;
  readonly #files: PayloadFiles;
  readonly #verdicts = new Map<string, PayloadVerdict>();
  readonly #pairs = new Map<string, Pair>();
  /** The last finished run, to go on from. */
  #last: Run | undefined;

  constructor(
    options: { policy: AdmissionPolicy },
    components: { worker: WorkerThread<PayloadCalls>; files: PayloadFiles },
  ) {
    this.#policy = options.policy;
    this.#worker = components.worker;
    this.#files = components.files;
  }

  /** What was measured of a payload, if it was already looked at. */
  verdict(payload: CID): PayloadVerdict | undefined {
    return this.#verdicts.get(payload.toString());
  }

  /**
   * Decides on every update of the order. An order that continues the last one only costs its new updates.
   *
   * @param order - the canonical order
   * @returns one decision per update, in the same order
   */
  async decide(order: readonly JudgedUpdate[], options: RunOptions = {}): Promise<Decision[]> {
    // Taken, not shared: a second call that starts meanwhile begins anew instead of disturbing this one.
    const run = this.#continues(order) ? this.#last! : this.#newRun();
    this.#last = undefined;
    await this.#extend(run, order, options);
    this.#last = run;
    return [...run.decisions];
  }

  /** What would be decided on an update at the end of the order. */
  async preview(order: readonly JudgedUpdate[], candidate: JudgedUpdate, options: RunOptions = {}): Promise<Decision> {
    const run = this.#newRun();
    await this.#extend(run, [...order, candidate], options);
    return run.decisions.at(-1)!;
  }

  #newRun(): Run {
    return { admission: new Admission(this.#policy), order: [], decisions: [] };
  }

  async #extend(run: Run, order: readonly JudgedUpdate[], options: RunOptions): Promise<void> {
    const byId = new Map(order.map((update) => [update.id, update]));
    let breath = performance.now();
    for (const update of order.slice(run.order.length)) {
      options.signal?.throwIfAborted();
      run.decisions.push(await this.#step(run.admission, update, byId, options));
      run.order.push(update);
      options.onProgress?.({ phase: 'deciding', done: run.decisions.length, total: order.length, unit: 'updates' });
      if (performance.now() - breath > MAX_TURN_MS) {
        await setImmediate();
        breath = performance.now();
      }
    }
  }

  #continues(order: readonly JudgedUpdate[]): boolean {
    const last = this.#last?.order;
    return (
      last !== undefined &&
      last.length <= order.length &&
      last.every(
        ({ id, equivocation }, place) => order[place]!.id === id && order[place]!.equivocation === equivocation,
      )
    );
  }

  async #step(
    admission: Admission,
    update: JudgedUpdate,
    byId: ReadonlyMap<string, JudgedUpdate>,
    options: RunOptions,
  ): Promise<Decision> {
    const candidate = await this.#candidate(update, options);
    let step = admission.next(candidate, this.#lookup(byId));
    if (step.missing !== undefined) {
      for (const [a, b] of step.missing) await this.#measurePair(byId.get(a)!, byId.get(b)!, options);
      step = admission.next(candidate, this.#lookup(byId));
    }
    if (step.decision === undefined) throw new Error('admission still lacks comparisons that were just measured');
    return step.decision;
  }

  async #candidate(update: JudgedUpdate, options: RunOptions): Promise<Candidate> {
    const verdict = await this.#measure(update.payload, options);
    return {
      id: update.id,
      kind: 'update',
      equivocation: update.equivocation,
      payload: verdict.ok ? verdict.measure : { fault: verdict.fault, message: verdict.message },
    };
  }

  async #measure(payload: CID, { signal }: RunOptions): Promise<PayloadVerdict> {
    const key = payload.toString();
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const verdict = await this.#worker.call(
      'check',
      { file: this.#files.path(payload) },
      { ...(signal && { signal }) },
    );
    this.#verdicts.set(key, verdict);
    return verdict;
  }

  async #measurePair(a: JudgedUpdate, b: JudgedUpdate, { signal }: RunOptions): Promise<void> {
    const measured = await Promise.all([this.#measure(a.payload, {}), this.#measure(b.payload, {})]);
    const [measureA, measureB] = measured.map((verdict) => (verdict.ok ? verdict.measure : undefined));
    if (measureA === undefined || measureB === undefined) throw new Error('a faulty payload was accepted');
    const job = { a: this.#files.path(a.payload), b: this.#files.path(b.payload), measureA, measureB };
    this.#pairs.set(pairKey(a.payload, b.payload), await this.#worker.call('pair', job, { ...(signal && { signal }) }));
  }

  #lookup(byId: ReadonlyMap<string, JudgedUpdate>) {
    return (a: string, b: string): Pair | undefined =>
      this.#pairs.get(pairKey(byId.get(a)!.payload, byId.get(b)!.payload));
  }
}

/** The comparison is symmetric to the bit, so one entry serves both orders. */
function pairKey(a: CID, b: CID): string {
  const [first, second] = [a.toString(), b.toString()].sort();
  return `${first} ${second}`;
}
