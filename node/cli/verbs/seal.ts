import type { Command } from 'commander';
import type { SealDocument } from '../../service/documents.ts';
import type { Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { withService } from '../with-service.ts';

/** What is printed when there is nothing to seal: no field has a value. */
const NOTHING = { seal: null, number: null, records: 0, amendments: [], revocations: [], recipe: null, updates: null };

export function sealVerb(program: Command, register: Register): void {
  const command = program
    .command('seal')
    .description('make order and decisions of what no seal covers final, with the key of a sealer in this home');
  register(command, async (context) => {
    const run = { signal: context.signal, onProgress: context.output.progress };
    const sealed = await withService(context, (service) => service.seal(run));
    context.output.result(sealed ?? NOTHING, () => (sealed === null ? 'nothing to seal' : renderSeal(sealed)));
    return EXIT.done;
  });
}

export function renderSeal({ seal, number, records, amendments, revocations, recipe, updates }: SealDocument): string {
  const done = [
    `${records} records are final`,
    ...(amendments.length > 0 ? [`amendments now in effect: ${amendments.length}`] : []),
    ...(revocations.length > 0 ? [`revocations that took something out: ${revocations.length}`] : []),
  ];
  return [`seal ${number}  ${seal}`, done.join('; '), `recipe ${recipe}  (${updates} updates)`].join('\n');
}
