import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The binary that the package installs; it runs what `npm run build` made. */
const BINARY = fileURLToPath(new URL('../../../bin/kinmerge.js', import.meta.url));

export interface CliResult {
  /** Null when a signal ended the process. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output as one JSON document. Throws when it is not exactly that. */
  // biome-ignore lint/suspicious/noExplicitAny: a test names the fields that it expects.
  readonly json: any;
}

export interface CliOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
}

export interface RunningCli {
  readonly process: ChildProcessWithoutNullStreams;
  readonly done: Promise<CliResult>;
}

/** Starts `kinmerge` as a process of its own, on the Node that runs the tests. */
export function startCli(args: readonly string[], { cwd, env }: CliOptions = {}): RunningCli {
  const child = spawn(process.execPath, [BINARY, ...args], { cwd, env: { ...process.env, ...env } });
  child.stdin.end();
  const done = new Promise<CliResult>((resolve, reject) => {
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      resolve({
        code,
        signal,
        stdout,
        stderr,
        get json() {
          return JSON.parse(stdout);
        },
      });
    });
  });
  return { process: child, done };
}

/** Runs `kinmerge` to its end. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return startCli(args, options).done;
}
