import type { Command } from 'commander';
import type { HomePaths } from '../home/paths.ts';
import { homePaths, resolveHome } from '../home/paths.ts';
import { Output } from './output.ts';

/** What every verb gets beside its own options. */
export interface CliContext {
  readonly output: Output;
  readonly home: HomePaths;
  /** Aborted by SIGINT and SIGTERM. */
  readonly signal: AbortSignal;
}

/** The process's side of a command line: streams and the interrupt. */
export interface CliHost {
  readonly stdout: NodeJS.WritableStream;
  readonly stderr: NodeJS.WritableStream;
  readonly signal: AbortSignal;
}

/** Options that every verb has. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly home?: string;
}

/** Adds `--json` and `--home` to a verb. */
export function withCommonOptions(command: Command): Command {
  return command
    .option('--json', 'print one JSON document on stdout')
    .option('--home <dir>', 'the home directory (default: KINMERGE_HOME, else the platform data directory)');
}

export function createContext(options: CommonOptions, host: CliHost): CliContext {
  return {
    output: new Output({ json: options.json === true }, host),
    home: homePaths(resolveHome(options.home)),
    signal: host.signal,
  };
}

/** Runs a verb: commander passes arguments, then options, then the command itself. */
export type VerbAction<O extends CommonOptions> = (context: CliContext, args: string[], options: O) => Promise<number>;

/** Registers a verb; `report` receives its exit code, or its error together with the output to print it on. */
export type Register = <O extends CommonOptions>(command: Command, action: VerbAction<O>) => void;

/** Verbs that one module registers on the program. */
export interface VerbGroup {
  /** Names of the verbs, as typed. */
  readonly words: readonly string[];
  load(): Promise<(program: Command, register: Register) => void>;
}
