import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { MAX_INLINE_PAYLOAD_BYTES } from '../../../protocols/index.ts';
import { BLOCK_BYTES } from '../../../src/log/index.ts';
import { createSafetensors, type TensorPlan } from '../../../src/tensors/index.ts';
import { expert, namesIn, type TASKS } from '../support/files.ts';
import { agree, type DemoNode, decisionsAt, holding, kill, Stage, terminate } from '../support/network.ts';

const TEST_MS = 120_000;

let stage: Stage;

beforeEach(async () => {
  stage = await Stage.open();
});

afterEach(() => stage.close());

/** The merged weights of each node as they lie on disk: equal machines make equal bytes. */
async function weightsOf(nodes: readonly DemoNode[]): Promise<string[]> {
  const hash = async (node: DemoNode) => {
    const { checkpoint } = await node.api.status();
    return createHash('sha256')
      .update(await readFile(join(checkpoint!.path, 'model.safetensors')))
      .digest('hex');
  };
  return Promise.all(nodes.map(hash));
}

test('a node that was down while updates came catches up by sync', { timeout: TEST_MS }, async () => {
  const ada = await stage.joinAndStart('ada', await stage.createVision8());
  const first = await stage.joinAndStart('bob', ada.ready.join[0]!);
  await stage.contribute(ada, expert('mnist'), 'mnist');
  await agree([ada, first], holding(1));
  expect(await terminate(first)).toBe(0);
  await stage.contribute(ada, expert('signs'), 'signs');
  await stage.contribute(ada, expert('kmnist'), 'kmnist');

  const bob = await stage.cast.startDaemon('bob');
  // A node that was never there before, and a contribution that follows what it has caught up with.
  const cleo = await stage.joinAndStart('cleo', ada.ready.join[0]!);
  await agree([ada, bob, cleo], holding(3));
  await stage.contribute(cleo, expert('gtsrb'), 'gtsrb');
  await agree([ada, bob, cleo], holding(4));
  const [here, ...others] = await Promise.all([ada, bob, cleo].map(decisionsAt));
  for (const other of others) expect(other).toEqual(here);
  expect(new Set(await weightsOf([ada, bob, cleo])).size).toBe(1);
});

test('a payload too large for gossip is announced and pulled by blocks', { timeout: TEST_MS }, async () => {
  const { base, finetune, linear } = await syntheticModel();
  const ada = await stage.joinAndStart('ada', await stage.createCommunity(base, ['--linear', linear]), base);
  const bob = await stage.joinAndStart('bob', ada.ready.join[0]!, base);
  await agree([ada, bob], (status) => status.peers === 1);
  const done = await ada.api.contribute({ finetune, choice: { density: 0.5, scaleFactor: 1 } });
  expect(done).toMatchObject({ verdict: 'accepted' });
  expect(done.bytes.payload).toBeGreaterThan(Math.max(MAX_INLINE_PAYLOAD_BYTES, BLOCK_BYTES));
  await agree([ada, bob], holding(1));
  const blobs = ['ada', 'bob'].map((home) => readFile(stage.path(home, 'blobs', done.payload)));
  const [sent, received] = await Promise.all(blobs);
  expect(received!.equals(sent!)).toBe(true);

  // The one who made it is gone: a late one has it from the other, and the checkpoint from the late one.
  await kill(ada);
  const cleo = await stage.joinAndStart('cleo', bob.ready.join[0]!, base);
  await agree([bob, cleo], holding(1));
  const out = stage.path('pulled');
  await stage.cast.run('eve', 'pull', '--community', cleo.ready.join[0]!, '--out', out);
  const verified = await stage.attempt('eve', 'verify', out, '--base', base);
  expect(verified).toMatchObject({ code: 0, document: { verdict: 'pass' } });
});

test('what contribute reported survives SIGKILL at any moment', { timeout: TEST_MS }, async () => {
  let ada = await stage.joinAndStart('ada', await stage.createVision8());
  const bob = await stage.joinAndStart('bob', ada.ready.join[0]!);
  const reported = new Set<string>();
  const contribute = async (task: (typeof TASKS)[number]) => {
    const done = await stage.contribute(ada, expert(task), task);
    reported.add(done.update!);
  };
  const killAndRestart = async () => {
    await kill(ada);
    ada = await stage.cast.startDaemon('ada');
    const ids = (await ada.api.log()).map(({ id }) => id);
    for (const id of reported) expect(ids).toContain(id);
  };

  // The instant after the answer.
  const started = performance.now();
  await contribute('mnist');
  const usual = performance.now() - started;
  await killAndRestart();

  // At any point on the way: an update that was not reported may be there or not, but not by half.
  const waiting = (['signs', 'kmnist', 'gtsrb'] as const).map((task) => ({ task }));
  for (const part of [0.3, 0.6, 0.8, 0.9, 1]) {
    const titles = (await ada.api.log()).map(({ title }) => title);
    const next = waiting.find(({ task }) => !titles.includes(task));
    if (next === undefined) break;
    const contribution = contribute(next.task).catch((error: unknown) => error);
    await sleep(part * usual);
    await killAndRestart();
    const error = await contribution;
    if (error !== undefined) expect(error).toMatchObject({ code: 'DAEMON_UNREACHABLE' });
  }
  const titles = (await ada.api.log()).map(({ title }) => title);
  for (const { task } of waiting) if (!titles.includes(task)) await contribute(task);

  // In the middle of a fold.
  const folding = middleOfFold(ada);
  await contribute('cifar10');
  await folding;
  await killAndRestart();

  await agree([ada, bob], holding(5));
  const log = await ada.api.log();
  expect(log.map(({ title }) => title).sort()).toEqual(['cifar10', 'gtsrb', 'kmnist', 'mnist', 'signs']);
  expect(log.map(({ verdict }) => verdict)).toEqual(log.map(() => 'accepted'));
  expect(await decisionsAt(bob)).toEqual(await decisionsAt(ada));
  expect(new Set(await weightsOf([ada, bob])).size).toBe(1);
  // Nothing half-written stays: one record, manifest and payload for each update.
  const stored = await stage.stored('ada');
  expect(stored.records).toEqual(log.map(({ id }) => id).sort());
  expect(stored.blobs).toEqual(log.map(({ payload }) => payload).sort());
  expect(stored.objects).toEqual(stored.blobs);
  expect(await namesIn(stage.path('ada', 'tmp'))).toEqual([]);
});

/** Resolves when the node has begun a fold and not finished it. */
async function middleOfFold(node: DemoNode): Promise<void> {
  for await (const event of node.api.events(AbortSignal.timeout(TEST_MS))) {
    if (event.type === 'fold' && event.updates < event.target) return;
  }
}

/** A base of six million parameters in tensors that are summed, and one small matrix; and a fine-tune of it. */
async function syntheticModel(): Promise<{ base: string; finetune: string; linear: string }> {
  const tensors: TensorPlan[] = [
    { name: 'small.weight', dtype: 'F32', shape: [16, 32] },
    ...Array.from({ length: 6 }, (_, i): TensorPlan => ({ name: `table.${i}`, dtype: 'F32', shape: [1024, 1024] })),
  ];
  const write = async (path: string, value: (i: number) => number) => {
    const writer = await createSafetensors(path, tensors);
    let place = 0;
    for (const { name, shape } of tensors) {
      const values = Float32Array.from({ length: shape[0]! * shape[1]! }, () => value(place++));
      await writer.write(name, new Uint8Array(values.buffer));
    }
    await writer.commit();
    return path;
  };
  const base = await write(stage.path('base.safetensors'), (i) => noise(i, 1));
  const finetune = await write(stage.path('tuned.safetensors'), (i) => noise(i, 1) + 0.05 * noise(i, 2));
  const linear = stage.path('linear.json');
  await writeFile(linear, JSON.stringify(['small.weight']));
  return { base, finetune, linear };
}

/** Uniform in -1 to 1, the same in every run: a mixed counter. */
function noise(i: number, seed: number): number {
  let x = Math.imul(i + seed * 0x9e3779b1, 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return ((x ^ (x >>> 16)) | 0) / 2 ** 31;
}
