import type { Command } from 'commander';
import { KinmergeError } from '../../../src/errors.ts';
import type { GateResult } from '../../../src/kinship/index.ts';
import { resolveCheckpointPath } from '../../../src/tensors/index.ts';
import type { ContributeDocument } from '../../service/documents.ts';
import type { CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { formatBytes } from '../output.ts';
import { withService } from '../with-service.ts';
import { type EncoderOptions, encoderRequest, withEncoderOptions } from './encoder-options.ts';
import { renderEncoding } from './render-encoding.ts';
import { renderWhy } from './render-update.ts';

interface ContributeOptions extends CommonOptions, EncoderOptions {
  readonly title?: string;
  readonly license?: string;
  readonly note?: string;
  readonly force?: boolean;
  readonly dryRun?: boolean;
}

export function contributeVerb(program: Command, register: Register): void {
  const command = program
    .command('contribute')
    .argument('<finetune>', 'the fine-tune: safetensors file, Hugging Face directory or LoRA adapter directory')
    .description('judge a fine-tune by the own node, then sign its compressed task vector and publish it')
    .option('--title <text>', 'what this fine-tune is')
    .option('--license <spdx>', 'its licence, as an SPDX expression')
    .option('--note <text>', 'anything else for the record')
    .option('--dry-run', 'stop after the verdict: sign and send nothing')
    .option('--force', 'sign and send it although the own node declines it');
  withEncoderOptions(command);
  register<ContributeOptions>(command, async (context, [finetune = ''], options) => {
    const { title, license, note, force, dryRun } = options;
    const encoder = await encoderRequest(options);
    const request = { finetune: resolveCheckpointPath(finetune), ...encoder, title, license, note, force, dryRun };
    try {
      const done = await withService(context, (service) =>
        service.contribute(request, { signal: context.signal, onProgress: context.output.progress }),
      );
      context.output.result(done, () => renderContribution(done));
      return EXIT.done;
    } catch (error) {
      if (!context.output.json && error instanceof KinmergeError && error.code === 'DECLINED') {
        const gates = error.fields.gates as readonly GateResult[];
        const why = {
          update: 'candidate',
          verdict: 'declined',
          gate: String(error.fields.gate),
          gates,
          provisional: false,
        } as const;
        context.output.note(renderWhy(why));
      }
      throw error;
    }
  });
}

function renderContribution(done: ContributeDocument): string {
  const { record, payload, bound, fp16 } = done.bytes;
  return [
    done.update === null ? 'dry run: nothing was signed or sent' : `update ${done.update}`,
    `payload ${formatBytes(payload)} + record ${formatBytes(record)}, ${(fp16 / (payload + record)).toFixed(1)}x smaller than ` +
      `fp16 (entropy bound ${formatBytes(bound)})`,
    ...renderEncoding(done),
    `${done.verdict}${done.gate === null ? '' : ` by ${done.gate}`}${done.provisional ? ' (provisional until sealed)' : ''}`,
  ].join('\n');
}
