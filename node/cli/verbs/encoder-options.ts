import { type Command, InvalidArgumentError, Option } from 'commander';
import type { FinetuneInput } from '../../../src/choose/index.ts';
import { parseNumber } from '../parse.ts';
import { type EvaluationOptions, evaluationFrom, withEvaluationOptions } from './evaluation-options.ts';

/** What the verbs that compress a fine-tune have in common. */
export interface EncoderOptions extends Partial<EvaluationOptions> {
  readonly density?: number | 'auto';
  readonly mode?: 'global' | 'tensor';
  readonly scaleUnit?: 'deviation' | 'magnitude';
  readonly scaleFactor?: number;
  readonly missing: 'error' | 'unchanged';
  readonly extra: 'error' | 'ignore';
  readonly reshaped: 'error' | 'unchanged';
}

/** The part of a request that these options make. */
export type EncoderRequest = Pick<FinetuneInput, 'choice' | 'align' | 'evaluation'>;

/** @param defaults - where the values come from that nobody gives, for the help */
export function withEncoderOptions(command: Command, defaults: string): Command {
  const choice = (flags: string, text: string, values: readonly string[], value?: string) => {
    const option = new Option(flags, text).choices([...values]);
    return value === undefined ? option : option.default(value);
  };
  command
    .option('--density <share>', `share of weights that are kept, 0 to 1, or auto (default: ${defaults})`, parseDensity)
    .addOption(
      choice(
        '--mode <mode>',
        `one selection and scale for the whole model, or one for each tensor (default: ${defaults})`,
        ['global', 'tensor'],
      ),
    )
    .addOption(
      choice(
        '--scale-unit <unit>',
        `what the scale is counted in: the deviation of all weights' changes, or the mean of the kept ones (default: ${defaults})`,
        ['deviation', 'magnitude'],
      ),
    )
    .option(
      '--scale-factor <factor>',
      'the scale in that unit (default: 1 / sqrt(density) magnitudes, 4 deviations)',
      parseNumber,
    )
    .addOption(choice('--missing <what>', 'tensors that the fine-tune lacks', ['error', 'unchanged'], 'error'))
    .addOption(choice('--extra <what>', 'tensors that the base lacks', ['error', 'ignore'], 'error'))
    .addOption(
      choice('--reshaped <what>', 'tensors of another shape than in the base', ['error', 'unchanged'], 'error'),
    );
  return withEvaluationOptions(command, '--density auto chooses by this');
}

/** @throws NodeError `USAGE` */
export async function encoderRequest(options: EncoderOptions): Promise<EncoderRequest> {
  const { density, mode, scaleUnit, scaleFactor, missing, extra, reshaped } = options;
  const evaluation = await evaluationFrom(options);
  return {
    choice: { density, mode, scaleUnit, scaleFactor },
    align: { missing, extra, reshaped },
    ...(evaluation === undefined ? {} : { evaluation }),
  };
}

function parseDensity(text: string): number | 'auto' {
  if (text === 'auto') return text;
  const value = parseNumber(text);
  if (!(value > 0 && value <= 1))
    throw new InvalidArgumentError(`${text} is neither a share above 0 and at most 1 nor auto.`);
  return value;
}
