import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { PayloadMeasure } from '../../../src/codec/types.ts';
import {
  Admission,
  type AdmissionPolicy,
  type Candidate,
  type Decision,
  decide,
  GATES,
  type Pair,
  RunningMedian,
} from '../../../src/kinship/index.ts';
import { neighbour } from './support.ts';

const policy: AdmissionPolicy = {
  duplicate: 0.95,
  opposite: -0.5,
  kinship: [-0.1, 0.9],
  normRatio: [1 / 3, 3],
  minReference: 1,
  maxNorm: 100,
  maxScale: 10,
  maxDensity: 0.5,
  maxPayloadBytes: 1000,
};

function update(id: string, change: Partial<PayloadMeasure> = {}): Candidate {
  const measure = {
    bytes: 10,
    tensors: [{ index: 0, scale: 1, entries: 1, sum: 1, squares: 1, peak: 1 }],
    elements: 100,
    nnz: 1,
    norm: 1,
  };
  return { id, kind: 'update', payload: { ...measure, sum: 1, ...change } };
}

/** What pairs measure when the exact sum of two updates is worth `cosine`. */
function related(cosine: number): Pair {
  return { cosine, fixed: BigInt(cosine * 2 ** 64) };
}

const unrelated = () => related(0);

/** Decides on the last of some candidates; the others must have been accepted. */
function last(
  candidates: readonly Candidate[],
  limits = policy,
  pair: (a: string, b: string) => Pair = unrelated,
): Decision {
  const { decisions, missing } = decide(candidates, limits, pair);
  expect(missing).toEqual([]);
  expect(decisions.slice(0, -1).every(({ accepted }) => accepted)).toBe(true);
  return decisions.at(-1)!;
}

function row(decision: Decision, check: string) {
  return decision.gates.find((result) => result.check === check)!;
}

describe('every gate, at its threshold', () => {
  it.each([
    ['bytes', { bytes: 1000 }, { bytes: 1001 }],
    ['density', { nnz: 50 }, { nnz: 51 }],
    ['scale', scaled(10), scaled(neighbour(10, 1))],
    ['not zero', { norm: Number.MIN_VALUE }, { norm: 0, nnz: 0, tensors: [] }],
    ['absolute norm', { norm: 100 }, { norm: neighbour(100, 1) }],
  ])('declines by %s beyond the limit and not at it', (check, inside, outside) => {
    const good = last([update('a', inside)]);
    expect(good).toMatchObject({ accepted: true, gate: null });
    expect(row(good, check).verdict).toBe('pass');
    const bad = last([update('a', outside)]);
    expect(bad).toMatchObject({ accepted: false, gate: 'bounds' });
    expect(row(bad, check).verdict).toBe('fail');
    expect(bad.gates.filter(({ verdict }) => verdict === 'fail')).toHaveLength(1);
  });

  it.each([
    ['above', 3, 1, neighbour(3, 1)],
    ['below', 1 / 3, 1, neighbour(1 / 3, -1)],
  ])('declines a norm %s the band around the median', (_, inside, median, outside) => {
    const good = last([update('a', { norm: median }), update('b', { norm: inside })]);
    expect(good.accepted).toBe(true);
    expect(row(good, 'norm')).toMatchObject({ measured: inside / median, verdict: 'pass', threshold: [1 / 3, 3] });
    const bad = last([update('a', { norm: median }), update('b', { norm: outside })]);
    expect(bad).toMatchObject({ accepted: false, gate: 'norm' });
  });

  it('declines a duplicate above its cosine, and names what it duplicates', () => {
    const cosines: Record<string, number> = { a: 0.1, b: 0.95, c: 0.2 };
    // The mean stays inside the band: only the pair tells.
    const pair = (x: string, y: string) => (x === 'd' ? related(cosines[y]!) : related(0));
    const candidates = ['a', 'b', 'c', 'd'].map((id) => update(id));
    const good = last(candidates, policy, pair);
    expect(row(good, 'duplicate')).toMatchObject({ measured: 0.95, verdict: 'pass', other: 'b' });
    cosines.b = neighbour(0.95, 1);
    const bad = last(candidates, policy, pair);
    expect(bad).toMatchObject({ accepted: false, gate: 'duplicate' });
    expect(row(bad, 'duplicate')).toMatchObject({ measured: cosines.b, threshold: 0.95, verdict: 'fail', other: 'b' });
    expect(row(bad, 'opposite').verdict).toBe('not reached');
  });

  it('declines an opposite below its cosine, and names what it opposes', () => {
    const cosines: Record<string, number> = { a: 0.6, b: 0.6, c: -0.5 };
    const pair = (x: string, y: string) => (x === 'd' ? related(cosines[y]!) : related(0));
    const candidates = ['a', 'b', 'c', 'd'].map((id) => update(id));
    expect(last(candidates, policy, pair).accepted).toBe(true);
    cosines.c = neighbour(-0.5, -1);
    const bad = last(candidates, policy, pair);
    expect(bad).toMatchObject({ accepted: false, gate: 'opposite' });
    expect(row(bad, 'opposite')).toMatchObject({ measured: cosines.c, verdict: 'fail', other: 'c' });
    expect(row(bad, 'kinship').verdict).toBe('not reached');
  });

  it.each([
    ['below', -0.1, neighbour(-0.1, -1)],
    ['above', 0.9, neighbour(0.9, 1)],
  ])('declines a mean kinship %s the band', (_, inside, outside) => {
    const candidates = ['a', 'b'].map((id) => update(id));
    const good = last(candidates, policy, () => related(inside));
    expect(row(good, 'kinship')).toMatchObject({ measured: inside, verdict: 'pass', threshold: [-0.1, 0.9] });
    const bad = last(candidates, policy, () => related(outside));
    expect(bad).toMatchObject({ accepted: false, gate: 'kinship' });
    expect(row(bad, 'kinship')).toMatchObject({ measured: outside, verdict: 'fail' });
  });

  it('takes the mean of the exact sums over all accepted updates', () => {
    const cosines: Record<string, number> = { a: 0.5, b: 0.25, c: -0.25, e: 0.5 };
    const pair = (x: string, y: string) => (x === 'f' ? related(cosines[y]!) : related(0));
    const decision = last(
      ['a', 'b', 'c', 'e', 'f'].map((id) => update(id)),
      policy,
      pair,
    );
    expect(row(decision, 'kinship').measured).toBe(0.25);
  });

  it('declines equivocation before it looks at anything else', () => {
    const decision = last([{ ...update('a'), payload: { fault: 'BAD_SCALE', message: 'no' }, equivocation: true }]);
    expect(decision).toMatchObject({ accepted: false, gate: 'equivocation' });
    expect(decision.gates.map(({ verdict }) => verdict)).toEqual(['fail', ...Array(11).fill('not reached')]);
    expect(last([{ ...update('a'), equivocation: false }]).accepted).toBe(true);
  });

  it('declines a faulty payload by bounds, with the code as measured value', () => {
    const decision = last([{ id: 'a', kind: 'update', payload: { fault: 'BAD_PADDING', message: 'Padding is set.' } }]);
    expect(decision).toMatchObject({ accepted: false, gate: 'bounds' });
    expect(row(decision, 'payload')).toMatchObject({
      measured: 'BAD_PADDING',
      verdict: 'fail',
      note: 'Padding is set.',
    });
  });

  it('never takes an undefined or NaN measurement for acceptance', () => {
    for (const cosine of [null, Number.NaN]) {
      const decision = last([update('a'), update('b')], policy, () => ({ cosine, fixed: 0n }));
      expect(decision).toMatchObject({ accepted: false, gate: 'duplicate' });
      expect(row(decision, 'duplicate')).toMatchObject({ measured: null, other: 'a', note: 'undefined similarity' });
    }
    for (const change of [{ norm: Number.NaN }, { nnz: Number.NaN }, { bytes: Number.NaN }, scaled(Number.NaN)]) {
      expect(last([update('a', change)])).toMatchObject({ accepted: false, gate: 'bounds' });
    }
  });

  it('lists the gates in their documented order', () => {
    const budget = { updates: 1, bytes: 1, most: { updates: 1, bytes: 1 } };
    const gates = last([{ ...update('a'), budget }]).gates.map(({ gate }) => gate);
    expect(gates.filter((gate, k) => gate !== gates[k - 1])).toEqual([...GATES]);
  });
});

describe('the rules in effect', () => {
  const budget = { updates: 3, bytes: 100, most: { updates: 3, bytes: 100 } };

  it('decline an author that is no member, and one beyond its budget', () => {
    expect(last([{ ...update('a'), member: false }])).toMatchObject({ accepted: false, gate: 'membership' });
    expect(last([{ ...update('a'), member: true, budget }]).accepted).toBe(true);
    for (const beyond of [{ updates: 4 }, { bytes: 101 }]) {
      const decision = last([{ ...update('a'), budget: { ...budget, ...beyond } }]);
      expect(decision).toMatchObject({ accepted: false, gate: 'budget' });
    }
  });

  it('hold from where they change, and keep what was decided before', () => {
    const admission = new Admission(policy);
    const decide = (id: string, norm: number) => admission.next(update(id, { norm }), () => related(0.1)).decision!;
    expect(decide('a', 100).accepted).toBe(true);
    admission.policy = { ...policy, maxNorm: 50 };
    expect(decide('b', 51)).toMatchObject({ accepted: false, gate: 'bounds' });
    expect(admission.accepted).toEqual(['a']);
  });
});

describe('what is taken out', () => {
  const three = (pair: (a: string, b: string) => Pair) => {
    const admission = new Admission({ ...policy, minReference: 1 });
    const decide = (id: string, norm = 1) => admission.next(update(id, { norm }), pair).decision!;
    return { admission, decide };
  };

  it('leaves kinship, norms and the opposite gate for later updates, and stays in the duplicate gate', () => {
    const cosines: Record<string, number> = { a: -0.9, b: 0.5 };
    const { admission, decide } = three((x, y) => (x === 'a' || x === 'b' ? related(0.1) : related(cosines[y] ?? 0.1)));
    decide('a', 1);
    decide('b', 2);
    expect(decide('c')).toMatchObject({ gate: 'opposite' });
    expect(admission.takeOut('a')).toBe(true);
    expect(admission.accepted).toEqual(['b']);
    const after = decide('d', 2);
    expect(after.accepted).toBe(true);
    expect(row(after, 'norm').measured).toBe(1);
    expect(row(after, 'kinship').measured).toBeCloseTo(0.5);
    cosines.a = 0.99;
    expect(decide('e', 2)).toMatchObject({ gate: 'duplicate' });
  });

  it('is told once, and never for what is not accepted', () => {
    const { admission, decide } = three(() => related(0.1));
    decide('a');
    expect(decide('b', 1000).accepted).toBe(false);
    expect([admission.takeOut('a'), admission.takeOut('a'), admission.takeOut('b'), admission.takeOut('x')]).toEqual([
      true,
      false,
      false,
      false,
    ]);
  });
});

describe('the first updates', () => {
  it('are held to the absolute limits and to duplicates, not to relative norm and kinship', () => {
    const limits = { ...policy, minReference: 3 };
    const decisions = decide(
      [update('a', { norm: 1 }), update('b', { norm: 50 }), update('c', { norm: 0.01 }), update('d', { norm: 50 })],
      limits,
      () => related(-0.2),
    ).decisions;
    expect(decisions.map(({ gate }) => gate)).toEqual([null, null, null, 'norm']);
    expect(row(decisions[0]!, 'norm')).toMatchObject({ measured: null, verdict: 'not enough reference' });
    expect(row(decisions[0]!, 'kinship').note).toBe('0 of 3 accepted updates');
    expect(row(decisions[0]!, 'duplicate')).toMatchObject({ measured: null, verdict: 'pass' });
    expect(row(decisions[2]!, 'kinship')).toMatchObject({
      measured: -0.2,
      verdict: 'not enough reference',
      note: '2 of 3 accepted updates',
    });
    expect(last([update('a'), update('b')], limits, () => related(1)).gate).toBe('duplicate');
    expect(last([update('a'), update('b')], limits, () => related(-1)).gate).toBe('opposite');
    expect(last([update('a', { norm: 101 })], limits).gate).toBe('bounds');
  });

  it('counts accepted updates only as reference', () => {
    const limits = { ...policy, minReference: 2 };
    const faulty: Candidate = { id: 'x', kind: 'update', payload: { fault: 'BAD_MAGIC', message: '' } };
    const { decisions } = decide([update('a'), faulty, update('b', { norm: 9 }), update('c')], limits, unrelated);
    expect(decisions.map(({ gate }) => gate)).toEqual([null, 'bounds', null, 'norm']);
    expect(row(decisions[2]!, 'norm').verdict).toBe('not enough reference');
    expect(row(decisions[3]!, 'norm')).toMatchObject({ measured: 1 / 5, verdict: 'fail' });
  });
});

describe('missing comparisons', () => {
  it('stop the decisions at the first candidate that lacks one, listing all that it lacks', () => {
    const pairs = new Map([['b a', related(0)]]);
    const lookup = (x: string, y: string) => pairs.get(`${x} ${y}`) ?? pairs.get(`${y} ${x}`);
    const candidates = ['a', 'b', 'c', 'd'].map((id) => update(id));
    const result = decide(candidates, policy, lookup);
    expect(result.decisions.map(({ id }) => id)).toEqual(['a', 'b']);
    expect(result.missing).toEqual([
      ['c', 'a'],
      ['c', 'b'],
    ]);
  });

  it('are not asked for an update that a cheaper gate declines', () => {
    const candidates = [update('a'), update('b', { norm: 0, nnz: 0 }), update('c', { norm: 3.5 })];
    const result = decide(candidates, policy, () => undefined);
    expect(result.missing).toEqual([]);
    expect(result.decisions.map(({ gate }) => gate)).toEqual([null, 'bounds', 'norm']);
  });

  it('leave a stepwise admission as it was', () => {
    const admission = new Admission(policy);
    admission.next(update('a'), unrelated);
    expect(admission.next(update('b'), () => undefined).missing).toEqual([['b', 'a']]);
    expect(admission.accepted).toEqual(['a']);
    expect(admission.next(update('b'), unrelated).decision?.accepted).toBe(true);
    expect(admission.accepted).toEqual(['a', 'b']);
    expect(() => admission.next(update('a'), unrelated)).toThrow(
      expect.objectContaining({ code: 'REPEATED_CANDIDATE' }),
    );
  });
});

describe('results that say the same', () => {
  it('are one object from update to update, and others when a limit or a value changes', () => {
    const admission = new Admission(policy);
    const next = (id: string, change: Partial<PayloadMeasure> = {}) =>
      admission.next(update(id, change), unrelated).decision!;
    const [a, b, c] = [next('a'), next('b'), next('c', { norm: 2 })];
    expect(row(b, 'payload')).toBe(row(a, 'payload'));
    expect(row(b, 'scale')).toBe(row(a, 'scale'));
    expect(row(c, 'absolute norm')).toMatchObject({ measured: 2, verdict: 'pass' });
    expect(row(b, 'absolute norm')).toMatchObject({ measured: 1, verdict: 'pass' });
    admission.policy = { ...policy, maxNorm: 1 };
    expect(row(next('d', { norm: 2 }), 'absolute norm')).toMatchObject({ threshold: 1, verdict: 'fail' });
    expect(row(c, 'absolute norm')).toMatchObject({ threshold: 100, verdict: 'pass' });
  });
});

describe('decisions are a function of the order alone', () => {
  const candidate = fc.record({
    norm: fc.constantFrom(0, 0.2, 0.5, 1, 1.5, 2, 4, 200),
    fault: fc.boolean(),
    equivocation: fc.constantFrom(false, false, false, true),
    shape: fc.nat({ max: 9 }),
  });
  const world = fc.record({
    specs: fc.array(candidate, { maxLength: 14 }),
    cosines: fc.array(fc.constantFrom(-0.6, -0.3, -0.1, 0, 0.1, 0.5, 0.9, 0.97), { minLength: 91, maxLength: 91 }),
  });

  function build({
    specs,
    cosines,
  }: {
    specs: { norm: number; fault: boolean; equivocation: boolean; shape: number }[];
    cosines: number[];
  }) {
    const candidates = specs.map(({ norm, fault, equivocation, shape }, k): Candidate => {
      const base = { ...update(`u${k}`, { norm }), equivocation };
      return fault && shape === 0 ? { ...base, payload: { fault: 'BAD_MAGIC', message: '' } } : base;
    });
    const pair = (a: string, b: string): Pair => {
      const [low, high] = [Number(a.slice(1)), Number(b.slice(1))].sort((x, y) => x - y);
      return related(cosines[(high! * (high! - 1)) / 2 + low!]!);
    };
    return { candidates, pair };
  }

  it('so a prefix of the order gives a prefix of the decisions', () => {
    fc.assert(
      fc.property(world, fc.nat(), (given, cut) => {
        const { candidates, pair } = build(given);
        const length = candidates.length === 0 ? 0 : cut % candidates.length;
        const whole = decide(candidates, policy, pair).decisions;
        expect(decide(candidates.slice(0, length), policy, pair).decisions).toEqual(whole.slice(0, length));
      }),
    );
  });

  it('so it does not matter which pairs were cached, or when', () => {
    fc.assert(
      fc.property(world, fc.array(fc.boolean(), { minLength: 91, maxLength: 91 }), (given, warm) => {
        const { candidates, pair } = build(given);
        const cache = new Map<string, Pair>();
        const key = (a: string, b: string) => [a, b].sort().join();
        let bit = 0;
        for (const [high, a] of candidates.entries()) {
          for (const b of candidates.slice(0, high)) if (warm[bit++]) cache.set(key(a.id, b.id), pair(b.id, a.id));
        }
        let result = decide(candidates, policy, (a, b) => cache.get(key(a, b)));
        for (let rounds = 0; result.missing.length > 0; rounds++) {
          expect(rounds).toBeLessThanOrEqual(candidates.length);
          for (const [a, b] of result.missing) cache.set(key(a, b), pair(b, a));
          result = decide(candidates, policy, (a, b) => cache.get(key(a, b)));
        }
        expect(result).toEqual(decide(candidates, policy, pair));
      }),
    );
  });

  it('with one look-up per pair of an update and an accepted one, for thousands of updates', () => {
    const candidates = Array.from({ length: 2000 }, (_, k) => update(`u${k}`, { norm: 1 + (k % 7) / 10 }));
    let lookups = 0;
    const found = related(0.01);
    const { decisions } = decide(candidates, policy, () => {
      lookups += 1;
      return found;
    });
    expect(decisions.every(({ accepted }) => accepted)).toBe(true);
    expect(lookups).toBe((2000 * 1999) / 2);
  });
});

describe('the running median', () => {
  it('is the middle value, or the mean of the two middle ones, after every addition', () => {
    fc.assert(
      fc.property(fc.array(fc.double({ noNaN: true, min: 0, max: 1e9 }), { maxLength: 40 }), (values) => {
        const running = new RunningMedian();
        expect(running.median()).toBeNull();
        for (const [k, value] of values.entries()) {
          running.add(value);
          const sorted = values.slice(0, k + 1).sort((a, b) => a - b);
          const half = sorted.length / 2;
          const expected = Number.isInteger(half) ? (sorted[half - 1]! + sorted[half]!) / 2 : sorted[half - 0.5]!;
          expect(running.median()).toBe(expected);
        }
      }),
    );
  });
});

function scaled(scale: number): Partial<PayloadMeasure> {
  return {
    tensors: [
      { index: 0, scale: 0.5, entries: 1, sum: 1, squares: 1, peak: 1 },
      { index: 1, scale, entries: 1, sum: 1, squares: 1, peak: 1 },
    ],
  };
}
