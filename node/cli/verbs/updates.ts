import type { Command } from 'commander';
import { explain, KINSHIP_CAVEAT } from '../../../src/kinship/index.ts';
import type { UpdateDocument, WhyDocument } from '../../service/documents.ts';
import type { Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { formatBytes, table } from '../output.ts';
import { withService } from '../with-service.ts';

/** The verbs that look at updates: `log`, `show`, `why`. */
export function updateVerbs(program: Command, register: Register): void {
  register(program.command('log').description('list the updates in canonical order'), async (context) => {
    const updates = await withService(context, (service) => service.log());
    context.output.result({ updates }, () => renderLog(updates));
    return EXIT.done;
  });
  register(
    program.command('show').argument('<update>', 'update id, or its unique beginning').description('show one update'),
    async (context, [id = '']) => {
      const update = await withService(context, (service) => service.show(id));
      context.output.result(update, () => renderUpdate(update));
      return EXIT.done;
    },
  );
  register(
    program
      .command('why')
      .argument('<update>', 'update id, or its unique beginning')
      .description('list every gate that an update met, with measured value, threshold and verdict'),
    async (context, [id = '']) => {
      const why = await withService(context, (service) => service.why(id));
      context.output.result({ ...why, caveat: KINSHIP_CAVEAT }, () => renderWhy(why));
      return EXIT.done;
    },
  );
}

export function renderWhy(why: Pick<WhyDocument, 'update' | 'verdict' | 'gate' | 'gates' | 'provisional'>): string {
  if (why.verdict === 'undecided') return `Update ${why.update} is pending: admission has not seen it yet.`;
  const lines = explain({
    id: why.update,
    accepted: why.verdict === 'accepted',
    gate: why.gates.find((result) => result.verdict === 'fail')?.gate ?? null,
    gates: why.gates,
  });
  if (why.provisional)
    lines.push('Provisional: no seal covers it, so an update that arrives late may still change it.');
  return lines.join('\n');
}

function renderLog(updates: readonly UpdateDocument[]): string {
  if (updates.length === 0) return 'no updates yet';
  return table([
    ['#', 'update', 'verdict', 'author', 'seq', 'title'],
    ...updates.map((update) => [
      update.position === null ? '-' : String(update.position),
      update.id,
      update.state === 'pending'
        ? 'pending'
        : update.gate === null
          ? update.verdict
          : `${update.verdict} (${update.gate})`,
      update.author,
      String(update.seq),
      update.title,
    ]),
  ]);
}

function renderUpdate(update: UpdateDocument): string {
  return table([
    ['update', update.id],
    ['state', update.state === 'held' ? 'held' : `pending: ${update.waitsFor.join(', ')}`],
    [
      'verdict',
      `${update.verdict}${update.gate === null ? '' : ` by ${update.gate}`}${update.provisional ? ' (provisional)' : ''}`,
    ],
    ['author', update.author],
    ['seq', String(update.seq)],
    ['parents', update.parents.join(' ') || '-'],
    ['payload', `${update.payload}${update.payloadBytes === null ? '' : `  ${formatBytes(update.payloadBytes)}`}`],
    ['coded share of the base', update.density === null ? '-' : `${(100 * update.density).toFixed(2)} %`],
    ['norm', update.norm === null ? '-' : update.norm.toPrecision(6)],
    ['title', update.title || '-'],
    ['licence', update.license || '-'],
    ['note', update.note || '-'],
  ]);
}
