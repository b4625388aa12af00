import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { ContributeDocument } from '../../../node/service/documents.ts';
import { createSafetensors, narrow, openCheckpoint, type TensorPlan } from '../../../src/tensors/index.ts';
import { agree, type DemoNode, decisionsAt, holding, Stage } from '../support/network.ts';

const SETUP_MS = 120_000;
const TEST_MS = 120_000;
const RANK = 4;
const [ROWS, COLUMNS] = [160, 128];
const LAYERS = ['model.layers.0.q_proj', 'model.layers.1.q_proj'];

let stage: Stage;
let ada: DemoNode;
let bob: DemoNode;
let base: string;

beforeAll(async () => {
  stage = await Stage.open();
  base = stage.path('base.safetensors');
  await write(base, [
    { name: 'model.norm.weight', dtype: 'F32', shape: [COLUMNS] },
    // In bfloat16, as bases mostly are: the merged weights are then rounded, and equal changes all alike.
    ...LAYERS.map((layer): TensorPlan => ({ name: `${layer}.weight`, dtype: 'BF16', shape: [ROWS, COLUMNS] })),
  ]);
  const charter = await stage.createCommunity(base);
  ada = await stage.joinAndStart('ada', charter, base);
  bob = await stage.joinAndStart('bob', ada.ready.join[0]!, base);
  await agree([ada, bob], (status) => status.peers === 1);
}, SETUP_MS);

afterAll(() => stage.close());

/** Uniform values, the same in every run. */
async function write(path: string, plan: readonly TensorPlan[], factor = 1, seed = 1): Promise<void> {
  const writer = await createSafetensors(path, plan);
  // A multiplicative generator modulo a prime: all that is wanted here is values without a pattern.
  let state = seed;
  for (const { name, dtype, shape } of plan) {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < values.length; i++) {
      state = (state * 48_271) % 2_147_483_647;
      values[i] = factor * (state / 2 ** 30 - 1);
    }
    await writer.write(name, narrow(values, dtype));
  }
  await writer.commit();
}

/** An adapter whose product is about a tenth of the base, as PEFT writes it. */
async function makeAdapter(name: string, seed: number): Promise<string> {
  const dir = stage.path(name);
  await mkdir(dir);
  const config = { peft_type: 'LORA', r: RANK, lora_alpha: RANK, target_modules: ['q_proj'], bias: 'none' };
  await writeFile(join(dir, 'adapter_config.json'), JSON.stringify(config));
  const factors = LAYERS.flatMap((layer): TensorPlan[] => [
    { name: `base_model.model.${layer}.lora_A.weight`, dtype: 'F32', shape: [RANK, COLUMNS] },
    { name: `base_model.model.${layer}.lora_B.weight`, dtype: 'F32', shape: [ROWS, RANK] },
  ]);
  await write(join(dir, 'adapter_model.safetensors'), factors, 0.25, seed);
  return dir;
}

test('an adapter travels as factors, is merged by every node, pulled and verified', { timeout: TEST_MS }, async () => {
  const finetune = await makeAdapter('adapter', 77);
  const done = await stage.cast.run<ContributeDocument>('ada', 'contribute', finetune, '--title', 'an adapter');
  expect(done).toMatchObject({ verdict: 'accepted', lowRank: LAYERS.length, choice: null });
  // Far less than what the factors take themselves, and these far less than the tensors.
  const factorBytes = 2 * RANK * (ROWS + COLUMNS) * LAYERS.length;
  expect(done.bytes.fp16).toBe(factorBytes);
  expect(done.bytes.payload).toBeLessThan(factorBytes / 4);

  const second = await stage.cast.run<ContributeDocument>('bob', 'contribute', await makeAdapter('other', 78));
  expect(second).toMatchObject({ verdict: 'accepted', lowRank: LAYERS.length });
  await agree([ada, bob], holding(2));
  expect(await decisionsAt(bob)).toEqual(await decisionsAt(ada));

  // The same factors again are the same update, whoever sends them.
  const copy = await stage.attempt('bob', 'contribute', finetune);
  expect(copy).toMatchObject({ code: 3, document: { error: { code: 'DECLINED', fields: { gate: 'duplicate' } } } });

  const [sent, received] = await Promise.all(
    ['ada', 'bob'].map((home) => readFile(stage.path(home, 'blobs', done.payload))),
  );
  expect(received!.equals(sent!)).toBe(true);
  const inspected = await stage.attempt('bob', 'inspect', stage.path('bob', 'blobs', done.payload), '--base', base);
  expect(inspected).toMatchObject({ code: 0, document: { kind: 'payload', checked: true, lowRank: LAYERS.length } });

  const out = stage.path('pulled');
  await stage.cast.run('eve', 'pull', '--community', bob.ready.join[0]!, '--out', out);
  const verified = await stage.attempt('eve', 'verify', out, '--base', base);
  expect(verified).toMatchObject({ code: 0, document: { verdict: 'pass' } });
  const [before, merged] = [await openCheckpoint(base), await openCheckpoint(out)];
  try {
    for (const layer of LAYERS) {
      const weight = `${layer}.weight`;
      expect(await merged.readFloat32(weight)).not.toEqual(await before.readFloat32(weight));
    }
    // What no adapter touches is the base's, to the bit.
    expect(await merged.readRaw('model.norm.weight')).toEqual(await before.readRaw('model.norm.weight'));
  } finally {
    await Promise.all([before.close(), merged.close()]);
  }
});
