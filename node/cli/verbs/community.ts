import { readFile } from 'node:fs/promises';
import { type Command, Option } from 'commander';
import { defaultSettings, type EncoderChoice } from '../../../src/choose/index.ts';
import { DEFAULT_POLICY } from '../../../src/kinship/index.ts';
import { compareBytes, keyFromText, keyToText, MAX_SCALE_FACTOR } from '../../../src/log/index.ts';
import { createCommunity, DEFAULT_BUDGET } from '../../community/create.ts';
import { NodeError } from '../../errors.ts';
import type { CommonOptions, Register } from '../context.ts';
import { EXIT } from '../exit-codes.ts';
import { collectKeys, parseCount, parseNumber, parseShare } from '../parse.ts';
import { USUAL_FACTOR } from './encoder-options.ts';
import { type LimitOptions, limitsFrom, withLimitOptions } from './limit-options.ts';

interface CreateVerbOptions extends CommonOptions, LimitOptions {
  readonly base: string;
  readonly name: string;
  readonly out: string;
  readonly open?: boolean;
  readonly linear?: string;
  readonly variant: string;
  readonly alpha: number;
  readonly scale: number;
  readonly density?: number;
  readonly mode?: 'global' | 'tensor';
  readonly scaleUnit?: 'deviation' | 'magnitude';
  readonly scaleFactor?: number;
  readonly budgetUpdates: number;
  readonly budgetBytes: number;
  readonly sealer?: string[];
  /** False after --no-sealers. */
  readonly sealers: boolean;
}

export function communityVerbs(program: Command, register: Register): void {
  const usual = defaultSettings();
  const community = program.command('community').description('make a community');
  const create = community
    .command('create')
    .description('make an owner key and a charter with the creator as its only member')
    .requiredOption('--base <path>', 'the base checkpoint: safetensors file or Hugging Face directory')
    .requiredOption('--name <name>', 'what the community is called')
    .requiredOption('--out <charter>', 'file to write the charter to')
    .option('--open', 'let anybody contribute (anybody can then publish updates: read the security notes first)')
    .option('--linear <file>', 'file with the names of the linear tensors, one a line or as a JSON list')
    .option('--variant <variant>', 'OPCM variant: ref or lite', 'ref')
    .option('--alpha <share>', 'share of the nuclear norm that the projection protects', parseNumber, 0.5)
    .option('--scale <factor>', 'factor on the merged task vector', parseNumber, 1);
  withLimitOptions(create)
    .option(
      '--density <share>',
      `share of weights that contributors keep unless they choose otherwise (default: ${usual.density}, or --max-density where that is lower)`,
      parseShare,
    )
    .addOption(
      new Option(
        '--mode <mode>',
        `their selection and scale: for the model, or for each tensor (default: ${usual.mode})`,
      ).choices(['global', 'tensor']),
    )
    .addOption(
      new Option('--scale-unit <unit>', `what their scale counts in (default: ${usual.scaleUnit})`).choices([
        'deviation',
        'magnitude',
      ]),
    )
    .option('--scale-factor <factor>', `their scale in that unit (default: ${USUAL_FACTOR})`, parseNumber)
    .option('--budget-updates <n>', 'updates that one author may publish', parseCount, DEFAULT_BUDGET.updates)
    .option('--budget-bytes <bytes>', 'payload bytes that one author may publish', parseCount, DEFAULT_BUDGET.bytes)
    .option('--sealer <key>', 'who seals, may be repeated (default: the owner)', collectKeys)
    .option('--no-sealers', 'nobody seals: everything stays provisional and the rules never change');
  register<CreateVerbOptions>(create, async (context, _args, options) => {
    if (options.variant !== 'ref' && options.variant !== 'lite') {
      throw new NodeError('USAGE', `--variant is ref or lite, not ${options.variant}`);
    }
    if (options.open === true) {
      context.output.note(
        'warning: an open community takes updates from anybody; kinship is no defence against backdoors',
      );
    }
    if (!options.sealers && options.sealer !== undefined) {
      throw new NodeError('USAGE', 'give --sealer or --no-sealers, not both');
    }
    const { id, charter, out } = await createCommunity(
      {
        base: options.base,
        name: options.name,
        out: options.out,
        open: options.open === true,
        linear: options.linear === undefined ? undefined : await readNames(options.linear),
        merge: { method: 'opcm', variant: options.variant, alpha: options.alpha, scale: options.scale },
        limits: limitsFrom(options, DEFAULT_POLICY),
        encoder: encoderFrom(options),
        budgets: { updates: options.budgetUpdates, bytes: options.budgetBytes },
        sealers: options.sealers ? options.sealer?.map(keyFromText).sort(compareBytes) : [],
      },
      { home: context.home },
      { signal: context.signal, onProgress: context.output.progress },
    );
    const linear = charter.base.tensors.filter((tensor) => tensor.linear).map((tensor) => tensor.name);
    const document = {
      community: id.toString(),
      charter: out,
      name: charter.name,
      membership: charter.membership === 'open' ? 'open' : 'members',
      linear,
      admission: charter.admission,
      encoder: charter.codec.encoder,
      merge: charter.merge,
      owner: keyToText(charter.owner),
      sealers: { keys: charter.sealers.keys.map(keyToText), threshold: charter.sealers.threshold },
      ownerKey: context.home.ownerKey,
    };
    context.output.result(document, () =>
      [
        `community ${id}`,
        `charter ${out}: ${charter.base.tensors.length} tensors, ${linear.length} of them linear`,
        `owner key ${context.home.ownerKey}: keep a copy, it cannot be replaced`,
        `sealers: ${describeSealers(document)}`,
        `next: kinmerge join ${out} --base ${options.base}`,
      ].join('\n'),
    );
    return EXIT.done;
  });
}

/** Checked before the base is read. @throws NodeError `USAGE` */
function encoderFrom({ density, mode, scaleUnit, scaleFactor, maxDensity }: CreateVerbOptions): EncoderChoice {
  const most = maxDensity ?? DEFAULT_POLICY.maxDensity;
  if (density !== undefined && density > most) {
    const text = `--density ${density} is above the ${most} that is admitted: keep less, or raise --max-density`;
    throw new NodeError('USAGE', text, { density, maxDensity: most });
  }
  if (scaleFactor !== undefined && !(scaleFactor > 0 && scaleFactor <= MAX_SCALE_FACTOR)) {
    const text = `--scale-factor ${scaleFactor} is not above 0 and at most ${MAX_SCALE_FACTOR}`;
    throw new NodeError('USAGE', text, { scaleFactor });
  }
  return { density, mode, scaleUnit, scaleFactor };
}

function describeSealers({ owner, sealers }: { owner: string; sealers: { keys: readonly string[] } }): string {
  if (sealers.keys.length === 0) return 'none: everything stays provisional, and the rules never change';
  return sealers.keys.map((key) => (key === owner ? `${key} (the owner)` : key)).join(', ');
}

/** Names from a JSON list, or one a line. @throws NodeError `USAGE` */
async function readNames(path: string): Promise<string[]> {
  const refuse = (why: string, cause?: unknown) =>
    new NodeError(
      'USAGE',
      `--linear ${path}: ${why}. It wants a JSON list of names, or one name a line.`,
      { path },
      { cause },
    );
  const text = await readFile(path, 'utf8').catch((cause: NodeJS.ErrnoException) => {
    throw refuse(cause.code === 'ENOENT' ? 'there is no such file' : `it cannot be read (${cause.code})`, cause);
  });
  if (!text.trimStart().startsWith('[')) {
    const lines = text.split('\n').map((line) => line.trim());
    return lines.filter((line) => line !== '');
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refuse(`it begins like JSON and is none (${cause instanceof Error ? cause.message : cause})`, cause);
  }
  if (Array.isArray(value) && value.every((name) => typeof name === 'string')) return value;
  throw refuse('it is JSON, but no list of names');
}
