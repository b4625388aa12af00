import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { EXIT } from '../../node/cli/exit-codes.ts';
import type { ContributeDocument, StatusDocument } from '../../node/service/documents.ts';
import type { Cast, DemoNode } from './node.ts';
import { kill } from './node.ts';
import { base, expert, type Task } from './vision8.ts';

/** Nodes listen here: the demo never leaves the machine. */
const LOOPBACK = '/ip4/127.0.0.1/tcp/0';
/** Longest wait for the network to reach a state, in milliseconds. */
const PATIENCE_MS = 120_000;

export interface Grown {
  readonly recipes: string[];
  /** Directory of the pulled checkpoint. */
  readonly merged: string;
  /** The task of each update id. */
  readonly updates: ReadonlyMap<string, Task>;
  readonly bytes: { published: number; payloads: number; bound: number; fp16: number };
  readonly verified: { checked: number; total: number };
}

/** Addresses of one node: where it listens, and what others are told to dial. */
export interface NodeAddresses {
  readonly listen: string;
  readonly announce?: string;
}

export interface Scene {
  readonly cast: Cast;
  readonly tasks: { readonly order: readonly Task[]; readonly linear: string };
  readonly work: string;
  readonly say: (line: string) => void;
  /** Addresses of the node of a home; without it, a free port of loopback. */
  readonly addresses?: (home: string) => Promise<NodeAddresses>;
  /** How often a command is run that ends with "network unreachable"; once unless the network is known to be bad. */
  readonly attempts?: number;
  /** Called when all nodes agree, before they are stopped. */
  readonly onAgreed?: (nodes: readonly DemoNode[]) => Promise<void>;
}

/** The whole story: a community is made, grows through trouble, and a stranger pulls what came out. */
export async function growModel(scene: Scene): Promise<Grown> {
  const { cast, tasks, work, say } = scene;
  const contributions: ContributeDocument[] = [];
  const updates = new Map<string, Task>();
  const contribute = async (node: DemoNode, task: Task) => {
    const done = await cast.run<ContributeDocument>(node.home, 'contribute', expert(task), '--title', task);
    contributions.push(done);
    updates.set(done.update!, task);
    const size = done.bytes.payload + done.bytes.record;
    say(`${node.home} contributes ${task}: ${size} bytes, ${done.verdict} (${contributions.length} of 8)`);
  };

  const charter = join(work, 'charter.cbor');
  const create = ['community', 'create', '--base', base, '--name', 'vision8', '--open', '--linear', tasks.linear];
  const { community } = await cast.run<{ community: string }>('ada', ...create, '--out', charter);
  say(`community ${community}`);
  let ada = await joinCommunity(scene, 'ada', charter);
  const line = ada.ready.join[0]!;
  const [bob, cleo] = await Promise.all([joinCommunity(scene, 'bob', line), joinCommunity(scene, 'cleo', line)]);
  say('ada, bob and cleo are connected; bob and cleo joined through ada');

  const [t0, t1, t2, t3, t4, t5, t6, t7] = tasks.order as [Task, Task, Task, Task, Task, Task, Task, Task];
  await Promise.all([contribute(ada, t0), contribute(bob, t1), contribute(cleo, t2)]);
  await contribute(bob, t3);
  await until('four updates are out', [ada], (status) => status.log.held === 4);

  const dan = await joinCommunity(scene, 'dan', line);
  await until('dan has caught up', [dan], (status) => status.log.held === 4);
  say('dan joined after four updates and has caught up');

  const fold = middleOfFold(ada);
  await Promise.all([contribute(dan, t4), fold.then(() => kill(ada))]);
  say('ada, whom everyone joined through, was killed with SIGKILL in the middle of a fold');
  await Promise.all([contribute(cleo, t5), contribute(dan, t6)]);
  ada = await cast.startDaemon('ada');
  say('ada is started again');
  await contribute(ada, t7);

  const nodes = [ada, bob, cleo, dan];
  const recipes = await until('all agree', nodes, (status) => status.log.held === 8 && upToDate(status));
  say(`four nodes, ${new Set(recipes).size === 1 ? 'one recipe' : 'different recipes'}: ${recipes[0]}`);

  await scene.onAgreed?.(nodes);

  const merged = join(work, 'merged');
  await patiently(scene, 'eve', 'pull', '--community', dan.ready.join[0]!, '--out', merged);
  const verified = await cast.run<{ checked: number; total: number }>('eve', 'verify', merged, '--base', base);
  say(`eve, who took no part, pulled the checkpoint and verified ${verified.checked} of ${verified.total} tensors`);
  await Promise.all(nodes.map((node) => node.api.stop()));
  const { checked, total } = verified;
  return { recipes, merged, updates, bytes: sum(contributions), verified: { checked, total } };
}

async function joinCommunity(scene: Scene, home: string, target: string): Promise<DemoNode> {
  const { listen, announce } = (await scene.addresses?.(home)) ?? { listen: LOOPBACK };
  const where = ['--listen', listen, ...(announce === undefined ? [] : ['--announce', announce])];
  await patiently(scene, home, 'join', target, '--base', base, ...where);
  return scene.cast.startDaemon(home);
}

/** Runs a command, again when the network failed it. What it had fetched is still there. */
async function patiently({ cast, attempts = 1, say }: Scene, home: string, ...args: string[]): Promise<void> {
  for (let left = attempts; ; left--) {
    const { code, stdout, stderr } = await cast.execute(home, ...args, '--json');
    if (code === 0) return;
    if (code !== EXIT.network || left <= 1) {
      throw new Error(`kinmerge ${args.join(' ')} ended with ${code}:\n${stdout}${stderr}`);
    }
    say(`${home}: ${args[0]} could not reach the network; once more`);
  }
}

/** Resolves when the node has begun a fold and not finished it. */
async function middleOfFold(node: DemoNode): Promise<void> {
  for await (const event of node.api.events(AbortSignal.timeout(PATIENCE_MS))) {
    if (event.type === 'fold' && event.updates < event.target) return;
  }
}

function upToDate(status: StatusDocument): boolean {
  return !status.deciding && status.checkpoint?.recipe === status.recipe.id;
}

/** Waits until every node satisfies the condition; returns their recipe ids. */
async function until(
  what: string,
  nodes: readonly DemoNode[],
  holds: (status: StatusDocument) => boolean,
): Promise<string[]> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const states = await Promise.all(nodes.map((node) => node.api.status()));
    const recipes = states.map((status) => status.recipe.id);
    if (states.every(holds) && new Set(recipes).size === 1) return recipes;
    if (performance.now() > deadline) throw new Error(`${what}: not reached\n${JSON.stringify(states, null, 2)}`);
    await sleep(100);
  }
}

function sum(contributions: readonly ContributeDocument[]) {
  const bytes = { published: 0, payloads: 0, bound: 0, fp16: 0 };
  for (const { bytes: one } of contributions) {
    bytes.published += one.payload + one.record;
    bytes.payloads += one.payload;
    bytes.bound += one.bound;
    bytes.fp16 += one.fp16;
  }
  return bytes;
}
