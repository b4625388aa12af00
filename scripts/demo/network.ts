import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
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

interface Scene {
  readonly cast: Cast;
  readonly tasks: { readonly order: readonly Task[]; readonly linear: string };
  readonly work: string;
  readonly say: (line: string) => void;
}

/** The whole story: a community is made, grows through trouble, and a stranger pulls what came out. */
export async function growModel({ cast, tasks, work, say }: Scene): Promise<Grown> {
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
  let ada = await joinCommunity(cast, 'ada', charter);
  const line = ada.ready.join[0]!;
  const [bob, cleo] = await Promise.all([joinCommunity(cast, 'bob', line), joinCommunity(cast, 'cleo', line)]);
  say('ada, bob and cleo are connected; bob and cleo joined through ada');

  const [t0, t1, t2, t3, t4, t5, t6, t7] = tasks.order as [Task, Task, Task, Task, Task, Task, Task, Task];
  await Promise.all([contribute(ada, t0), contribute(bob, t1), contribute(cleo, t2)]);
  await contribute(bob, t3);
  await until('four updates are out', [ada], (status) => status.log.held === 4);

  const dan = await joinCommunity(cast, 'dan', line);
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

  const merged = join(work, 'merged');
  await cast.run('eve', 'pull', '--community', dan.ready.join[0]!, '--out', merged);
  const verified = await cast.run<{ checked: number; total: number }>('eve', 'verify', merged, '--base', base);
  say(`eve, who took no part, pulled the checkpoint and verified ${verified.checked} of ${verified.total} tensors`);
  await Promise.all(nodes.map((node) => node.api.stop()));
  const { checked, total } = verified;
  return { recipes, merged, updates, bytes: sum(contributions), verified: { checked, total } };
}

async function joinCommunity(cast: Cast, home: string, target: string): Promise<DemoNode> {
  await cast.run(home, 'join', target, '--base', base, '--listen', LOOPBACK);
  return cast.startDaemon(home);
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
