import type { Command } from 'commander';
import type { RevokeDocument } from '../../service/documents.ts';
import type { CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { withService } from '../with-service.ts';

interface RevokeVerbOptions extends CommonOptions {
  readonly note?: string;
}

export function revokeVerb(program: Command, register: Register): void {
  const command = program
    .command('revoke')
    .argument('<update>', 'update id, or its unique beginning')
    .description('take an update out of the model for ever: an own one, or as the owner any')
    .option('--note <text>', 'why, for everybody to read');
  register<RevokeVerbOptions>(command, async (context, [update = ''], { note }) => {
    const revoked = await withService(context, (service) => service.revoke({ update, note }));
    context.output.result(revoked, () => renderRevocation(revoked));
    return EXIT.done;
  });
}

export function renderRevocation({ revocation, update, already, effective, recipe }: RevokeDocument): string {
  const what = already ? `${update} is revoked already, by ${revocation}` : `${update} is revoked, by ${revocation}`;
  const when =
    effective === 'now'
      ? `it is no part of the model: recipe ${recipe}`
      : 'a seal covers it, so it leaves the model at the next seal: `kinmerge seal`, by a sealer';
  return `${what}\n${when}`;
}
