import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type ApiClient, connectApi } from '../../../node/api/client.ts';
import type { Traced } from './traced.ts';

const BINARY = fileURLToPath(new URL('../../../bin/kinmerge.js', import.meta.url));

/** Longest time that a daemon may take to start, in milliseconds: the machine may be busy. */
const START_TIMEOUT_MS = 30_000;
/** Levels of the log's lines, as pino numbers them. */
const ERROR_LEVEL = 50;

/** A `kinmerge` process, with a trace of its files where it has one. */
export class Victim {
  readonly #traced: Traced | null;
  readonly child: ChildProcess;
  /** Standard error, line by line. */
  readonly lines: string[] = [];
  /** With the exit code, which is null after a signal. */
  readonly ended: Promise<number | null>;
  readonly #firstLine: Promise<string | undefined>;
  #dead = false;

  constructor(args: readonly string[], traced: Traced | null) {
    this.#traced = traced;
    this.child = spawn(process.execPath, [...(traced?.execArgv ?? []), BINARY, ...args, '--json'], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...traced?.env },
    });
    this.ended = once(this.child, 'close').then(([code]) => {
      this.#dead = true;
      return code as number | null;
    });
    const output = createInterface(this.child.stdout!);
    this.#firstLine = Promise.race([
      once(output, 'line').then(([line]) => String(line)),
      this.ended.then(() => undefined),
    ]);
    createInterface(this.child.stderr!).on('line', (line) => this.lines.push(line));
  }

  static daemon(home: string, peers: readonly string[], traced: Traced, more: readonly string[] = []): Victim {
    const args = ['daemon', '--home', home, '--listen', '/ip4/127.0.0.1/tcp/0', '--log-level', 'warn'];
    // The device by name: looking for another one takes longer than everything else that the daemon does here.
    const engine = ['--workers', '1', '--device', 'cpu'];
    return new Victim([...args, ...engine, ...peers.flatMap((address) => ['--peer', address]), ...more], traced);
  }

  get traced(): Traced {
    if (this.#traced === null) throw new Error('this process has no trace');
    return this.#traced;
  }

  get dead(): boolean {
    return this.#dead;
  }

  /** The daemon's API once it runs; undefined when it was killed before. @throws when it does not start */
  async api(home: string): Promise<ApiClient | undefined> {
    const timer = setTimeout(() => this.child.kill('SIGKILL'), START_TIMEOUT_MS);
    const line = await this.#firstLine;
    clearTimeout(timer);
    if (line === undefined) {
      const code = await this.ended;
      if (code !== null || (await this.#traced?.killed()) === undefined) throw this.failure(`does not start (${code})`);
      return undefined;
    }
    return connectApi(join(home, 'api.json'), { pid: this.child.pid! });
  }

  /** What a command printed once it is done. @throws when it failed */
  async document(): Promise<Record<string, unknown>> {
    const line = await this.#firstLine;
    const code = await this.ended;
    if (code !== 0 || line === undefined) throw this.failure(`ended with ${code}`);
    return JSON.parse(line) as Record<string, unknown>;
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.ended;
  }

  /** What the log says of errors. */
  errors(): string[] {
    return this.lines.filter((line) => {
      try {
        return (JSON.parse(line) as { level?: number }).level! >= ERROR_LEVEL;
      } catch {
        // Not of the log: a crash prints its stack.
        return !line.startsWith('{') && line.trim() !== '';
      }
    });
  }

  failure(what: string): Error {
    return new Error(`the process ${what}:\n${this.lines.join('\n')}`);
  }
}
