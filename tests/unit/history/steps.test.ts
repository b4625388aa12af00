import { describe, expect, it } from 'vitest';
import type { JudgedUpdate, Step } from '../../../src/history/index.ts';
import { isSameStep } from '../../../src/history/steps.ts';
import type { AdmissionPolicy } from '../../../src/kinship/index.ts';
import { testId } from '../log/helpers.ts';

const policy: AdmissionPolicy = {
  duplicate: 0.95,
  opposite: -0.5,
  kinship: [-0.1, 0.9],
  normRatio: [0.5, 2],
  minReference: 1,
  maxNorm: 100,
  maxScale: 10,
  maxDensity: 0.5,
  maxPayloadBytes: 1000,
};
const made = (): JudgedUpdate => ({
  id: 'one',
  cid: testId(1),
  payload: testId(2),
  equivocation: false,
  member: true,
  budget: { updates: 1, bytes: 10, most: { updates: 5, bytes: 50 } },
});
const update = (change: Partial<JudgedUpdate> = {}): Step => ({ kind: 'update', update: { ...made(), ...change } });
const adopted = (gate: 'norm' | 'kinship' | null): Step => ({
  kind: 'update',
  update: made(),
  adopted: { accepted: gate === null, gate },
});
const budget = (updates: number, bytes: number, most: readonly [number, number]): Step =>
  update({ budget: { updates, bytes, most: { updates: most[0], bytes: most[1] } } });

describe('two steps', () => {
  it.each<[string, () => Step]>([
    ['an update', update],
    ['an adopted decision', () => adopted('norm')],
    ['an update that is taken out', () => ({ kind: 'take-out', update: 'one' })],
    ['limits', () => ({ kind: 'policy', policy: { ...policy } })],
  ])('are the same when all that decides is: %s', (_what, make) => {
    expect(isSameStep(make(), make())).toBe(true);
  });

  it.each<[string, Step]>([
    ['id', update({ id: 'two' })],
    ['equivocation', update({ equivocation: true })],
    ['membership', update({ member: false })],
    ['updates so far', budget(2, 10, [5, 50])],
    ['bytes so far', budget(1, 11, [5, 50])],
    ['updates in the budget', budget(1, 10, [6, 50])],
    ['bytes in the budget', budget(1, 10, [5, 51])],
    ['an adopted acceptance', adopted(null)],
    ['an adopted decline', adopted('norm')],
    ['what happens', { kind: 'take-out', update: 'one' }],
  ])('are others when one thing differs: %s', (_what, other) => {
    expect(isSameStep(update(), other)).toBe(false);
    expect(isSameStep(other, update())).toBe(false);
  });

  it('are others when the adopted gate, the update taken out or a limit differs', () => {
    expect(isSameStep(adopted('norm'), adopted('kinship'))).toBe(false);
    expect(isSameStep(adopted('norm'), adopted(null))).toBe(false);
    expect(isSameStep({ kind: 'take-out', update: 'one' }, { kind: 'take-out', update: 'two' })).toBe(false);
    for (const key of Object.keys(policy) as (keyof AdmissionPolicy)[]) {
      const value = policy[key];
      const changed = { ...policy, [key]: typeof value === 'number' ? value + 1 : [value[0], value[1] + 1] };
      expect(isSameStep({ kind: 'policy', policy }, { kind: 'policy', policy: changed }), key).toBe(false);
    }
  });
});
