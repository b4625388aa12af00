import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { encodeTaskVector, tableOf } from '../../src/codec/index.ts';
import { foldStep, foldTensors, openTaskVector, STATE_FILE, SUM_FILE } from '../../src/merge/index.ts';
import { uniform } from '../unit/compute/random.ts';
import { checkpointOf, engineOf, foldAll, foldAndKill, ref, scratch, writeTensors } from '../unit/merge/helpers.ts';

/** Two whole layers of TinyLlama, in the order of their names. */
const TENSORS = [...layer(0), ...layer(1)];

function layer(index: number): { name: string; shape: number[] }[] {
  const of = (name: string, shape: number[]) => ({ name: `model.layers.${index}.${name}.weight`, shape });
  return [
    of('input_layernorm', [2048]),
    of('mlp.down_proj', [2048, 5632]),
    of('mlp.gate_proj', [5632, 2048]),
    of('mlp.up_proj', [5632, 2048]),
    of('post_attention_layernorm', [2048]),
    of('self_attn.k_proj', [256, 2048]),
    of('self_attn.o_proj', [2048, 2048]),
    of('self_attn.q_proj', [2048, 2048]),
    of('self_attn.v_proj', [256, 2048]),
  ];
}

/** Weights in bfloat16: those of `base`, moved by as much as a fine-tune moves them. */
async function writeWeights(path: string, seed: number): Promise<void> {
  const [base, change] = [uniform(1), uniform(seed)];
  const tensors = TENSORS.map(({ name, shape }) => {
    const values = new Float32Array(shape.reduce((a, b) => a * b, 1));
    for (let i = 0; i < values.length; i++) {
      values[i] = (base() - 0.5) * 0.05 + (seed === 0 ? 0 : (change() - 0.5) * 0.01);
    }
    return { name, shape, dtype: 'BF16' as const, values };
  });
  await writeTensors(path, tensors);
}

const WHAT = 'a step over two layers of a Llama of 1.1 billion parameters';

test(`${WHAT}, killed twice in its middle, is done again to the same bytes`, { timeout: 600_000 }, async () => {
  const dir = await scratch();
  const path = (name: string) => join(dir, name);
  await writeWeights(path('base'), 0);
  const base = await checkpointOf(path('base'));
  const tensors = foldTensors(base, null);
  expect(tensors.filter(({ linear }) => linear)).toHaveLength(14);
  const updates = [];
  for (const seed of [2, 3]) {
    await writeWeights(path(`finetune-${seed}`), seed);
    const finetune = await checkpointOf(path(`finetune-${seed}`));
    const settings = { density: 0.2, mode: 'tensor', scaleUnit: 'magnitude', scaleFactor: 2, container: true } as const;
    await encodeTaskVector({ base, finetune, table: tableOf(base), ...settings }, path(`update-${seed}`));
    updates.push(await openTaskVector(path(`update-${seed}`), base, tensors));
  }
  const [first, second] = updates as [(typeof updates)[0], (typeof updates)[0]];
  const engine = await engineOf(2);
  const { state } = await foldAll(dir, tensors, [first], engine);
  const contentOf = async (name: string) => [
    await readFile(join(path(name), SUM_FILE)),
    await readFile(join(path(name), STATE_FILE)),
  ];
  await foldStep({ from: state, to: path('whole'), tensors, update: second, rule: ref, engine });
  const listing = (await readdir(dir)).sort();

  // In the first layer, and in the second one.
  for (const done of [3, 11]) {
    await foldAndKill([state, path('again'), path('base'), path('update-3')], done);
    const left = (await readdir(dir)).filter((name) => !listing.includes(name));
    expect(left).toEqual([expect.stringMatching(/^\.again\.\d+-[0-9a-f]{16}\.kinmerge-tmp$/)]);
    expect(await readdir(join(dir, left[0]!))).not.toContain(STATE_FILE);
  }
  await foldStep({ from: state, to: path('again'), tensors, update: second, rule: ref, engine });
  expect((await readdir(dir)).sort()).toEqual([...listing, 'again'].sort());
  const [whole, again] = [await contentOf('whole'), await contentOf('again')];
  for (const [i, bytes] of whole.entries()) expect(Buffer.compare(bytes, again[i]!)).toBe(0);
  for (const update of updates) await update.close();
});
