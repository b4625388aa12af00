import { afterEach, beforeEach, expect, test } from 'vitest';
import { expert } from '../support/files.ts';
import { agree, type DemoNode, decisionsAt, holding, kill, Stage, terminate } from '../support/network.ts';

const TEST_MS = 240_000;

let stage: Stage;

beforeEach(async () => {
  stage = await Stage.open();
});

afterEach(() => stage.close());

/** Everybody sees the same updates in the same order, and decided the same. */
async function expectSameLog(nodes: readonly DemoNode[]): Promise<void> {
  const [first, ...others] = await Promise.all(nodes.map(decisionsAt));
  for (const other of others) expect(other).toEqual(first);
}

test('a community outlives the node that everyone joined through', { timeout: TEST_MS }, async () => {
  const charter = await stage.createVision8();
  const ada = await stage.joinAndStart('ada', charter);
  const line = ada.ready.join[0]!;
  // Each knows the address of ada alone; whom else there is they learn from her.
  let nodes = await Promise.all(['bob', 'cleo', 'dan'].map((home) => stage.joinAndStart(home, line)));
  await stage.contribute(ada, expert('mnist'), 'mnist');
  await agree([ada, ...nodes], (status) => holding(1)(status) && status.peers === 3);
  await kill(ada);

  await stage.contribute(nodes[0]!, expert('signs'), 'signs');
  await agree(nodes, holding(2));

  // One after the other is restarted, in good order or not; what was out before and what comes after reach it.
  const tasks = ['kmnist', 'gtsrb', 'cifar10'] as const;
  for (const [turn, task] of tasks.entries()) {
    const restarted = nodes[turn]!;
    const others = nodes.filter((node) => node !== restarted);
    if (turn === 1) await kill(restarted);
    else expect(await terminate(restarted)).toBe(0);
    await stage.contribute(others[0]!, expert(task), task);
    const back = await stage.cast.startDaemon(restarted.home);
    nodes = nodes.map((node) => (node === restarted ? back : node));
    await agree(nodes, (status) => holding(3 + turn)(status) && status.peers === 2);
  }
  await stage.contribute(nodes[2]!, expert('notmnist'), 'notmnist');
  await agree(nodes, holding(6));

  // All at once: nobody is left to be asked, but everybody remembers everybody.
  await Promise.all(nodes.map(kill));
  nodes = await Promise.all(nodes.map(({ home }) => stage.cast.startDaemon(home)));
  await stage.contribute(nodes[1]!, expert('kannada'), 'kannada');
  await agree(nodes, holding(7));
  await expectSameLog(nodes);
  for (const node of nodes) {
    const peers = await node.api.peers();
    expect(peers.filter(({ connected }) => connected)).toHaveLength(2);
    expect(peers.find(({ id }) => id === ada.ready.peerId)).toMatchObject({ connected: false });
  }
});
