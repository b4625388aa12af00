/** What `member` and `policy` make of flags and of the rules, without a node. */
import { Command } from 'commander';
import { describe, expect, test } from 'vitest';
import { checkChange, membersOf } from '../../../node/cli/verbs/member.ts';
import { changesToSet, changesToTry, renderDryRun } from '../../../node/cli/verbs/policy.ts';
import { renderDifferences, renderRules } from '../../../node/cli/verbs/render-rules.ts';
import { changesFrom, type RuleOptions, withRuleOptions } from '../../../node/cli/verbs/rule-options.ts';
import type { ChangesDocument } from '../../../node/service/describe-record.ts';
import type { RuleSections, RulesDocument } from '../../../node/service/documents.ts';
import { differencesBetween, rulesToCome } from '../../../node/service/rule-sections.ts';
import { keyToText } from '../../../src/log/index.ts';
import { testId, testKey } from '../log/helpers.ts';
import { runInProcess } from './support.ts';

const [owner, ada, bob, cleo] = [0, 1, 2, 3].map((n) => keyToText(testKey(n).publicKey)) as [
  string,
  string,
  string,
  string,
];
const admission = {
  duplicate: 0.95,
  opposite: -0.5,
  kinship: [-0.1, 0.9],
  normRatio: [0.25, 3],
  minReference: 3,
  maxNorm: 10,
  maxScale: 1,
  maxDensity: 0.5,
  maxPayloadBytes: 1000,
} as const;
const charter: RuleSections = {
  membership: { open: false, members: [ada, bob].sort() },
  budgets: { updates: 10, bytes: 5000 },
  admission,
  sealers: { keys: [owner], threshold: 1 },
};

/** Rules with these amendments, of which the first `sealed` are in effect. */
function rules(changes: readonly ChangesDocument[] = [], sealed = 0): RulesDocument {
  const amendments = changes.map((change, place) => ({
    id: testId(place).toString(),
    number: place + 1,
    note: '',
    changes: change,
    state: place < sealed ? ('in effect' as const) : ('pending' as const),
  }));
  const start = { amendment: 0, owner, ...charter, charter, amendments };
  return {
    ...start,
    ...rulesToCome({ ...start, pending: amendments.slice(0, sealed) }),
    amendment: sealed,
    pending: amendments.slice(sealed).map(({ state: _, ...amendment }) => amendment),
  };
}

function optionsOf(...words: string[]): RuleOptions {
  return withRuleOptions(new Command()).exitOverride().parse(words, { from: 'user' }).opts();
}

const members = (add: readonly string[], remove: readonly string[] = []): ChangesDocument => ({
  membership: { open: false, add, remove },
});

describe('the flags of policy set', () => {
  test('replace the sections that they name, and fill these from the rules', () => {
    expect(changesFrom(optionsOf(), charter)).toEqual({});
    expect(changesFrom(optionsOf('--kinship-min', '0.1', '--max-density', '0.3'), charter)).toEqual({
      admission: { ...admission, kinship: [0.1, 0.9], maxDensity: 0.3 },
    });
    expect(changesFrom(optionsOf('--budget-updates', '3'), charter)).toEqual({ budgets: { updates: 3, bytes: 5000 } });
    expect(changesFrom(optionsOf('--sealer', ada, '--sealer', bob, '--sealer', ada), charter)).toEqual({
      sealers: { keys: [ada, bob], threshold: 1 },
    });
    expect(changesFrom(optionsOf('--open'), charter)).toEqual({ membership: { open: true, add: [], remove: [] } });
    expect(changesFrom(optionsOf('--no-open'), charter)).toEqual({ membership: { open: false, add: [], remove: [] } });
  });

  test('go on from what is pending', () => {
    const pending = rules([{ budgets: { updates: 5, bytes: 100 } }]);
    expect(changesToSet(optionsOf('--budget-bytes', '200'), pending)).toEqual({ budgets: { updates: 5, bytes: 200 } });
    expect(changesToSet(optionsOf('--budget-updates', '10'), pending)).toEqual({
      budgets: { updates: 10, bytes: 100 },
    });
  });

  test('that name nothing, or change nothing, are wrong usage', () => {
    expect(() => changesToSet(optionsOf(), rules())).toThrow(/name what to set/);
    const same = optionsOf('--budget-updates', '10', '--sealer', owner, '--no-open', '--norm-max', '3');
    expect(() => changesToSet(same, rules())).toThrow(/say already/);
  });

  test('make a policy, or are refused by the name of the limit', () => {
    const refused = (...words: string[]) => {
      expect(() => changesFrom(optionsOf(...words), charter)).toThrow(
        expect.objectContaining({ code: expect.stringMatching(/^POLICY_/) }),
      );
    };
    refused('--kinship-min', '0.95');
    refused('--duplicate', '2');
    refused('--min-reference', '0');
    refused('--opposite', '0.95');
  });

  test('cannot ask for seals that nobody could make', () => {
    expect(changesFrom(optionsOf('--sealer-threshold', '1'), charter)).toEqual({ sealers: charter.sealers });
    for (const threshold of ['0', '2']) {
      expect(() => changesFrom(optionsOf('--sealer-threshold', threshold), charter)).toThrow(/one signature/);
    }
  });
});

describe('a dry run tries', () => {
  test('limits and budgets that are pending, with the flags on top', () => {
    const pending = rules([{ admission: { ...admission, minReference: 5 } }, members([cleo])]);
    expect(changesToTry(optionsOf(), pending)).toEqual({ admission: { ...admission, minReference: 5 } });
    expect(changesToTry(optionsOf('--kinship-max', '0.5', '--budget-updates', '1'), pending)).toEqual({
      admission: { ...admission, minReference: 5, kinship: [-0.1, 0.5] },
      budgets: { updates: 1, bytes: 5000 },
    });
  });

  test('nothing when there is none of both', () => {
    for (const nothing of [rules(), rules([members([cleo])]), rules([{ budgets: { updates: 1, bytes: 1 } }], 1)]) {
      expect(() => changesToTry(optionsOf(), nothing)).toThrow(/no limits and no budgets to try/);
    }
  });

  test('and says what would have been decided otherwise', () => {
    expect(renderDryRun({ updates: 3, accepted: 3, untried: 0, differs: [] })).toMatch(
      /nothing would have been decided otherwise/,
    );
    const differs = [{ update: 'bafy', title: 'mine', was: null, would: 'kinship' }];
    expect(renderDryRun({ updates: 3, accepted: 2, untried: 1, differs })).toMatch(
      /2 of 3[\s\S]*1 stay as their seal decided[\s\S]*bafy +accepted +declined \(kinship\) +mine/,
    );
  });
});

describe('members', () => {
  const pending = rules([members([cleo], [bob])]);

  test('are listed with what the next seal does to them', () => {
    const states = Object.fromEntries(membersOf(pending).members.map(({ key, state }) => [key, state]));
    expect(states).toEqual({ [ada]: 'member', [bob]: 'leaving', [cleo]: 'joining' });
    const sealed = rules([members([cleo], [bob])], 1);
    expect(membersOf(sealed).members.map(({ key }) => key)).toEqual([ada, cleo].sort());
  });

  test.each([
    ['add', ada, 'is a member'],
    ['add', cleo, 'is added already'],
    ['remove', bob, 'is removed already'],
    ['remove', owner, 'is no member'],
  ] as const)('%s of one for whom that changes nothing is refused', (does, key, why) => {
    expect(() => checkChange(pending, does, [key])).toThrow(expect.objectContaining({ code: 'USAGE' }));
    expect(() => checkChange(pending, does, [key])).toThrow(new RegExp(why));
  });

  test.each([
    ['add', bob],
    ['remove', cleo],
    ['remove', ada],
    ['add', owner],
  ] as const)('%s may take back what is pending', (does, key) => {
    expect(() => checkChange(pending, does, [key])).not.toThrow();
  });

  test.each([
    ['no key', 'nonsense'],
    ['a key with a letter changed', `${ada.slice(0, -1)}${ada.endsWith('a') ? 'b' : 'a'}0`],
  ])('of %s are wrong usage', async (_what, key) => {
    for (const verb of ['add', 'remove']) {
      const { code, stderr } = await runInProcess(['member', verb, key]);
      expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining('is not a public key') });
    }
  });
});

describe('differences', () => {
  const many = rules(
    [{ budgets: { updates: 5, bytes: 5000 } }, members([cleo], [bob]), { sealers: { keys: [ada], threshold: 1 } }],
    2,
  );

  test('between any two amendments are listed field by field', () => {
    expect(differencesBetween(many, 0, 3)).toEqual({
      from: 0,
      to: 3,
      fields: [{ field: 'budgets.updates', from: 10, to: 5 }],
      members: { added: [cleo], removed: [bob] },
      sealers: { added: [ada], removed: [owner] },
    });
    expect(differencesBetween(many, 2, 1).members).toEqual({ added: [bob], removed: [cleo] });
    expect(differencesBetween(many, 1, 1)).toMatchObject({ fields: [], members: { added: [], removed: [] } });
    expect(() => differencesBetween(many, 0, 4)).toThrow(/no amendment 4: this community has amendments 1 to 3/);
  });

  test('are readable', () => {
    const text = renderDifferences(differencesBetween(many, 0, 3));
    expect(text).toMatch(/^from the charter to amendment 3$/m);
    expect(text).toMatch(/^budgets\.updates +10 {2}-> {2}5$/m);
    expect(text).toMatch(new RegExp(`^member removed +${bob}$`, 'm'));
    expect(renderDifferences(differencesBetween(many, 1, 1))).toMatch(/nothing differs/);
  });

  test('of a void amendment are none', () => {
    const [first] = many.amendments;
    const forked = {
      ...many,
      amendments: [...many.amendments, { ...first!, state: 'void' as const, changes: members([owner]) }],
    };
    expect(differencesBetween(forked, 0, 3)).toEqual(differencesBetween(many, 0, 3));
  });

  test('of the rules to come stand beside those in effect', () => {
    const text = renderRules(many);
    expect(text).toMatch(/^rules +with amendments up to 2$/m);
    expect(text).toMatch(/^admission\.kinship +-0\.1 to 0\.9$/m);
    expect(text).toMatch(/^next seal +amendment 3: sealers \(1\)$/m);
  });
});
