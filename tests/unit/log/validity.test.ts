import { describe, expect, it } from 'vitest';
import {
  charterPast,
  checkValidity,
  type KnownRecord,
  type UpdateRecord,
  type Validity,
  type ValidityContext,
} from '../../../src/log/index.ts';
import { charterInput, recordOf, testCharter, testId, testKey } from './helpers.ts';

const author = testKey(1);
const other = testKey(2);
const { charter, id } = testCharter({
  membership: [author.publicKey, other.publicKey],
  budgets: { updates: 3, bytes: 1000 },
  admission: { ...charterInput().admission, maxPayloadBytes: 600 },
});
const prev = testId(10);
const first = recordOf(author, { charter: id });
const third = recordOf(author, { charter: id, seq: 2, prev, parents: [prev] });
const before: KnownRecord = {
  author: author.publicKey,
  seq: 1,
  totals: { updates: 2, bytes: 400, revocations: 0 },
  kind: 'update',
  past: charterPast(charter),
};

function judge(record: UpdateRecord, size?: number, known?: KnownRecord | 'invalid'): Validity {
  const context: ValidityContext = {
    charter,
    charterId: id,
    charterPast: charterPast(charter),
    record: (cid) => (cid.equals(prev) ? known : undefined),
    payloadSize: () => size,
  };
  return checkValidity(record, context);
}

describe('validity', () => {
  it('counts updates and payload bytes along the author’s chain', () => {
    expect(judge(first, 600)).toEqual({ verdict: 'valid', totals: { updates: 1, bytes: 600, revocations: 0 } });
    expect(judge(third, 600, before)).toEqual({
      verdict: 'valid',
      totals: { updates: 3, bytes: 1000, revocations: 0 },
    });
  });

  it.each<[string, string, Validity]>([
    ['another community', 'OTHER_CHARTER', judge(recordOf(author, { charter: testId(0) }), 1)],
    ['a stranger', 'NOT_A_MEMBER', judge(recordOf(testKey(3), { charter: id }), 1)],
    ['prev of another author', 'CHAIN_BROKEN', judge(third, 1, { ...before, author: other.publicKey })],
    ['a gap in seq', 'CHAIN_BROKEN', judge(third, 1, { ...before, seq: 0 })],
    ['a seq that stands still', 'CHAIN_BROKEN', judge(third, 1, { ...before, seq: 2 })],
    ['an empty payload', 'PAYLOAD_EMPTY', judge(first, 0)],
    ['a payload one byte too large', 'PAYLOAD_TOO_LARGE', judge(first, 601)],
    [
      'one update too many',
      'BUDGET_UPDATES',
      judge(third, 1, { ...before, totals: { updates: 3, bytes: 1, revocations: 0 } }),
    ],
    [
      'one byte too many',
      'BUDGET_BYTES',
      judge(third, 600, { ...before, totals: { updates: 2, bytes: 401, revocations: 0 } }),
    ],
    ['an invalid parent', 'ANCESTOR_INVALID', judge(third, 1, 'invalid')],
  ])('calls %s invalid', (_, code, validity) => {
    expect(validity).toMatchObject({ verdict: 'invalid', code });
  });

  it('says which ids it lacks', () => {
    expect(judge(first)).toEqual({ verdict: 'unknown', records: [], payloads: [first.payload] });
    expect(judge(third, 1)).toEqual({ verdict: 'unknown', records: [prev], payloads: [] });
    expect(judge(third)).toEqual({ verdict: 'unknown', records: [prev], payloads: [third.payload] });
    expect(judge(third, 1, { ...before, totals: null })).toEqual({ verdict: 'unknown', records: [prev], payloads: [] });
  });

  it('is certain early where the missing pieces cannot change the verdict', () => {
    expect(judge(third, undefined, { ...before, seq: 7 })).toMatchObject({ code: 'CHAIN_BROKEN' });
    expect(judge(third, undefined, { ...before, totals: { updates: 3, bytes: 1, revocations: 0 } })).toMatchObject({
      code: 'BUDGET_UPDATES',
    });
    // An amendment among ancestors that are not known may allow what the charter does not.
    expect(judge(third, 601)).toEqual({ verdict: 'unknown', records: [prev], payloads: [] });
    expect(judge(third, 601, { ...before, totals: null })).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' });
  });
});
