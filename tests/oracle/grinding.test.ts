/** What an attacker gains inside one epoch by choosing among ids and by naming old parents. Tables: docs/ordering.md. */

import { describe, expect, it } from 'vitest';
import type { Id } from './documents.ts';
import type { Made } from './generate/signing.ts';
import { Field, honestSigns, mean, rank } from './grinding-support.ts';
import type { Outcome } from './index.ts';

const HONEST = 20;
/** Communities of which the mean is taken: its standard error is then an eighth of the spread. */
const COMMUNITIES = 60;
/** Of 1/2 … 1/(n + 1): how far a record comes that is ready from the beginning, in a chain of which one is ready at a time. */
const harmonic = (n: number): number => Array.from({ length: n }, (_, i) => 1 / (i + 2)).reduce((a, b) => a + b);

/** Honest updates at one time, or each after the one before. */
function honest(field: Field, how: 'concurrent' | 'chained'): Made[] {
  const made: Made[] = [];
  for (let i = 0; i < HONEST; i++) {
    const parents = how === 'chained' && i > 0 ? [made[i - 1]!.rec.id] : [];
    made.push(field.sign(field.honestKey(i), field.payload(honestSigns(i)), parents));
  }
  field.publish(...made);
  return made;
}

/**
 * The mean rank of an attacker's record in many communities that differ in nothing but their ids.
 *
 * @param prepare - publishes what the attacker is to get before; returns what it names, and the salt that it grinds with
 */
async function meanRank(
  tries: number,
  prepare: (field: Field) => { readonly parents?: readonly Id[]; readonly salt?: Id },
): Promise<number> {
  const ranks: number[] = [];
  for (let i = 0; i < COMMUNITIES; i++) {
    const field = new Field(`community ${i}`);
    const { parents = [], salt = field.salt } = prepare(field);
    const payload = field.payload(honestSigns(99));
    const made = field.grind(tries, (note) => field.sign(field.hostileKey(0), payload, parents, note), salt);
    field.publish(made);
    ranks.push(rank(await field.outcome(), made));
  }
  return mean(ranks);
}

const acceptedOf = (outcome: Outcome, made: readonly Made[]): number =>
  made.filter(({ rec }) => outcome.recipe.includes(rec.id)).length;

function table(title: string, rows: Readonly<Record<string, number>>): void {
  const lines = Object.entries(rows).map(([name, value]) => `  ${name}: ${value.toFixed(2)}`);
  process.stdout.write(`${[title, ...lines].join('\n')}\n`);
}

describe('an attacker inside one epoch', { timeout: 120_000 }, () => {
  it('stands before the concurrent updates of others as often as it tries ids: rank n/(tries + 1)', async () => {
    const rows: Record<string, number> = {};
    for (const tries of [1, 3, 10, 100]) {
      const found = await meanRank(tries, (field) => {
        honest(field, 'concurrent');
        return {};
      });
      rows[`${tries} tries`] = found;
      const expected = HONEST / (tries + 1);
      expect(Math.abs(found - expected)).toBeLessThan(0.3 * expected + 0.1);
    }
    table(`rank among ${HONEST} concurrent updates`, rows);
  });

  it('stands near the beginning of a chain that it does not name: about two places from the start, none with tries', async () => {
    const naming = (tries: number, at: number | null) =>
      meanRank(tries, (field) => {
        const chain = honest(field, 'chained');
        return { parents: at === null ? [] : [chain.at(at)!.rec.id] };
      });
    const rows = {
      'names the head, 100 tries': await naming(100, -1),
      'names the middle, 100 tries': await naming(100, HONEST / 2 - 1),
      'names nothing, 1 try': await naming(1, null),
      'names nothing, 10 tries': await naming(10, null),
      'names nothing, 100 tries': await naming(100, null),
    };
    table(`rank in a chain of ${HONEST}`, rows);
    expect(rows['names the head, 100 tries']).toBe(HONEST);
    expect(rows['names the middle, 100 tries']).toBeGreaterThanOrEqual(HONEST / 2);
    expect(rows['names the middle, 100 tries']).toBeLessThan(HONEST / 2 + 1);
    expect(Math.abs(rows['names nothing, 1 try'] - harmonic(HONEST))).toBeLessThan(2);
    expect(rows['names nothing, 100 tries']).toBeLessThan(0.5);
  });

  it('makes an update of which it signs a copy the duplicate, with even odds and more with each try', async () => {
    const rows: Record<string, number> = {};
    for (const tries of [1, 3, 10, 100]) {
      const field = new Field();
      const made = honest(field, 'concurrent');
      const published = field.records.length;
      let stolen = 0;
      for (const [i, victim] of made.entries()) {
        if (victim.rec.kind !== 'update') continue;
        const before = acceptedOf(await field.outcome(), [victim]);
        const copy = field.payload(field.payloads.get(victim.rec.payload)!.signs!);
        const thief = field.grind(tries, (note) => field.sign(field.hostileKey(i), copy, [], note));
        field.publish(thief);
        const outcome = await field.outcome();
        if (before === 1 && acceptedOf(outcome, [thief]) === 1 && acceptedOf(outcome, [victim]) === 0) stolen++;
        field.records.splice(published);
      }
      rows[`${tries} tries`] = stolen / HONEST;
    }
    table('share of copies that are accepted in the place of the original', rows);
    expect(rows['1 tries']).toBeLessThan(0.8);
    expect(rows['100 tries']).toBeGreaterThan(0.8);
  });

  it('turns the norm gate against everybody with the majority of minReference updates, while nothing is sealed', async () => {
    const rows: Record<string, number> = {};
    for (const count of [0, 1, 2, 3]) {
      const field = new Field();
      const made = honest(field, 'concurrent');
      loud(field, count);
      rows[`${count} loud updates first`] = acceptedOf(await field.outcome(), made);
    }
    table(`honest updates accepted of ${HONEST}, minReference 3`, rows);
    expect(rows['0 loud updates first']).toBeGreaterThan(HONEST / 2);
    expect(rows['1 loud updates first']).toBeGreaterThan(HONEST / 2);
    expect(rows['2 loud updates first']).toBeLessThan(HONEST / 4);
    expect(rows['3 loud updates first']).toBe(0);
  });

  it('changes nothing of that once the honest ones are sealed, and is declined itself', async () => {
    const field = new Field();
    const made = honest(field, 'concurrent');
    field.seal();
    const before = await field.outcome();
    const hostile = loud(field, 3);
    const after = await field.outcome();
    expect(acceptedOf(after, made)).toBe(acceptedOf(before, made));
    expect(acceptedOf(after, hostile)).toBe(0);
  });
});

describe('what is sealed', { timeout: 120_000 }, () => {
  it('does not move by a byte, whatever is ground or back-dated after it', async () => {
    const field = new Field();
    const made = honest(field, 'chained');
    field.seal();
    const before = await field.outcome();
    const parents = [[], [made[0]!.rec.id], [made[HONEST / 2]!.rec.id], [made.at(-1)!.rec.id]];
    for (let i = 0; i < 60; i++) {
      const salt = i % 2 === 0 ? field.salt : field.charterId;
      const payload = field.payload(honestSigns(i % HONEST), i % 3 === 0 ? 4 : 1);
      const named = parents[i % parents.length]!;
      field.publish(field.grind(50, (note) => field.sign(field.hostileKey(i), payload, named, note), salt));
    }
    const after = await field.outcome();
    const sealed = ({ sections, decisions, seals, sealedRecipe }: Outcome): string =>
      JSON.stringify([sections[0], decisions.slice(0, HONEST), seals, sealedRecipe]);
    expect(sealed(after)).toBe(sealed(before));
    expect(after.recipe.slice(0, before.recipe.length)).toEqual(before.recipe);
    expect(after.sections.at(-1)).toHaveLength(60);
  });

  it('makes ids useless that were ground before: the salt is another one', async () => {
    const afterSeal = (salt: 'new' | 'old') =>
      meanRank(100, (field) => {
        field.publish(field.sign(field.honestKey(99), field.payload(honestSigns(98))));
        field.seal();
        honest(field, 'concurrent');
        return { salt: salt === 'new' ? field.salt : field.charterId };
      });
    const rows = {
      'by the salt of the tail': await afterSeal('new'),
      'by the salt of the epoch before': await afterSeal('old'),
    };
    table(`rank among ${HONEST} concurrent updates after a seal, 100 tries`, rows);
    expect(rows['by the salt of the tail']).toBeLessThan(1);
    expect(rows['by the salt of the epoch before']).toBeGreaterThan(HONEST * 0.3);
    expect(rows['by the salt of the epoch before']).toBeLessThan(HONEST * 0.7);
  });
});

/** A chain of one author's updates, each with the best id of many tries, all with eight times the norm of the others. */
function loud(field: Field, count: number): Made[] {
  const made: Made[] = [];
  for (let i = 0; i < count; i++) {
    const payload = field.payload(honestSigns(200 + i), 8);
    const prev = made.at(-1) ?? null;
    made.push(field.grind(300, (note) => field.sign(field.hostileKey(0), payload, [], note, prev)));
  }
  field.publish(...made);
  return made;
}
