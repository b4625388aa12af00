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

function renderStatus(status: StatusDocument): string {
  const { community, daemon, log, recipe, folding, checkpoint, problem } = status;
  const rows = [
    ['community', `${community.name}  ${community.id}  (${community.membership})`],
    ['author', status.author],
    ['daemon', daemon === null ? 'not running' : `pid ${daemon.pid}, peer ${daemon.peerId}`],
    ...(daemon?.join ?? []).map((line) => ['join line', line]),
    ['peers', `${status.peers} connected`],
    ['updates', `${log.held} held: ${log.accepted} accepted, ${log.declined} declined; ${log.pending} pending`],
    ...status.waiting.map((waiting) => ['', waits(waiting)]),
    ['recipe', `${recipe.id}  (${recipe.updates} updates${recipe.provisional ? ', provisional' : ''})`],
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
