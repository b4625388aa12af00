import { describe, expect, it } from 'vitest';
import {
  DEFAULT_POLICY,
  MAX_KINSHIP_UPDATES,
  MAX_NORM_TO_BASE,
  MAX_SCALE_TO_BASE,
  parsePolicy,
  policyForBase,
} from '../../../src/kinship/index.ts';
import { neighbour } from './support.ts';

const policy = policyForBase([{ elements: 4, sumSquares: 36 }]);

function refusal(change: Record<string, unknown>): { code: string; field: unknown } | null {
  try {
    parsePolicy({ ...policy, ...change });
    return null;
  } catch (error) {
    const { code, fields } = error as { code: string; fields: Record<string, unknown> };
    return { code, field: fields.field };
  }
}

describe('the default policy of a base', () => {
  it('takes its absolute limits from the norm and the root mean square weight', () => {
    const limits = policyForBase([
      { elements: 3, sumSquares: 9 },
      { elements: 13, sumSquares: 55 },
    ]);
    expect(limits).toEqual({ ...DEFAULT_POLICY, maxNorm: MAX_NORM_TO_BASE * 8, maxScale: MAX_SCALE_TO_BASE * 2 });
  });

  it('gives way to limits that are named', () => {
    expect(policyForBase([{ elements: 4, sumSquares: 36 }], { maxNorm: 7, minReference: 5 })).toEqual({
      ...policy,
      maxNorm: 7,
      minReference: 5,
    });
    expect(() => policyForBase([{ elements: 4, sumSquares: 36 }], { maxDensity: 2 })).toThrow(
      expect.objectContaining({ code: 'POLICY_RANGE' }),
    );
  });

  it('needs a base that is not zero and has a finite norm', () => {
    for (const sumSquares of [0, Number.NaN, Number.POSITIVE_INFINITY]) {
      expect(() => policyForBase([{ elements: 4, sumSquares }])).toThrow(
        expect.objectContaining({ code: 'BASE_UNUSABLE' }),
      );
    }
    expect(() => policyForBase([])).toThrow(expect.objectContaining({ code: 'BASE_UNUSABLE' }));
  });
});

describe('reading a policy', () => {
  it('returns an equal copy', () => {
    const parsed = parsePolicy(policy);
    expect(parsed).toEqual(policy);
    expect(parsed).not.toBe(policy);
    expect(parsed.kinship).not.toBe(policy.kinship);
  });

  it('wants exactly its fields', () => {
    for (const value of [null, undefined, 3, [], {}]) {
      expect(() => parsePolicy(value)).toThrow(expect.objectContaining({ code: 'POLICY_FIELDS' }));
    }
    expect(refusal({ surprise: 1 })?.code).toBe('POLICY_FIELDS');
    expect(refusal({ kinship: [0] })).toEqual({ code: 'POLICY_FIELDS', field: 'kinship' });
    expect(refusal({ normRatio: [0.5, 1, 2] })).toEqual({ code: 'POLICY_FIELDS', field: 'normRatio' });
    for (const field of Object.keys(policy)) {
      expect(refusal({ [field]: undefined })).toEqual({ code: 'POLICY_FIELDS', field });
      expect(refusal({ [field]: '1' })).toEqual({ code: 'POLICY_FIELDS', field });
    }
  });

  it('wants finite numbers', () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]) {
      for (const field of Object.keys(policy)) {
        const pair = field === 'kinship' || field === 'normRatio';
        expect(refusal({ [field]: pair ? [0.5, bad] : bad })).toEqual({ code: 'POLICY_NOT_FINITE', field });
        if (pair) expect(refusal({ [field]: [bad, 1] })).toEqual({ code: 'POLICY_NOT_FINITE', field });
      }
    }
  });

  it.each([
    ['duplicate', 1, neighbour(1, 1), 'duplicate'],
    ['opposite', -1, neighbour(-1, -1), 'opposite'],
    ['kinship', [-1, 1], [-1, 1.5], 'kinship[1]'],
    ['kinship', [-1, 1], [-1.5, 1], 'kinship[0]'],
    ['normRatio', [0, 1], [-0.1, 1], 'normRatio[0]'],
    ['normRatio', [1, 1], [1.5, 2], 'normRatio[0]'],
    ['normRatio', [1, Number.MAX_VALUE], [0.5, 0.9], 'normRatio[1]'],
    ['minReference', 1, 0, 'minReference'],
    ['minReference', MAX_KINSHIP_UPDATES, MAX_KINSHIP_UPDATES + 1, 'minReference'],
    ['minReference', 3, 2.5, 'minReference'],
    ['maxNorm', Number.MIN_VALUE, 0, 'maxNorm'],
    ['maxScale', Number.MIN_VALUE, -1, 'maxScale'],
    ['maxDensity', 1, neighbour(1, 1), 'maxDensity'],
    ['maxDensity', Number.MIN_VALUE, 0, 'maxDensity'],
    ['maxPayloadBytes', 1, 0, 'maxPayloadBytes'],
    ['maxPayloadBytes', Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER + 1, 'maxPayloadBytes'],
    ['maxPayloadBytes', 10, 10.5, 'maxPayloadBytes'],
  ])('takes %s %s and refuses %s', (field, good, bad, named) => {
    expect(refusal({ [field]: good })).toBeNull();
    expect(refusal({ [field]: bad })).toEqual({ code: 'POLICY_RANGE', field: named });
  });

  it('wants limits in ascending order', () => {
    expect(refusal({ opposite: 0.95 })).toEqual({ code: 'POLICY_ORDER', field: 'opposite' });
    expect(refusal({ kinship: [0.2, 0.1] })).toEqual({ code: 'POLICY_ORDER', field: 'kinship' });
    expect(refusal({ kinship: [0.2, 0.2] })).toEqual({ code: 'POLICY_ORDER', field: 'kinship' });
  });
});
