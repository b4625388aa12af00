import { describe, expect, it } from 'vitest';
import { MAX_SEALS_AHEAD, MAX_SEALS_PER_SIGNER, type Seal, SealSet, signSeal } from '../../../src/log/index.ts';
import { testId, testKey } from './helpers.ts';

const [first, second, stranger] = [testKey(1), testKey(2), testKey(3)];
const set = () => new SealSet([first.publicKey, second.publicKey]);

function seal(number: number, changes: Partial<Seal> = {}): Seal {
  return {
    version: 1,
    charter: testId(0),
    number,
    previous: number === 1 ? null : testId(number),
    frontier: [testId(9)],
    decisions: Uint8Array.of(0),
    amendments: [],
    revocations: [],
    accepted: 1,
    recipe: testId(1),
    ...changes,
  };
}

describe('the known seals', () => {
  it('are those of sealers, of the charter or trusted since', () => {
    const seals = set();
    const signed = signSeal(seal(1), [stranger]);
    expect(seals.add(signed).outcome).toBe('untrusted');
    seals.trust([stranger.publicKey]);
    expect(seals.add(signed).outcome).toBe('added');
    expect(seals.add(signed).outcome).toBe('known');
  });

  it('take a number that is not too far ahead', () => {
    const seals = set();
    expect(seals.add(signSeal(seal(MAX_SEALS_AHEAD + 1), [first])).outcome).toBe('refused');
    expect(seals.add(signSeal(seal(MAX_SEALS_AHEAD), [first])).outcome).toBe('added');
    seals.add(signSeal(seal(1), [first]));
    expect(seals.gapless).toBe(1);
    expect(seals.add(signSeal(seal(MAX_SEALS_AHEAD + 1), [first])).outcome).toBe('added');
  });

  it('are the two smallest of one number and sealer, in whatever order they come', () => {
    const many = Array.from({ length: 6 }, (_, i) => signSeal(seal(1, { accepted: i }), [first]));
    const other = signSeal(seal(1, { accepted: 99 }), [second]);
    const keep = (list: typeof many) => {
      const seals = set();
      for (const one of list) seals.add(one);
      return seals
        .withNumber(1)
        .map(({ id }) => id.toString())
        .sort();
    };
    const kept = keep([...many, other]);
    expect(kept).toHaveLength(MAX_SEALS_PER_SIGNER + 1);
    expect(kept).toContain(other.id.toString());
    expect(keep([other, ...many.toReversed()])).toEqual(kept);
  });

  it('keep the signatures of all sealers of one seal: an earlier one by a wrong sealer stands in nobody’s way', () => {
    const seals = set();
    seals.add(signSeal(seal(1), [first]));
    expect(seals.add(signSeal(seal(1), [second])).outcome).toBe('added');
    expect(seals.withNumber(1)).toHaveLength(1);
    expect(seals.withNumber(1)[0]!.signatures.map(({ key }) => key)).toEqual(
      [first.publicKey, second.publicKey].sort(Buffer.compare),
    );
    expect(seals.add(signSeal(seal(1), [second])).outcome).toBe('known');
  });
});
