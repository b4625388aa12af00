import { describe, expect, it } from 'vitest';
import {
  type Candidate,
  type Decision,
  decide,
  explain,
  explainTable,
  KINSHIP_CAVEAT,
  policyForBase,
  verdictLine,
} from '../../../src/kinship/index.ts';
import { neighbour } from './support.ts';

const policy = policyForBase([{ elements: 100, sumSquares: 10_000 }]);

function decisions(cosine: number, ids = ['first', 'second']): Decision[] {
  const payload = {
    bytes: 321,
    tensors: [{ index: 0, scale: 1 / 3, entries: 9, sum: 1, squares: 9, peak: 1 }],
    elements: 100,
    nnz: 9,
    norm: 1,
    sum: 1 / 3,
  };
  const candidates = ids.map((id): Candidate => ({ id, kind: 'update', payload }));
  return decide(candidates, policy, () => ({ cosine, fixed: BigInt(cosine * 2 ** 64) })).decisions;
}

describe('explaining a decision', () => {
  it('says why an update was declined, with value, limit and the other update', () => {
    const copy = decisions(1)[1]!;
    expect(verdictLine(copy)).toBe(
      'Update second is declined by duplicate: it adds nothing to an accepted update (highest cosine to an accepted update 1; limit at most 0.95; to first).',
    );
    expect(verdictLine(decisions(0)[1]!)).toBe('Update second is accepted: every gate let it pass.');
  });

  it('gives a decode error its code and message', () => {
    const payload = { fault: 'BAD_PADDING', message: 'Padding is set.' };
    const [faulty] = decide([{ id: 'x', kind: 'update', payload }], policy, () => undefined).decisions;
    expect(verdictLine(faulty!)).toBe(
      'Update x is declined by bounds: it is outside the absolute limits (payload BAD_PADDING; limit decodes; Padding is set.).',
    );
  });

  it('has a row for every check, those not reached included', () => {
    const { columns, rows } = explainTable(decisions(1)[1]!);
    expect(columns).toEqual(['gate', 'measured', 'value', 'limit', 'verdict', 'note']);
    expect(rows).toEqual([
      ['equivocation', "author's records", 'one record per seq', 'one record per seq', 'pass', ''],
      ['membership', 'author', 'a member', 'a member', 'pass', ''],
      ['bounds', 'payload', 'decodes', 'decodes', 'pass', ''],
      ['bounds', 'payload bytes', '321', 'at most 2147483648', 'pass', ''],
      ['bounds', 'norm', '1', 'above 0', 'pass', ''],
      ['bounds', 'coded share', '0.09', 'at most 0.5', 'pass', ''],
      ['bounds', 'norm', '1', 'at most 20', 'pass', ''],
      ['bounds', 'largest entry', '0.333333', 'at most 20', 'pass', ''],
      [
        'norm',
        'norm to the median of the accepted',
        '1',
        '0.333333 to 3',
        'not enough reference',
        '1 of 3 accepted updates',
      ],
      ['duplicate', 'highest cosine to an accepted update', '1', 'at most 0.95', 'fail', 'to first'],
      ['opposite', 'lowest cosine to an accepted update', '-', 'at least -0.5', 'not reached', ''],
      ['kinship', 'mean cosine to the accepted updates', '-', '-0.1 to 0.9', 'not reached', ''],
    ]);
  });

  it('shows all digits where fewer would hide that a limit is passed', () => {
    const beyond = neighbour(0.95, 1);
    expect(explainTable(decisions(beyond)[1]!).rows[9]![2]).toBe(String(beyond));
    expect(explainTable(decisions(0.123456789)[1]!).rows[9]![2]).toBe('0.123457');
  });

  it('prints an aligned table and what kinship cannot tell', () => {
    const lines = explain(decisions(1)[1]!);
    expect(lines[0]).toMatch(/^Update second is declined by duplicate/);
    expect(lines.at(-1)).toBe(KINSHIP_CAVEAT);
    const table = lines.slice(2, 15);
    const column = table[0]!.indexOf('verdict');
    expect(table.slice(1).map((line) => line.slice(column).split(/ {2,}/)[0])).toEqual(
      decisions(1)[1]!.gates.map(({ verdict }) => verdict),
    );
    expect(lines.every((line) => line === line.trimEnd())).toBe(true);
  });

  it('survives JSON', () => {
    const [, copy] = decisions(1);
    expect(explain(JSON.parse(JSON.stringify(copy)))).toEqual(explain(copy!));
  });
});
