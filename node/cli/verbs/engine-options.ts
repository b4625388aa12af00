import { type Command, Option } from 'commander';
// Not the whole of `compute`: the runtime that it loads is no business of a verb's help.
import { EIGENSOLVERS } from '../../../src/compute/eigen/index.ts';
import { DEVICES } from '../../../src/compute/engine.ts';
import type { MergeEngineOptions } from '../../../src/merge/index.ts';
import { parseSize, parseWorkers } from '../parse.ts';

/** What the verbs that merge have in common; the keys are those of `MergeEngineOptions`. */
export type EngineVerbOptions = MergeEngineOptions;

export function withEngineOptions(command: Command): Command {
  return command
    .optionsGroup('What does the matrix work:')
    .addOption(new Option('--device <device>', 'where the large products run').choices([...DEVICES]).default('auto'))
    .option('--workers <n>', 'matrices at a time (default: one for each core, at most 8)', parseWorkers)
    .option('--memory <size>', 'what these may take together, e.g. 4GiB (default: half of what is free)', parseSize)
    .addOption(
      new Option('--eigensolver <name>', "the platform's LAPACK, or the one that needs nothing installed")
        .choices([...EIGENSOLVERS])
        .default('auto'),
    )
    .optionsGroup('Options:');
}

export function engineOptions({ device, workers, memory, eigensolver }: EngineVerbOptions): MergeEngineOptions {
  return { device, workers, memory, eigensolver };
}
