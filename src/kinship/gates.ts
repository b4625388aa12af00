/** The gates of admission, in the order in which they are asked. The first that fails names the reason. */
export const GATES = [
  'equivocation',
  'membership',
  'budget',
  'bounds',
  'norm',
  'duplicate',
  'opposite',
  'kinship',
] as const;

export type GateName = (typeof GATES)[number];

/**
 * `not enough reference`: the gate does not decide yet, since too few updates are accepted. `not reached`: an earlier
 * gate had declined the update.
 */
export type Verdict = 'pass' | 'fail' | 'not enough reference' | 'not reached';

/** What one gate asked of an update and what came of it. Plain data: it survives JSON unchanged. */
export interface GateResult {
  readonly gate: GateName;
  /** Which question of the gate; a gate that asks one thing only repeats its own name. */
  readonly check: string;
  /** The measured value; a decode error's code for a faulty payload; null when nothing could be or was measured. */
  readonly measured: number | string | null;
  /** The limit, or the lowest and highest value that pass. Limits themselves pass. */
  readonly threshold: number | string | readonly [number, number];
  readonly verdict: Verdict;
  /** The accepted update that the measured value refers to. */
  readonly other?: string;
  readonly note?: string;
}

/** The outcome of a check that was asked. */
export type Outcome = Pick<GateResult, 'measured' | 'verdict' | 'other' | 'note'>;

/**
 * The last results by check and verdict. Most results of a long order repeat one before them: as one object they take a place
 * in a list each, and not ten times as much.
 */
export class GateResults {
  readonly #last = new Map<string, Partial<Record<Verdict, GateResult>>>();

  /** The result, as the last object that says the same. */
  shared(result: GateResult): GateResult {
    let known = this.#last.get(result.check);
    if (known === undefined) {
      known = {};
      this.#last.set(result.check, known);
    }
    const last = known[result.verdict];
    if (last !== undefined && isSameResult(last, result)) return last;
    known[result.verdict] = result;
    return result;
  }
}

function isSameResult(a: GateResult, b: GateResult): boolean {
  return (
    a.gate === b.gate &&
    a.check === b.check &&
    Object.is(a.measured, b.measured) &&
    a.threshold === b.threshold &&
    a.verdict === b.verdict &&
    a.other === b.other &&
    a.note === b.note
  );
}

/** Collects the results of one update, and stops asking after the first failure. */
export class GateSheet {
  readonly results: GateResult[] = [];
  readonly #earlier: GateResults;
  #failed: GateName | null = null;

  /** @param earlier - of the updates before */
  constructor(earlier: GateResults) {
    this.#earlier = earlier;
  }

  /** The gate that declined the update, null while none has. */
  get failed(): GateName | null {
    return this.#failed;
  }

  ask(gate: GateName, check: string, threshold: GateResult['threshold'], measure: () => Outcome): void {
    if (this.#failed !== null) {
      this.#push({ gate, check, measured: null, threshold, verdict: 'not reached' });
      return;
    }
    const { measured, verdict, other, note } = measure();
    this.#push({
      gate,
      check,
      measured,
      threshold,
      verdict,
      ...(other !== undefined && { other }),
      ...(note !== undefined && { note }),
    });
    if (verdict === 'fail') this.#failed = gate;
  }

  #push(result: GateResult): void {
    this.results.push(this.#earlier.shared(result));
  }
}

export function passIf(pass: boolean): 'pass' | 'fail' {
  return pass ? 'pass' : 'fail';
}
