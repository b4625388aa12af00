import type { Command } from 'commander';
import { MAX_MEMBERS_CHANGED } from '../../../src/log/index.ts';
import { NodeError } from '../../errors.ts';
import type { AmendmentDocument, RulesDocument } from '../../service/documents.ts';
import { rulesToCome } from '../../service/rule-sections.ts';
import type { CliContext, CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { table } from '../output.ts';
import { collectKeys } from '../parse.ts';
import { withService } from '../with-service.ts';
import { renderAmendment } from './render-rules.ts';

/** Who may contribute, now and after the next seal. */
export interface MembersDocument {
  readonly open: boolean;
  readonly owner: string;
  readonly sealers: readonly string[];
  readonly members: readonly { readonly key: string; readonly state: MemberState }[];
}

/** `joining` and `leaving`: at the next seal. */
export type MemberState = 'member' | 'joining' | 'leaving';

interface MemberVerbOptions extends CommonOptions {
  readonly note?: string;
}

export function memberVerbs(program: Command, register: Register): void {
  const member = program.command('member').description('add, remove and list members');
  for (const does of ['add', 'remove'] as const) {
    const command = member
      .command(does)
      .argument('<key...>', 'author keys, z6Mk…', collectKeys)
      .description(
        `sign an amendment that ${does === 'add' ? 'adds' : 'removes'} members; in effect from the next seal on`,
      )
      .option('--note <text>', 'why, for everybody to read');
    register<MemberVerbOptions>(command, async (context, keys, { note }) => {
      const amendment = await change(context, does, keys, note);
      context.output.result(amendment, () => renderAmendment(amendment));
      return EXIT.done;
    });
  }
  register(
    member.command('list').description('list who may contribute, the owner and the sealers'),
    async (context) => {
      const members = membersOf(await withService(context, (service) => service.rules()));
      context.output.result(members, () => renderMembers(members));
      return EXIT.done;
    },
  );
}

function change(
  context: CliContext,
  does: 'add' | 'remove',
  keys: readonly string[],
  note: string | undefined,
): Promise<AmendmentDocument> {
  if (keys.length > MAX_MEMBERS_CHANGED) {
    const text = `${keys.length} keys are too many for one amendment: give at most ${MAX_MEMBERS_CHANGED} at a time`;
    throw new NodeError('USAGE', text, { keys: keys.length, most: MAX_MEMBERS_CHANGED });
  }
  return withService(context, async (service) => {
    const rules = await service.rules();
    checkChange(rules, does, keys);
    const { open } = rulesToCome(rules).membership;
    const [add, remove] = does === 'add' ? [keys, []] : [[], keys];
    return service.amend({ changes: { membership: { open, add, remove } }, note });
  });
}

/** @throws NodeError `USAGE` for keys that are there already, or are not there, once the next seal is made */
export function checkChange(rules: RulesDocument, does: 'add' | 'remove', keys: readonly string[]): void {
  const states = new Map(membersOf(rules).members.map(({ key, state }) => [key, state]));
  const wrong = keys.filter((key) => {
    const state = states.get(key);
    const stays = state === 'member' || state === 'joining';
    return does === 'add' ? stays : !stays;
  });
  if (wrong.length === 0) return;
  const why = (key: string): string => {
    const state = states.get(key);
    if (state === 'member') return 'is a member';
    if (state === 'joining') return 'is added already, from the next seal on';
    return state === 'leaving' ? 'is removed already, from the next seal on' : 'is no member';
  };
  const text = wrong.map((key) => `${key} ${why(key)}`).join('; ');
  throw new NodeError('USAGE', `${text}: see \`kinmerge member list\``, { keys: wrong });
}

export function membersOf(rules: RulesDocument): MembersDocument {
  const now = new Set(rules.membership.members);
  const then = new Set(rulesToCome(rules).membership.members);
  const state = (key: string): MemberState => (!now.has(key) ? 'joining' : then.has(key) ? 'member' : 'leaving');
  return {
    open: rules.membership.open,
    owner: rules.owner,
    sealers: rules.sealers.keys,
    members: [...new Set([...now, ...then])].sort().map((key) => ({ key, state: state(key) })),
  };
}

const STATES: Record<MemberState, string> = {
  member: '',
  joining: 'from the next seal on',
  leaving: 'until the next seal',
};

function renderMembers({ open, owner, sealers, members }: MembersDocument): string {
  return table([
    ['owner', owner],
    ...(sealers.length === 0
      ? [['sealer', 'none: everything stays provisional']]
      : sealers.map((key) => ['sealer', key])),
    ...members.map(({ key, state }) => ['member', key, STATES[state]]),
    ...(open ? [['open', 'everybody may contribute; the list counts once the community is closed']] : []),
  ]);
}
