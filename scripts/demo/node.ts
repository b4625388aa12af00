import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { type ApiClient, connectApi } from '../../node/api/client.ts';
import type { DaemonReady } from '../../node/daemon.ts';

const binary = fileURLToPath(new URL('../../bin/kinmerge.js', import.meta.url));

/** Longest time that a daemon may take to start, in milliseconds. */
const START_TIMEOUT_MS = 30_000;

/** All processes of a demo, so that none outlives it. */
export class Cast {
  readonly work: string;
  readonly #children = new Set<ChildProcess>();

  constructor(options: { work: string }) {
    this.work = options.work;
  }

  /** Runs one command to its end, however that is. */
  async execute(home: string, ...args: string[]): Promise<Ended> {
    const child = this.#spawn([...args, '--home', join(this.work, home)], 'pipe');
    let stdout = '';
    let stderr = '';
    child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return { code, stdout, stderr };
  }

  /** Runs one command with --json and returns its document. */
  async run<T>(home: string, ...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.execute(home, ...args, '--json');
    if (code !== 0) throw new Error(`kinmerge ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
    return JSON.parse(stdout) as T;
  }

  async startDaemon(home: string, ...options: string[]): Promise<DemoNode> {
    const log = openSync(join(this.work, `${home}.log`), 'a');
    const args = [
      'daemon',
      '--home',
      join(this.work, home),
      '--json',
      '--log-level',
      'warn',
      '--workers',
      '1',
      ...options,
    ];
    const child = this.#spawn(args, log);
    closeSync(log);
    const ready = await new Promise<DaemonReady>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`the daemon of ${home} does not start`)), START_TIMEOUT_MS);
      child.once('exit', (code) => reject(new Error(`the daemon of ${home} ended with ${code}`)));
      createInterface(child.stdout!).once('line', (line) => {
        clearTimeout(timer);
        resolve(JSON.parse(line) as DaemonReady);
      });
    });
    const api = await connectApi(join(this.work, home, 'api.json'));
    if (api === undefined) throw new Error(`the daemon of ${home} has no API`);
    return { home, ready, api, child };
  }

  killAll(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  /** Kills what still runs, and waits until it is gone. */
  async close(): Promise<void> {
    const gone = [...this.#children].map((child) => new Promise((resolve) => child.once('exit', resolve)));
    this.killAll();
    await Promise.all(gone);
  }

  #spawn(args: readonly string[], stderr: number | 'pipe'): ChildProcess {
    const child = spawn(process.execPath, [binary, ...args], { stdio: ['ignore', 'pipe', stderr] });
    this.#children.add(child);
    child.once('exit', () => this.#children.delete(child));
    return child;
  }
}

/** How a command ended. */
export interface Ended {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface DemoNode {
  readonly home: string;
  readonly ready: DaemonReady;
  readonly api: ApiClient;
  readonly child: ChildProcess;
}

/** SIGKILL, and waits until the process is gone. */
export async function kill(node: DemoNode): Promise<void> {
  const gone = new Promise((resolve) => node.child.once('exit', resolve));
  node.child.kill('SIGKILL');
  await gone;
}
