/** Real daemons on loopback, each a process of its own, for the tests of the network. */
import { once } from 'node:events';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ContributeDocument, StatusDocument, UpdateDocument } from '../../../node/service/documents.ts';
import { Cast, type DemoNode } from '../../../scripts/demo/node.ts';
import { makeTasks } from '../../../scripts/demo/vision8.ts';
import { manifestsIn, recordsIn } from '../../unit/node/journal-support.ts';
import { BASE } from './files.ts';

export { type DemoNode, kill } from '../../../scripts/demo/node.ts';

/** Longest wait for nodes to reach a state, in milliseconds: several share two busy cores. */
const PATIENCE_MS = 90_000;

/** Daemons that stop in good order are gone within this time, in milliseconds. */
const STOP_MS = 10_000;

/** What a command with --json printed, and how it ended. */
export interface Attempt {
  readonly code: number | null;
  // biome-ignore lint/suspicious/noExplicitAny: a test names the fields that it expects.
  readonly document: any;
  readonly stderr: string;
}

/** The homes of one test and their processes; `close` ends them all, whatever happened. */
export class Stage {
  readonly work: string;
  readonly cast: Cast;
  readonly #onExit: () => void;

  private constructor(work: string) {
    this.work = work;
    this.cast = new Cast({ work });
    this.#onExit = () => this.cast.killAll();
    process.once('exit', this.#onExit);
  }

  static async open(): Promise<Stage> {
    return new Stage(await mkdtemp(join(tmpdir(), 'kinmerge-network-')));
  }

  async close(): Promise<void> {
    process.removeListener('exit', this.#onExit);
    await this.cast.close();
    await rm(this.work, { recursive: true, force: true });
  }

  /** A path in the stage's directory; a home when the name is one. */
  path(...names: string[]): string {
    return join(this.work, ...names);
  }

  /** Makes an open community and returns the path of its charter. */
  async createCommunity(base = BASE, options: readonly string[] = []): Promise<string> {
    return this.#create('founder', base, ['--open', ...options]);
  }

  /** Makes the community of vision8, whose linear tensors the fixture lists; open. */
  async createVision8(): Promise<string> {
    return this.createVision8In('founder', '--open');
  }

  /** The same, by a home that then is the owner's; with these flags. */
  async createVision8In(home: string, ...options: string[]): Promise<string> {
    const { linear } = await makeTasks(this.work);
    return this.#create(home, BASE, ['--linear', linear, ...options]);
  }

  async #create(home: string, base: string, options: readonly string[]): Promise<string> {
    const charter = this.path('charter.cbor');
    const how = ['--base', base, '--name', 'test', '--out', charter];
    await this.cast.run(home, 'community', 'create', ...how, ...options);
    return charter;
  }

  /** Joins with a port of its own, so that the node is found again after a restart. */
  async join(home: string, target: string, base = BASE): Promise<void> {
    await this.cast.run(home, 'join', target, '--base', base, '--listen', `/ip4/127.0.0.1/tcp/${await freePort()}`);
  }

  async joinAndStart(home: string, target: string, base = BASE): Promise<DemoNode> {
    await this.join(home, target, base);
    return this.cast.startDaemon(home);
  }

  /** Runs a command that may fail. */
  async attempt(home: string, ...args: string[]): Promise<Attempt> {
    const { code, stdout, stderr } = await this.cast.execute(home, ...args, '--json');
    return { code, stderr, document: stdout === '' ? undefined : JSON.parse(stdout) };
  }

  /** Contributes with the charter's settings, as the demo does. @throws when the node declines it, or anything else went wrong */
  contribute(node: DemoNode, finetune: string, title = ''): Promise<ContributeDocument> {
    return node.api.contribute({ finetune, title });
  }

  /** Names of what a home stores of the log: nothing else changes when an update is published. */
  async stored(home: string): Promise<{ records: string[]; objects: string[]; blobs: string[] }> {
    const journal = { journal: this.path(home, 'journal') };
    const blobs = (await readdir(this.path(home, 'blobs'))).sort();
    return { records: await recordsIn(journal), objects: await manifestsIn(journal), blobs };
  }
}

/** Stops a daemon with SIGTERM and returns its exit code. @throws when it is not gone in seconds */
export async function terminate(node: DemoNode): Promise<number | null> {
  const exit = once(node.child, 'exit', { signal: AbortSignal.timeout(STOP_MS) });
  node.child.kill('SIGTERM');
  const [code] = (await exit) as [number | null];
  return code;
}

/** Admission and fold have caught up with the log. */
export function upToDate(status: StatusDocument): boolean {
  return !status.deciding && status.checkpoint?.recipe === status.recipe.id;
}

/** Waits until every node satisfies the condition and all have the same recipe; returns that. */
export async function agree(
  nodes: readonly DemoNode[],
  holds: (status: StatusDocument) => boolean,
  patienceMs = PATIENCE_MS,
): Promise<string> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const states = await Promise.all(nodes.map((node) => node.api.status()));
    const [recipe, ...others] = new Set(states.map((status) => status.recipe.id));
    if (recipe !== undefined && others.length === 0 && states.every(holds)) return recipe;
    if (performance.now() > deadline) throw new Error(`no agreement in time: ${JSON.stringify(states, null, 2)}`);
    await sleep(100);
  }
}

/** Decided and folded, with this many updates held. */
export function holding(held: number): (status: StatusDocument) => boolean {
  return (status) => status.log.held === held && status.log.pending === 0 && upToDate(status);
}

/** What every node must see alike of the updates: ids, order and decisions. */
export async function decisionsAt(node: DemoNode): Promise<Pick<UpdateDocument, 'id' | 'verdict' | 'gate'>[]> {
  return (await node.api.log()).map(({ id, verdict, gate }) => ({ id, verdict, gate }));
}

/** Ports in use by outgoing connections start at 32,768 on Linux: a listener below them finds its port free again. */
const PORTS = { first: 20_000, count: 12_000 };

/** A port of loopback that is free now. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = PORTS.first + Math.floor(Math.random() * PORTS.count);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false));
      server.listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}
