import type { Command } from 'commander';
import type { StatusDocument, WaitingDocument } from '../../service/documents.ts';
import type { Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { table } from '../output.ts';
import { withService } from '../with-service.ts';
import { eigensolverRows } from './render-engine.ts';

export function statusVerb(program: Command, register: Register): void {
  register(program.command('status').description('show what the node knows and does'), async (context) => {
    const status = await withService(context, (service) => service.status());
    context.output.result(status, () => renderStatus(status));
    return EXIT.done;
  });
}

export function renderStatus(status: StatusDocument): string {
  const { community, daemon, log, recipe, folding, checkpoint, problem } = status;
  const rows = [
    ['community', `${community.name}  ${community.id}  (${community.membership})`],
    ['author', status.author],
    ['daemon', daemon === null ? 'not running' : `pid ${daemon.pid}, peer ${daemon.peerId}`],
    ...(daemon?.join ?? []).map((line) => ['join line', line]),
    ['peers', `${status.peers} connected`],
    [
      'log',
      `${log.held} records held; updates: ${log.accepted} accepted, ${log.declined} declined; ${log.pending} pending`,
    ],
    ...status.waiting.map((waiting) => ['', waits(waiting)]),
    ['recipe', `${recipe.id}  (${recipe.updates} updates, ${recipe.provisional ? 'provisional' : 'sealed'})`],
    ...sealRows(status),
    ['rules', rulesText(status.rules)],
    ['fold', folding === null ? 'up to date' : `${folding.updates} of ${folding.target} updates`],
    ['checkpoint', checkpoint === null ? 'none yet' : `${checkpoint.path}  (recipe ${checkpoint.recipe})`],
  ];
  if (status.device !== null) rows.push(['device', status.device]);
  if (status.eigensolver !== null) rows.push(...eigensolverRows(status.eigensolver));
  if (problem !== null) rows.push(['problem', `${problem.message} [${problem.code}]`]);
  return table(rows);
}

function waits({ update, waitsFor, tries, lastError }: WaitingDocument): string {
  const said = `${update} waits for ${waitsFor.join(', ')}`;
  return lastError === null ? said : `${said}; tried ${tries} times, the last time: ${lastError.message}`;
}

function sealRows({ sealed, rules }: StatusDocument): string[][] {
  if (sealed === null) {
    const why = rules.sealers.keys.length === 0 ? 'nothing, ever: nobody seals here' : 'nothing yet';
    return [['sealed', `${why}; everything is provisional`]];
  }
  const { number, seal, recipe, updates, tail, state } = sealed;
  return [
    ['sealed', `${recipe}  (${updates} updates, by seal ${number}${state === 'replayed' ? '' : `: ${state}`})`],
    ['', seal],
    ['tail', tail === 0 ? 'empty: everything is sealed' : `${tail} records after the seal, provisional`],
  ];
}

function rulesText({ amendment, pending }: StatusDocument['rules']): string {
  const now = amendment === 0 ? 'as the charter was written' : `with amendments up to ${amendment}`;
  return pending === 0 ? now : `${now}; ${pending} pending until the next seal`;
}
