import type { CID } from 'multiformats/cid';
import type { AdmissionPolicy, Candidate, Decision, Pair } from '../../src/kinship/index.ts';
import { Admission } from '../../src/kinship/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { Turns } from '../turns.ts';
import type { MeasuredFile, PayloadCalls, PayloadVerdict } from '../work/payload-calls.ts';
import { PAIR_BATCH } from '../work/payload-calls.ts';
import type { WorkerThread } from '../work/rpc.ts';
import type { PairFile } from './pair-file.ts';
import { type PairEntry, PairTable } from './pair-table.ts';

/** Previews whose comparisons are remembered for a record that follows; contributions come one at a time. */
export const MAX_PREVIEWED = 16;

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
  readonly #worker: Pick<WorkerThread<PayloadCalls>, 'call'>;
  readonly #files: PayloadFiles;
  readonly #verdicts = new Map<string, PayloadVerdict>();
  readonly #pairs = new PairTable();
  readonly #pairFile: PairFile | undefined;
  #loaded: Promise<void> | undefined;
  /** The last finished run, to go on from. */
  #last: Run | undefined;
  /** Ids that the last finished run accepted. */
  #accepted: ReadonlySet<string> = new Set();
  readonly #comparedAhead = new Set<string>();
  /** What previews compared, by payload: on disk only once the update is held, because most that are declined never are. */
  readonly #previewed = new Map<string, PairEntry[]>();

  constructor(
    options: { policy: AdmissionPolicy },
    components: { worker: Pick<WorkerThread<PayloadCalls>, 'call'>; files: PayloadFiles; pairs?: PairFile },
  ) {
    this.#pairFile = components.pairs;
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
    for (const { payload } of order) await this.#keepPreviewed(payload);
    this.#last = run;
    this.#accepted = new Set(run.admission.accepted);
    return [...run.decisions];
  }

  /** What would be decided on an update at the end of the order. */
  async preview(order: readonly JudgedUpdate[], candidate: JudgedUpdate, options: RunOptions = {}): Promise<Decision> {
    this.#startPreview(candidate.payload);
    const run = this.#newRun();
    await this.#extend(run, [...order, candidate], options);
    return run.decisions.at(-1)!;
  }

  #newRun(): Run {
    return { admission: new Admission(this.#policy), order: [], decisions: [] };
  }

  async #extend(run: Run, order: readonly JudgedUpdate[], options: RunOptions): Promise<void> {
    await this.#load();
    const byId = new Map(order.map((update) => [update.id, update]));
    const turns = new Turns();
    for (const update of order.slice(run.order.length)) {
      options.signal?.throwIfAborted();
      run.decisions.push(await this.#step(run.admission, update, byId, options));
      if (run.decisions.at(-1)!.accepted) await this.#compareAhead(update, order, run.order.length + 1, options);
      run.order.push(update);
      options.onProgress?.({ phase: 'deciding', done: run.decisions.length, total: order.length, unit: 'updates' });
      await turns.next();
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
      const others = step.missing.map(([, other]) => byId.get(other)!.payload);
      await this.#compare(update.payload, others, options);
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

  /**
   * An update that comes into the middle of the order is asked for by every later one: compared in one go, it is decoded
   * once and not for each of them.
   */
  async #compareAhead(
    update: JudgedUpdate,
    order: readonly JudgedUpdate[],
    next: number,
    options: RunOptions,
  ): Promise<void> {
    if (next >= order.length || this.#comparedAhead.has(update.id)) return;
    this.#comparedAhead.add(update.id);
    if (this.#accepted.size === 0) return;
    const expected = order
      .slice(next)
      .filter(({ id, payload }) => this.#accepted.has(id) && !this.#pairs.get(update.payload, payload))
      .map(({ payload }) => payload);
    if (expected.length > 1) await this.#compare(update.payload, expected, options);
  }

  async #compare(one: CID, others: readonly CID[], options: RunOptions): Promise<void> {
    const { signal } = options;
    const measured = async (payload: CID): Promise<MeasuredFile> => {
      const verdict = await this.#measure(payload, options);
      if (!verdict.ok) throw new Error('a faulty payload was accepted');
      return { file: this.#files.path(payload), measure: verdict.measure };
    };
    const distinct = [...new Map(others.map((payload) => [payload.toString(), payload])).values()];
    for (let done = 0; done < distinct.length; done += PAIR_BATCH) {
      const batch = distinct.slice(done, done + PAIR_BATCH);
      const job = { one: await measured(one), others: await Promise.all(batch.map(measured)) };
      const pairs = await this.#worker.call('pairs', job, { ...(signal && { signal }) });
      const entries = batch.map((b, place) => ({ a: one, b, pair: pairs[place]! }));
      for (const entry of entries) this.#pairs.set(entry);
      const previewed = this.#previewed.get(one.toString());
      if (previewed === undefined) await this.#pairFile?.append(entries);
      else previewed.push(...entries);
    }
  }

  #startPreview(payload: CID): void {
    if (this.#previewed.size >= MAX_PREVIEWED) this.#previewed.delete(this.#previewed.keys().next().value!);
    this.#previewed.set(payload.toString(), this.#previewed.get(payload.toString()) ?? []);
  }

  async #keepPreviewed(payload: CID): Promise<void> {
    if (this.#previewed.size === 0) return;
    const entries = this.#previewed.get(payload.toString());
    if (entries === undefined) return;
    this.#previewed.delete(payload.toString());
    if (entries.length > 0) await this.#pairFile?.append(entries);
  }

  #load(): Promise<void> {
    this.#loaded ??= this.#pairFile?.load((entry) => this.#pairs.set(entry)) ?? Promise.resolve();
    return this.#loaded;
  }

  #lookup(byId: ReadonlyMap<string, JudgedUpdate>) {
    return (a: string, b: string): Pair | undefined => this.#pairs.get(byId.get(a)!.payload, byId.get(b)!.payload);
  }
}
