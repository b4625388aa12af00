import type { Command } from 'commander';
import { KINSHIP_CAVEAT } from '../../../src/kinship/index.ts';
import type { Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { withService } from '../with-service.ts';
import { renderLog, renderUpdate, renderWhy } from './render-update.ts';

/** The verbs that look at updates: `log`, `show`, `why`. */
export function updateVerbs(program: Command, register: Register): void {
  register(
    program.command('log').description('list updates, revocations and amendments in canonical order'),
    async (context) => {
      const updates = await withService(context, (service) => service.log());
      context.output.result({ updates }, () => renderLog(updates));
      return EXIT.done;
    },
  );
  register(
    program
      .command('show')
      .argument('<update>', 'update id, or its unique beginning')
      .description('show one record of the log'),
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
