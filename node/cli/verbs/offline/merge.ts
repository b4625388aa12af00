import { type Command, Option } from 'commander';
import { DEVICES, type Device } from '../../../../src/compute/index.ts';
import { type MergeReport, readMergeConfig, runMerge } from '../../../../src/merge/index.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { formatBytes, table } from '../../output.ts';
import { checkOut } from './out.ts';

interface MergeOptions extends CommonOptions {
  readonly out: string;
  readonly device: Device;
  readonly force?: boolean;
}

export function mergeVerb(program: Command, register: Register): void {
  const command = program
    .command('merge')
    .argument('<config>', "a configuration in mergekit's YAML form; paths in it are taken from the working directory")
    .description('merge models by a configuration into a checkpoint directory')
    .requiredOption('--out <dir>', 'the directory to write')
    .addOption(new Option('--device <device>', 'what does the matrix work').choices([...DEVICES]).default('auto'))
    .option('--force', 'replace an existing checkpoint directory');
  register<MergeOptions>(command, async (context, [configPath = ''], options) => {
    const config = await readMergeConfig(configPath);
    const overwrite = options.force === true;
    const inputs = [configPath, config.base, ...config.models.map(({ path }) => path)];
    const out = await checkOut(options.out, { kind: 'directory', force: overwrite, inputs });
    const report = await runMerge(config, out, {
      signal: context.signal,
      onProgress: context.output.progress,
      device: options.device,
      overwrite,
    });
    context.output.result({ out, ...report }, () => render(out, report));
    return EXIT.done;
  });
}

function render(out: string, { method, models, linear, tensors, bytes, lambda, device }: MergeReport): string {
  return table([
    ['checkpoint', out],
    ['method', method],
    ['models', String(models.length)],
    ['tensors', `${tensors} (${linear.length} linear), ${formatBytes(bytes)}`],
    ...(lambda === null ? [] : [['lambda', lambda.toPrecision(6)]]),
    ...(device === null ? [] : [['device', device]]),
  ]);
}
