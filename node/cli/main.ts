import { Command, CommanderError } from 'commander';
import { disableTelemetry } from '../../src/telemetry.ts';
import { NodeError } from '../errors.ts';
import { VERSION } from '../version.ts';
import type { CliHost, CommonOptions, Register } from './context.ts';
import { createContext, withCommonOptions } from './context.ts';
import { EXIT, exitCodeFor } from './exit-codes.ts';
import { Output } from './output.ts';
import { verbGroups } from './verbs/index.ts';

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/**
 * A second signal ends the process at once, but not one that comes this soon, in milliseconds: Ctrl-C reaches a child
 * process both from the terminal and from the parent that passes signals on.
 */
const SAME_INTERRUPT_MS = 500;

/**
 * Runs one command line.
 *
 * @param argv - the words after the program's name
 * @returns the exit code
 */
export async function main(argv: readonly string[]): Promise<number> {
  disableTelemetry();
  const controller = new AbortController();
  let interrupted = 0;
  const interrupt = () => {
    if (!controller.signal.aborted) {
      interrupted = performance.now();
      controller.abort(new NodeError('INTERRUPTED', 'interrupted'));
    } else if (performance.now() - interrupted > SAME_INTERRUPT_MS) {
      process.exit(EXIT.interrupted);
    }
  };
  for (const name of SIGNALS) process.on(name, interrupt);
  process.stdout.on('error', ignoreClosedPipe);
  try {
    return await run(argv, { stdout: process.stdout, stderr: process.stderr, signal: controller.signal });
  } finally {
    for (const name of SIGNALS) process.removeListener(name, interrupt);
  }
}

/** The command line without the process around it. */
export async function run(argv: readonly string[], host: CliHost): Promise<number> {
  let exit: number = EXIT.done;
  const program = new Command('kinmerge')
    .description("A peer-to-peer network that grows one community model out of many people's fine-tunes.")
    .version(VERSION)
    .showHelpAfterError('(add --help for what there is)')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => host.stdout.write(text),
      writeErr: (text) => host.stderr.write(text),
    });
  const register: Register = (command, action) => {
    withCommonOptions(command).action(async (...words: unknown[]) => {
      const options = words.at(-2) as CommonOptions;
      const context = createContext(options, host);
      try {
        host.signal.throwIfAborted();
        exit = await action(context, words.slice(0, -2).flat().filter(isString), options as never);
      } catch (error) {
        const reason = host.signal.aborted ? host.signal.reason : error;
        context.output.error(reason);
        exit = exitCodeFor(reason);
      }
    });
  };
  // Subcommands inherit what is set above, so it comes first.
  const wanted = verbGroups.filter(({ words }) => words.includes(argv[0] ?? ''));
  for (const group of wanted.length > 0 ? wanted : verbGroups) (await group.load())(program, register);
  try {
    await program.parseAsync(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    // Help and version end the parse through the same door, with code 0.
    if (error.exitCode === 0) return EXIT.done;
    if (argv.includes('--json')) new Output({ json: true }, host).error(usageError(error));
    return EXIT.usage;
  }
  return exit;
}

function usageError({ code, message }: CommanderError): NodeError {
  // A program or group without a verb prints its help instead of a message.
  const text = code === 'commander.help' ? 'a verb is missing: see kinmerge --help' : message.replace(/^error: /, '');
  return new NodeError('USAGE', text, { commander: code });
}

/** A reader that stops early, as `head` does, is no failure. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error;
}

function isString(value: unknown): value is string {
  return typeof value === 'string';
}
