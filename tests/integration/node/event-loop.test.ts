import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { createCommunity, DEFAULT_BUDGET } from '../../../node/community/create.ts';
import { homePaths } from '../../../node/home/paths.ts';
import { encodeTaskVector } from '../../../src/codec/index.ts';
import { charterTable, generateKey } from '../../../src/log/index.ts';
import { openCheckpoint } from '../../../src/tensors/index.ts';
import { MAX_BLOCK_MS, startNode, stranger, watchEventLoop } from '../../fault/support.ts';
import { eventually, joinHome, type Pond, scratch, updateOf } from '../../unit/node/support.ts';

const VISION8 = fileURLToPath(new URL('../../fixtures/vision8/', import.meta.url));
const TASKS = ['mnist', 'kmnist', 'kannada', 'notmnist', 'gtsrb', 'cifar10', 'signs', 'omniglot'];
const BASE = join(VISION8, 'base.safetensors');

/** A community on the real base. */
async function visionPond(): Promise<Pond> {
  const directory = await scratch();
  const home = homePaths(join(directory, 'first'));
  const { id, charter, bytes } = await createCommunity(
    {
      base: BASE,
      name: 'vision8',
      out: join(directory, 'charter.cbor'),
      open: true,
      merge: { method: 'opcm', variant: 'ref', alpha: 0.5, scale: 1 },
      limits: {},
      budgets: DEFAULT_BUDGET,
    },
    { home },
  );
  const pond = {
    directory,
    base: BASE,
    charter,
    charterId: id,
    charterBytes: bytes,
    table: charterTable(charter),
    home,
  };
  await joinHome(pond, home);
  return pond;
}

/**
 * The bound is on CPU time of the daemon's thread, which no other process of the machine can lengthen; the wall-clock
 * histogram beside it holds the 95th percentile, which a busy machine moves less than its tail.
 */
test('the event loop stays free while real updates arrive, are decided on, folded, exported and offered', async () => {
  const pond = await visionPond();
  const base = await openCheckpoint(BASE);
  onTestFinished(() => base.close());
  const updates = [];
  for (const task of TASKS) {
    const finetune = await openCheckpoint(join(VISION8, `expert-${task}.safetensors`));
    const out = join(pond.directory, `${task}.payload`);
    const settings = { density: 0.2, mode: 'global', scaleUnit: 'deviation', scaleFactor: 4 } as const;
    await encodeTaskVector({ base, finetune, table: pond.table, ...settings }, out, {});
    await finetune.close();
    updates.push(await updateOf(pond, generateKey(), new Uint8Array(await readFile(out)), { title: task }));
  }
  const node = await startNode(pond, { fold: true, home: pond.home });
  const peer = await stranger(pond, node);
  await eventually(() => expect(node.community.checkpoint).toBeDefined(), 60_000);

  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const loop = watchEventLoop();
  for (const update of updates) {
    await peer.announce(update);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await eventually(async () => {
    const status = await node.service.status();
    expect(status.log).toMatchObject({ held: TASKS.length, accepted: TASKS.length });
    expect(status.checkpoint?.recipe).toBe(status.recipe.id);
  }, 90_000);
  loop.expectFree();
  delay.disable();
  expect(delay.percentile(95) / 1e6).toBeLessThan(MAX_BLOCK_MS);
}, 180_000);
