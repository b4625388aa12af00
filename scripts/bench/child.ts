/** Processes of their own: the benchmark's children, and outside programs. */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Longest that a single process may take. Something that needs longer hangs. */
export const CHILD_TIMEOUT_MS = 30 * 60_000;

/** Characters of a failed process's last words that are shown. */
const SHOWN_CHARS = 600;

/** An error's message as Node and Python print it before or after the stack. */
const MESSAGE = /^[\w.]*Error(?: \[\w+\])?: (.+)$/m;

export interface Finished {
  readonly stdout: string;
  /** From start to exit. */
  readonly wallSeconds: number;
}

/** A program that did not end with 0. */
export class ProgramFailed extends Error {
  readonly stdout: string;

  constructor(program: string, code: number | null, stdout: string, stderr: string) {
    const words = MESSAGE.exec(stderr)?.[1] ?? (stderr.trim() || stdout.trim()).slice(-SHOWN_CHARS);
    super(`${program} ended with ${code ?? 'a signal'}${words && `: ${words}`}`);
    this.name = new.target.name;
    this.stdout = stdout;
  }
}

export interface ChildOptions {
  readonly signal?: AbortSignal;
  /** Added to the environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** Put before the command, e.g. one that pins it to cores. */
  readonly prefix?: readonly string[];
  /** Sees the output piece by piece; it is not collected then. */
  readonly onData?: (chunk: Uint8Array) => void;
}

/** Runs a program to its end. Rejects when it cannot be started or does not end with 0. */
export async function runProgram(command: readonly string[], options: ChildOptions = {}): Promise<Finished> {
  options.signal?.throwIfAborted();
  const [program = '', ...args] = [...(options.prefix ?? []), ...command];
  const started = performance.now();
  const child = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
  });
  const stop = () => child.kill('SIGKILL');
  const timer = setTimeout(stop, CHILD_TIMEOUT_MS);
  options.signal?.addEventListener('abort', stop, { once: true });
  try {
    const { code, stdout, stderr } = await ending(child, options.onData);
    options.signal?.throwIfAborted();
    const wallSeconds = (performance.now() - started) / 1000;
    if (code === 0) return { stdout, wallSeconds };
    throw new ProgramFailed(command[0] ?? '', code, stdout, stderr);
  } finally {
    clearTimeout(timer);
    options.signal?.removeEventListener('abort', stop);
  }
}

/** Runs a module of ours in a fresh Node process; it gets `job` as its argument and prints one JSON document. */
export async function runModule<T>(
  module: URL,
  job: unknown,
  options: ChildOptions = {},
): Promise<T & { readonly wallSeconds: number }> {
  const command = [process.execPath, fileURLToPath(module), JSON.stringify(job)];
  const { stdout, wallSeconds } = await runProgram(command, options);
  return { ...(JSON.parse(stdout) as T), wallSeconds };
}

function ending(child: ChildProcess, onData: ((chunk: Uint8Array) => void) | undefined) {
  let stdout = '';
  let stderr = '';
  if (onData) child.stdout!.on('data', onData);
  else {
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
  }
  child.stderr!.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-64 * SHOWN_CHARS);
  });
  return new Promise<{ code: number | null; stdout: string; stderr: string }>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ code, stdout, stderr }));
  });
}
