import type { CID } from 'multiformats/cid';
import type { JudgedUpdate, Measured, Step, StepResult } from '../../src/history/index.ts';
import { Decider } from '../../src/history/index.ts';
import type { Decision, Pair } from '../../src/kinship/index.ts';
import { idKey } from '../../src/log/index.ts';
import type { RunOptions } from '../../src/run-options.ts';
import { Turns } from '../turns.ts';
import type { MeasuredFile, PayloadCalls, PayloadVerdict } from '../work/payload-calls.ts';
import { PAIR_BATCH } from '../work/payload-calls.ts';
import type { WorkerThread } from '../work/rpc.ts';
import type { PairFile } from './pair-file.ts';
import { type PairEntry, PairTable } from './pair-table.ts';
import type { VerdictFile } from './verdict-file.ts';

/** Previews whose comparisons are remembered for a record that follows; contributions come one at a time. */
export const MAX_PREVIEWED = 16;

/** Where payload files lie. */
export interface PayloadFiles {
  path(payload: CID): string;
}

/**
 * Runs admission over the steps of a history. The results are a pure function of steps and payloads; what is kept between
 * runs are measurements, which no later record can change, and the results of the steps that two runs begin with.
 */
export class Judge {
  readonly #worker: Pick<WorkerThread<PayloadCalls>, 'call'>;
  readonly #files: PayloadFiles;
  readonly #verdicts = new Map<string, PayloadVerdict>();
  readonly #pairs = new PairTable();
  readonly #pairFile: PairFile | undefined;
  readonly #verdictFile: VerdictFile | undefined;
  #loaded: Promise<void> | undefined;
  /** The last finished run, to go on from. */
  #last: Decider | undefined;
  /** Ids that the last finished run accepted. */
  #accepted: ReadonlySet<string> = new Set();
  readonly #comparedAhead = new Set<string>();
  /** What previews compared, by payload: that and what they measured is on disk only once the update is held, because most that are declined never are. */
  readonly #previewed = new Map<string, PairEntry[]>();

  constructor(components: {
    worker: Pick<WorkerThread<PayloadCalls>, 'call'>;
    files: PayloadFiles;
    pairs?: PairFile;
    verdicts?: VerdictFile;
  }) {
    this.#verdictFile = components.verdicts;
    this.#pairFile = components.pairs;
    this.#worker = components.worker;
    this.#files = components.files;
  }

  /** What was measured of a payload, if it was already looked at. */
  verdict(payload: CID): PayloadVerdict | undefined {
    return this.#verdicts.get(idKey(payload));
  }

  /** Runs the steps; those that begin like the last ones only cost what is new. @returns one result for each */
  async decide(steps: readonly Step[], options: RunOptions = {}): Promise<StepResult[]> {
    // Taken, not shared: a second call that starts meanwhile begins anew instead of disturbing this one.
    const decider = this.#last ?? new Decider();
    this.#last = undefined;
    await this.#extend(decider, steps, options);
    for (const { payload } of updatesOf(steps)) await this.#keepPreviewed(payload);
    this.#last = decider;
    this.#accepted = new Set(decider.accepted);
    return decider.results;
  }

  /** What would be decided on an update after these steps. */
  async preview(steps: readonly Step[], update: JudgedUpdate, options: RunOptions = {}): Promise<Decision> {
    this.#startPreview(update.payload);
    const decider = this.#last?.fork() ?? new Decider();
    await this.#extend(decider, [...steps, { kind: 'update', update }], options);
    return decider.results.at(-1) as Decision;
  }

  /** Runs steps beside the others: what is done so far is kept apart, only measurements are shared. */
  apart(): (steps: readonly Step[], options: RunOptions) => Promise<StepResult[]> {
    const decider = new Decider();
    return async (steps, options) => {
      await this.#extend(decider, steps, options);
      return decider.results;
    };
  }

  /** Runs other steps, without a trace of it in what is kept between runs but the measurements. */
  async tryOut(steps: readonly Step[], options: RunOptions = {}): Promise<StepResult[]> {
    return this.apart()(steps, options);
  }

  async #extend(decider: Decider, steps: readonly Step[], options: RunOptions): Promise<void> {
    await this.#load();
    const updates = updatesOf(steps);
    const payloads = new Map(updates.map(({ id, payload }) => [id, payload]));
    const lookup = (a: string, b: string): Pair | undefined => this.#pairs.get(payloads.get(a)!, payloads.get(b)!);
    const turns = new Turns();
    let done = decider.rewind(steps);
    let decided = updatesOf(steps.slice(0, done)).length;
    for (const step of steps.slice(done)) {
      options.signal?.throwIfAborted();
      const result = await this.#step(decider, step, lookup, payloads, options);
      done++;
      if (step.kind === 'update') {
        decided++;
        if ((result as Decision).accepted) await this.#compareAhead(step.update, updates, decided, options);
        options.onProgress?.({ phase: 'deciding', done: decided, total: updates.length, unit: 'updates' });
      }
      await turns.next();
    }
  }

  async #step(
    decider: Decider,
    step: Step,
    lookup: (a: string, b: string) => Pair | undefined,
    payloads: ReadonlyMap<string, CID>,
    options: RunOptions,
  ): Promise<StepResult> {
    const measured = needsMeasure(step) ? await this.#measured(step.update.payload, options) : null;
    let taken = decider.take(step, measured, lookup);
    if ('missing' in taken && step.kind === 'update') {
      const others = taken.missing.map(([, other]) => payloads.get(other)!);
      await this.#compare(step.update.payload, others, options);
      taken = decider.take(step, measured, lookup);
    }
    if ('missing' in taken) throw new Error('admission still lacks comparisons that were just measured');
    return taken.result;
  }

  async #measured(payload: CID, options: RunOptions): Promise<Measured> {
    const verdict = await this.#measure(payload, options);
    return verdict.ok ? verdict.measure : { fault: verdict.fault, message: verdict.message };
  }

  async #measure(payload: CID, { signal }: RunOptions): Promise<PayloadVerdict> {
    const key = idKey(payload);
    const known = this.#verdicts.get(key);
    if (known !== undefined) return known;
    const verdict = await this.#worker.call(
      'check',
      { file: this.#files.path(payload) },
      { ...(signal && { signal }) },
    );
    this.#verdicts.set(key, verdict);
    // As with pairs: what is only previewed may never be held.
    if (!this.#previewed.has(payload.toString())) await this.#verdictFile?.append(payload, verdict);
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
    const verdict = this.#verdicts.get(idKey(payload));
    if (verdict !== undefined) await this.#verdictFile?.append(payload, verdict);
  }

  #load(): Promise<void> {
    this.#loaded ??= this.#read();
    return this.#loaded;
  }

  async #read(): Promise<void> {
    await this.#pairFile?.load((entry) => this.#pairs.set(entry));
    await this.#verdictFile?.load((payload, verdict) => this.#verdicts.set(idKey(payload), verdict));
  }
}

/** What a sealer declined is taken as it is, also without its payload. */
function needsMeasure(step: Step): step is Step & { kind: 'update' } {
  return step.kind === 'update' && (step.adopted === undefined || step.adopted.accepted);
}

function updatesOf(steps: readonly Step[]): JudgedUpdate[] {
  return steps.flatMap((step) => (step.kind === 'update' ? [step.update] : []));
}
