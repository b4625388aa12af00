/** Processes that run beside what is measured until they are told to stop: daemons, and those that serve. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

/** Longest that a process may take until it is ready, in milliseconds. */
const READY_TIMEOUT_MS = 120_000;
/** Longest that it may take to end after SIGTERM, in milliseconds. */
const STOP_TIMEOUT_MS = 20_000;
/** Characters of a failed process's last words that are shown. */
const SHOWN_CHARS = 600;

export interface Running<T> {
  /** The JSON line that said that it is ready. */
  readonly ready: T;
  readonly pid: number;
  /** From the start of the process to that line. */
  readonly readySeconds: number;
  /** When the process was started, by `performance.now()`. */
  readonly started: number;
  /** SIGTERM, then SIGKILL; returns when it is gone. */
  stop(): Promise<void>;
}

/** Starts a module in a fresh Node process and waits for its first line of output, a JSON document. */
export async function startModule<T>(
  module: URL,
  args: readonly string[],
  options: { readonly signal: AbortSignal; readonly prefix?: readonly string[] },
): Promise<Running<T>> {
  options.signal.throwIfAborted();
  const [program = '', ...rest] = [...(options.prefix ?? []), process.execPath, fileURLToPath(module), ...args];
  const started = performance.now();
  const child = spawn(program, rest, { stdio: ['ignore', 'pipe', 'pipe'] });
  const exited = once(child, 'exit');
  const kill = () => child.kill('SIGKILL');
  options.signal.addEventListener('abort', kill, { once: true });
  process.once('exit', kill);
  void exited.then(() => {
    options.signal.removeEventListener('abort', kill);
    process.off('exit', kill);
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr = (stderr + text).slice(-SHOWN_CHARS);
  });
  try {
    const line = await firstLine(child, exited);
    const readySeconds = (performance.now() - started) / 1000;
    return { ready: JSON.parse(line) as T, pid: child.pid!, readySeconds, started, stop: () => stop(child, exited) };
  } catch (error) {
    kill();
    options.signal.throwIfAborted();
    throw new Error(`${fileURLToPath(module)} did not start: ${stderr.trim()}`, { cause: error });
  }
}

function firstLine(child: ChildProcess, exited: Promise<unknown>): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const timer = setTimeout(() => reject(new Error('no line in time')), READY_TIMEOUT_MS);
  createInterface(child.stdout!).once('line', resolve);
  child.once('error', reject);
  void exited.then(() => reject(new Error('it ended')));
  return promise.finally(() => clearTimeout(timer));
}

async function stop(child: ChildProcess, exited: Promise<unknown>): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
  await exited;
  clearTimeout(timer);
}
