import type { Command } from 'commander';
import { createEngine } from '../../../../src/compute/engine.ts';
import { type MergeReport, readMergeConfig, runMerge } from '../../../../src/merge/index.ts';
import type { CommonOptions, Register } from '../../context.ts';
import { EXIT } from '../../exit-codes.ts';
import { formatBytes, table } from '../../output.ts';
import { type EngineVerbOptions, engineOptions, withEngineOptions } from '../engine-options.ts';
import { phasesLine } from '../render-engine.ts';
import { checkOut } from './out.ts';

interface MergeOptions extends CommonOptions, EngineVerbOptions {
  readonly out: string;
  readonly force?: boolean;
}

export function mergeVerb(program: Command, register: Register): void {
  const command = program
    .command('merge')
    .argument('<config>', "a configuration in mergekit's YAML form; paths in it are taken from the working directory")
    .description('merge models by a configuration into a checkpoint directory')
    .requiredOption('--out <dir>', 'the directory to write')
    .option('--force', 'replace an existing checkpoint directory');
  register<MergeOptions>(withEngineOptions(command), async (context, [configPath = ''], options) => {
    const config = await readMergeConfig(configPath);
    const overwrite = options.force === true;
    const inputs = [configPath, config.base, ...config.models.map(({ path }) => path)];
    const out = await checkOut(options.out, { kind: 'directory', force: overwrite, inputs });
    const report = await runMerge(
      config,
      out,
      { signal: context.signal, onProgress: context.output.progress, overwrite, ...engineOptions(options) },
      { createEngine: (engine) => createEngine(engine, { onNotice: (notice) => context.output.note(notice) }) },
    );
    context.output.result({ out, ...report }, () => render(out, report));
    const hint = report.eigensolver?.hint ?? null;
    if (hint !== null && options.eigensolver !== 'portable' && !context.output.json) context.output.note(hint);
    return EXIT.done;
  });
}

function render(out: string, report: MergeReport): string {
  const { method, models, linear, tensors, bytes, lambda, description, eigensolver, phases } = report;
  return table([
    ['checkpoint', out],
    ['method', method],
    ['models', String(models.length)],
    ['tensors', `${tensors} (${linear.length} linear), ${formatBytes(bytes)}`],
    ...(lambda === null ? [] : [['lambda', lambda.toPrecision(6)]]),
    ...(description === null ? [] : [['device', description]]),
    ...(eigensolver === null ? [] : [['eigensolver', eigensolver.description]]),
    ...(phases.length === 0 ? [] : [['time', phasesLine(phases)]]),
  ]);
}
