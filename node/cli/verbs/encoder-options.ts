import { type Command, Option } from 'commander';
import { DEFAULT_DEVIATION_FACTOR, type FinetuneInput } from '../../../src/choose/index.ts';
import type { EncoderSettings } from '../../../src/codec/index.ts';
import { parseNumber, parseShare } from '../parse.ts';
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

/** The factors that follow from unit and density, for the help. */
export const USUAL_FACTOR = `1 / sqrt(density) for magnitude, ${DEFAULT_DEVIATION_FACTOR} for deviation`;

/** @param defaults - the settings that hold where nobody gives any, for the help; undefined: those of the charter */
export function withEncoderOptions(command: Command, defaults?: EncoderSettings): Command {
  const usual = (key: 'density' | 'mode' | 'scaleUnit') => `(default: ${defaults?.[key] ?? "the charter's"})`;
  const factor = defaults === undefined ? `the charter's; with another density or unit ${USUAL_FACTOR}` : USUAL_FACTOR;
  const choice = (flags: string, text: string, values: readonly string[]) =>
    new Option(flags, text).choices([...values]);
  command
    .optionsGroup('What is kept:')
    .option('--density <share>', `share of weights, above 0 and at most 1, or auto ${usual('density')}`, parseDensity)
    .addOption(
      choice('--mode <mode>', `one selection and scale for the whole model, or one for each tensor ${usual('mode')}`, [
        'global',
        'tensor',
      ]),
    )
    .addOption(
      choice(
        '--scale-unit <unit>',
        `what the scale counts in: the deviation of all changes, or the mean magnitude of the kept ones ${usual('scaleUnit')}`,
        ['deviation', 'magnitude'],
      ),
    )
    .option('--scale-factor <factor>', `the scale in that unit (default: ${factor})`, parseNumber)
    .optionsGroup('Where base and fine-tune differ:')
    .addOption(choice('--missing <what>', 'tensors that the fine-tune lacks', ['error', 'unchanged']).default('error'))
    .addOption(choice('--extra <what>', 'tensors that the base lacks', ['error', 'ignore']).default('error'))
    .addOption(
      choice('--reshaped <what>', 'tensors of another shape than in the base', ['error', 'unchanged']).default('error'),
    )
    .optionsGroup('What --density auto chooses by (default: how much of the change is kept):');
  // The options that every verb has come later.
  return withEvaluationOptions(command, 'optional').optionsGroup('Options:');
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
  return text === 'auto' ? text : parseShare(text);
}
